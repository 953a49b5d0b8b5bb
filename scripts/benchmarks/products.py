"""The products that `bench all` runs: ours, and what a user would take instead; one process for each bot.

Each is set up as its own manual says, with what it does by default; where a default would put it at a
disadvantage for no reason (see `peers/`), it is given the better value. All of them echo over plain HTTP
with connections kept alive; a text that begins with "slow" takes them 0.3 s.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import tomli_w

from benchmarks import foreign
from benchmarks.processes import family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.standing import StandIn

PEERS = Path(__file__).with_name("peers")
SETTLING = 30  # seconds until a product has as many processes as bots
RESTART = 0.1  # seconds after which systemd starts a service again (systemd.service(5), RestartSec=)
HANDLER = """
import trio

async def handle(update, bot):
    if update.text.startswith("slow"):
        await trio.sleep(0.3)
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""


class Running:
    """A product at work.

    Attributes:
        began: when its start was asked for, by `time.perf_counter`.
        supervisor: the process that everything of it descends from, once all bots poll.
    """

    def __init__(self, began: float, supervisor: Callable[[], int], again: Callable[[], None] | None) -> None:
        self.began = began
        self._supervisor, self._again = supervisor, again

    @property
    def supervisor(self) -> int:
        return self._supervisor()

    def processes(self) -> list[int]:
        """All of it."""
        return family(self.supervisor)

    def bots(self, count: int) -> list[int]:
        """The processes of its bots, those that have no children; waits until they are so many.

        After a crash ours has more for a while: what may have been its cause is handled apart.

        Raises:
            SystemExit: they are more or fewer all the time.
        """
        for _ in range(SETTLING):
            leaves = []
            for pid in self.processes():
                with suppress(psutil.NoSuchProcess):  # it ended since
                    if not psutil.Process(pid).children():
                        leaves.append(pid)
            if len(leaves) == count:
                return leaves
            time.sleep(1)
        message = f"expected {count} processes of bots, found {len(leaves)}"
        raise SystemExit(message)

    def survives(self) -> bool:
        """Whether its supervisor may be killed, and starts again as under systemd."""
        return self._again is not None

    def kill_supervisor(self) -> None:
        """Kill it with SIGKILL, and start it again."""
        assert self._again is not None
        os.kill(self.supervisor, signal.SIGKILL)
        time.sleep(RESTART)
        self._again()


@dataclass(frozen=True)
class Product:
    """One of them.

    Attributes:
        title: its name in tables.
        run: runs its bots beside a stand-in, in an empty folder; starting is under way when it yields.
        install: fetches what it needs, once.
    """

    title: str
    run: Callable[[Path, StandIn], Iterator[Running]]
    install: Callable[[], Path]


def _trioworkers(folder: Path, standin: StandIn) -> Iterator[Running]:
    return run_ours(folder, standin, {})


def run_ours(folder: Path, standin: StandIn, more: Mapping[str, Any]) -> Iterator[Running]:
    """Run echo bots of ours. `more`: tables of the fleet file besides."""
    (folder / "echo.py").write_text(HANDLER)
    fleet = {
        **more,
        "fleet": {"api_base": standin.base, **more.get("fleet", {})},
        "limits": {"max_workers_per_core": max(20, len(standin.tokens))},
        "api": {"bind": "127.0.0.1:0"},
        "defaults": {"handler": "echo:handle"},
        "bots": {f"bot{number}": {"token": token} for number, token in enumerate(standin.tokens)},
    }
    (folder / "fleet.toml").write_text(tomli_w.dumps(fleet))
    command = [sys.executable, "-m", "trioworkers.cli", "-c", str(folder / "fleet.toml"), "run"]
    began = time.perf_counter()
    daemons: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        if daemons:
            daemons[-1].wait()
        daemons.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))

    start()
    try:
        yield Running(began, lambda: daemons[-1].pid, start)
    finally:
        daemons[-1].terminate()
        daemons[-1].wait()


def _pm2(folder: Path, standin: StandIn, script: str) -> Iterator[Running]:
    modules = foreign.node_modules()
    apps = [
        # vizion asks git about the folder of each app, which takes time and is of no use here
        {"name": f"bot{number}", "script": str(PEERS / script), "cwd": str(folder), "vizion": False}
        | {"env": {"TOKEN": token, "BASE": standin.base, "NODE_PATH": str(modules)}}
        for number, token in enumerate(standin.tokens)
    ]
    (folder / "ecosystem.json").write_text(json.dumps({"apps": apps}))
    environment = os.environ | {"PM2_HOME": str(folder / "pm2")}
    pm2 = str(modules / ".bin" / "pm2")
    began = time.perf_counter()
    starting = subprocess.Popen(
        [pm2, "start", str(folder / "ecosystem.json")], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        yield Running(began, lambda: int((folder / "pm2" / "pm2.pid").read_text()), None)
    finally:
        starting.wait()
        subprocess.run([pm2, "kill"], env=environment, stdout=subprocess.DEVNULL, check=True)


def _telegraf(folder: Path, standin: StandIn) -> Iterator[Running]:
    return _pm2(folder, standin, "telegraf.js")


def _node_telegram_bot_api(folder: Path, standin: StandIn) -> Iterator[Running]:
    return _pm2(folder, standin, "node-telegram-bot-api.js")


def _aiogram(folder: Path, standin: StandIn) -> Iterator[Running]:
    python = foreign.python()
    lines = ["[supervisord]", "nodaemon=true", f"logfile={folder}/supervisord.log"]
    lines += [f"pidfile={folder}/supervisord.pid", f"childlogdir={folder}"]
    for number, token in enumerate(standin.tokens):
        lines += [f"[program:bot{number}]", f"command={python} {PEERS / 'aiogram_bot.py'}"]
        lines += ["autorestart=true", f'environment=TOKEN="{token}",BASE="{standin.base}"']
    (folder / "supervisord.conf").write_text("\n".join(lines))
    command = [str(python), "-m", "supervisor.supervisord", "-c", str(folder / "supervisord.conf")]
    began = time.perf_counter()
    supervisor = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield Running(began, lambda: supervisor.pid, None)
    finally:
        supervisor.terminate()
        supervisor.wait()


PRODUCTS = {
    "trioworkers": Product("trioworkers", _trioworkers, lambda: Path(sys.prefix)),
    "telegraf": Product("PM2, Telegraf", _telegraf, foreign.node_modules),
    "node-telegram-bot-api": Product(
        "PM2, node-telegram-bot-api", _node_telegram_bot_api, foreign.node_modules
    ),
    "aiogram": Product("supervisord, aiogram", _aiogram, foreign.python),
}
OURS = "trioworkers"


@contextmanager
def running(name: str, folder: Path, standin: StandIn) -> Iterator[Running]:
    """Run a product's bots, and end all of it afterwards."""
    yield from PRODUCTS[name].run(folder, standin)
