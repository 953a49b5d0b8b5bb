"""The fleet file of the soak, and how it is edited while the fleet runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tomli_w

from soaking.programs import make_program

PROGRAM = "program"  # how the names of bots begin that are programs


def make_bot(number: int, token: str, seed: int) -> dict[str, Any]:
    """A bot's table: half of them poll; three of ten sleep until they are wanted, one of twenty leaks."""
    transport = "poll" if number % 2 else "auto" if number % 8 == 0 else "webhook"
    bot: dict[str, Any] = {
        "token": token,
        "transport": transport,
        "settings": {"seed": seed, "greeting": "hi", "leaks": number % 20 == 7},
    }
    if number % 10 in (2, 5, 9):
        bot |= {"worker": "on_demand", "idle_stop": "3s"}
    if number % 20 == 7:
        bot |= {"memory_limit": "30MB", "memory_check_interval": "5s"}
    return bot


DEFAULTS: dict[str, Any] = {
    "handler": "soak_bot:handle",
    "poll_timeout": "20s",
    "handler_timeout": "5s",
    "heartbeat_interval": "5s",
    "hang_timeout": "30s",
    "retry": {"attempts": 20, "initial": "50ms", "max": "2s"},
    "restart": {"initial": "20ms", "max": "1s", "per_hour": 100_000},
}
LOG = {"throttle_window": 0, "max_size": "1MB", "keep": 50}
SLOW, TAKES = 4, 0.5  # of so many bots one takes so many seconds: it is in the midst of it when a node goes
BUSY = 100  # bots of a cluster that get nine of ten messages; those beyond sleep until they are wanted


def cluster_tables(tokens: dict[str, str], seed: int, lease: float) -> dict[str, Any]:
    """What stands in the files of all nodes alike: every bot polls."""
    bots = [
        make_bot(number, token, seed) | {"transport": "poll"} for number, token in enumerate(tokens.values())
    ]
    for bot in bots[::SLOW]:
        bot["settings"]["takes"] = TAKES
    bots[BUSY:] = [bot | {"worker": "on_demand", "idle_stop": "2s"} for bot in bots[BUSY:]]
    places = max(64, min(len(bots), 400))
    tables = {
        "fleet": {"python_path": [str(Path(__file__).parent)], "shutdown_timeout": "20s"},
        "limits": {"max_workers": places, "max_workers_per_core": places, "start_rate": 200},
        "api": {"bind": "127.0.0.1:0"},
        "log": LOG,
        "defaults": DEFAULTS,
        "cluster": {"lease": f"{lease:g}s"},
    }
    return tables | {"bots": {f"bot{number}": bot for number, bot in enumerate(bots)}}


class FleetFile:
    """What stands in the fleet file, and what is true of it.

    Attributes:
        bots: their tables by number; those that are removed for now are in `away`.
        programs: the tables of bots that are programs, by name.
    """

    def __init__(self, folder: Path, base: str, port: int, tokens: dict[str, str], seed: int) -> None:
        self.path = folder / "fleet.toml"
        own = [token for name, token in tokens.items() if not name.startswith(PROGRAM)]
        programs = [token for name, token in tokens.items() if name.startswith(PROGRAM)]
        self.bots = {number: make_bot(number, token, seed) for number, token in enumerate(own)}
        self.programs = {f"{PROGRAM}{n}": make_program(n, token) for n, token in enumerate(programs)}
        self.away: set[int] = set()
        # a fifth of those that sleep may be awake at a time, beside some that handle suspects
        always = sum("worker" not in bot for bot in self.bots.values())
        places = always + max(4, (len(self.bots) - always) // 5) + len(programs)
        self._tables: dict[str, Any] = {
            "fleet": {
                "api_base": base,
                "python_path": [str(Path(__file__).parent)],
                "shutdown_timeout": "20s",
            },
            "limits": {"max_workers": places, "max_workers_per_core": places, "start_rate": 200},
            "api": {"bind": "127.0.0.1:0"},
            "webhook": {"bind": f"127.0.0.1:{port}", "public_url": f"http://127.0.0.1:{port}"},
            "log": LOG,
            "defaults": DEFAULTS,
        }

    def write(self, **spoilt: Any) -> None:
        """Write the file at once; `spoilt` tables replace the true ones."""
        bots = {f"bot{number}": bot for number, bot in self.bots.items() if number not in self.away}
        self._replace(tomli_w.dumps({**self._tables, "bots": {**bots, **self.programs}, **spoilt}))

    def write_invalid(self, kind: str) -> None:
        """Write a file that has to be refused."""
        if kind == "not toml":
            self._replace("[bots\nnot toml =")
        elif kind == "nothing":
            self._replace("")
        elif kind == "unknown key":
            self.write(fleet={**self._tables["fleet"], "nmae": "soak"})
        elif kind == "wrong type":
            self.write(limits={"max_workers": "many"})
        else:
            self.write(bots={name: self.bots[0] for name in ("one", "two")})

    def _replace(self, text: str) -> None:
        written = self.path.with_suffix(".new")
        written.write_text(text)
        written.chmod(0o600)
        os.replace(written, self.path)
