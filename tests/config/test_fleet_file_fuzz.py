"""Fleet files that were nearly right: a fleet or problems, plans between the fleets, and no secret in either.

Seeded and bounded; `ROUNDS=20000 SEED=7 scripts/test tests/config/test_fleet_file_fuzz.py` tries more.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

import tomli_w
from strange import ROUNDS, SEED, damaged, mutated

from trioworkers.config import Fleet, FleetFileError, load_fleet, plan_lines, plan_reload
from trioworkers.config.schema import TABLES
from trioworkers.plugins.loading import load_installed

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.plugins import Plugins

SECRET = "zeisig"  # a bird, which stands in no message
TOKEN = f"123456:{SECRET}-Zeisig_ZEISIG-{SECRET}_{SECRET}"
PASTED = "kiebitz"  # another one: what somebody puts where a public value belongs; a plain one may be a name
PASTED_TOKEN = f"123456:{PASTED}-{PASTED}_{PASTED}-{PASTED}_{PASTED}"
GOOD: dict[str, Any] = {
    "fleet": {
        "name": "one",
        "shutdown_timeout": "90s",
        "python_path": ["."],
        "preload": ["json"],
        "shard": "0/1",
        "proxy": f"socks5://user:{SECRET}@127.0.0.1:1080",
        "disabled_plugins": [],
    },
    "limits": {"max_workers": 1000, "start_rate": 50},
    "api": {"bind": "127.0.0.1:3001", "token": f"{SECRET}-{SECRET}-{SECRET}", "metrics_public": True},
    "webhook": {
        "bind": "127.0.0.1:8443",
        "public_url": "https://bots.example.org",
        "secret": SECRET,
        "trusted_proxies": ["10.0.0.0/8", "::1"],
        "max_body": "1MB",
    },
    "store": {"url": f"postgresql://user:{SECRET}@host/data", "durability": "full"},
    "cluster": {"node": "a", "lease": "15s"},
    "log": {"level": "info", "format": "json", "throttle_window": "30s"},
    "defaults": {"poll_timeout": "50s", "retry": {"attempts": 8, "initial": "1s", "max": 60}},
    "bots": {
        "echo": {
            "token": TOKEN,
            "handler": "echo:handle",
            "transport": "auto",
            "settings": {"key": SECRET, "list": [1, {"a": 2}]},
            "allowed_updates": ["message", "callback_query"],
            "rate_limit": {"per_second": 30, "per_chat": 1},
            "restart": {"initial": "1s", "per_hour": 5},
        },
        "shop": {
            "token": {"env": "SHOP_TOKEN"},
            "command": ["node", "bot.js"],
            "environment": {"TOKEN": "{token}", "KEY": SECRET},
            "acknowledge": "poll",
            "memory_limit": "150MB",
        },
        "ops": {"token": {"file": "token.txt"}, "handler": "ops:handle", "rate_limit": "telegram"},
    },
    "plugins": {
        "dedup": {"by": "content", "window": "30s", "max_entries": 10000, "clean_interval": "5m"},
        "handoff": {
            "group": -1001234567890,
            "desk": "ops",
            "bots": ["echo"],
            "operators": [1, 2],
            "keywords": ["/operator"],
            "queue_timeout": "10m",
            "keep": "30d",
            "flood": 30,
        },
        "alerts": {
            "bot": "ops",
            "chat": 7,
            "url": f"https://alerts.example.org/{SECRET}",
            "token": SECRET,
            "alerts": ["bot_failed", "inbox"],
            "gather": "5s",
            "dead_letters": 10,
        },
        "trace": {"sample": 0.5, "otlp": "http://127.0.0.1:4318"},
        "bot_source": {
            "url": f"https://source.example.org/?key={SECRET}",
            "token": SECRET,
            "interval": "60s",
            "keys": {"token": "t"},
            "most_removed": 0.5,
        },
        "metrics": {},
    },
}
ODD: list[Any] = [
    *(True, False, 0, 1, -1, 7, 2**31, 2**63 - 1, -(2**63), 1.5, -0.0, 1e308, float("inf"), float("nan")),
    *(
        "",
        " ",
        "x",
        "a:b",
        ":",
        "1:a",
        PASTED_TOKEN,
        PASTED,
        "0/0",
        "1/2",
        "9" * 400,
        "\0",
        "\ud7ff",
        "\u202e",
        "ß" * 70,
    ),
    *(
        "1s",
        "-1s",
        "1e9d",
        "9999999999999d",
        "1MB",
        "1XB",
        "0",
        "50 s",
        "∞",
        "poll",
        "telegram",
        "off",
        "none",
    ),
    *(
        "http://[",
        "https://h:99999",
        f"https://{PASTED}@h/",
        "unix:",
        "unix:/x",
        "[::]:1",
        "::1",
        "10.0.0.0/99",
    ),
    *(
        [],
        [[]],
        ["a", "a"],
        [PASTED],
        {},
        {"env": "SHOP_TOKEN"},
        {"env": ""},
        {"file": "/dev/null"},
        {"x": {}},
    ),
    *({"file": "."}, {"env": 1, "file": 2}, {"credential": "../x"}, {"per_second": 0}, {"attempts": -1}),
]
BROKEN = [
    *(b"=", b"[", b"]]", b'"', b"'''", b'"""', b"#", b"\n", b"\r", b"\0", b"\xff", b"\\u", b"{", b".", b","),
    *(b"[bots.echo]\n", b"a.b.c = 1\n", b"1979-05-27T07:32:00Z", b"inf", b"0x", b"[" * 500, b"\n[[bots]]\n"),
]


@cache
def names() -> list[str]:
    """The keys of all tables, and some of none."""
    found = {name for model in TABLES.values() for name in model.model_fields}
    return [*sorted(found), "ttoken", "", "a b", "name", "\ud7ff"]


def some_tables(dice: random.Random) -> dict[str, Any]:
    """The good file with some values replaced and some keys put elsewhere."""
    tables = json_copy(GOOD)
    if dice.random() < 0.8:
        del tables["cluster"]
    else:  # dialogs are not of several daemons
        del tables["plugins"]["handoff"]
    places = [(tables, "fleet")]
    for table in tables.values():
        places += [(table, key) for key in table]
        places += [(inner, key) for inner in table.values() if isinstance(inner, dict) for key in inner]
    for _ in range(dice.choice([0, 0, 1, 1, 2, 4])):
        table, key = dice.choice(places)
        match dice.randrange(4):
            case 0:
                table.pop(key, None)
            case 1:
                table[dice.choice(names())] = dice.choice(ODD)
            case 2:
                table[key] = dice.choice(ODD)
            case _:
                table[key] = mutated(dice, table.get(key, 1), ODD)
    return json_copy(tables)


def json_copy(tables: dict[str, Any]) -> dict[str, Any]:
    """Tables that share nothing with the good ones."""
    found: dict[str, Any] = json.loads(json.dumps(tables))
    return found


class Reader:
    """Reads one file after the other, each as a reload of the one before."""

    def __init__(self, folder: Path, plugins: Plugins) -> None:
        self.file = folder / "fleet.toml"
        self.plugins = plugins
        self.in_force: Fleet | None = None
        self.seen: Counter[str] = Counter()
        self.hidden: tuple[str, ...] = ()
        (folder / "token.txt").write_text("7:" + TOKEN.partition(":")[2])

    def read(self, raw: bytes, *, is_damaged: bool = False) -> None:
        """Note what comes of it; it raises nothing but problems.

        Where a file is good, what was pasted is a public value; and damage may make one of a secret.
        """
        self.file.write_bytes(raw)
        try:
            fleet = load_fleet(self.file, {"SHOP_TOKEN": "8:" + TOKEN.partition(":")[2]})
            settings = self.plugins.validated(fleet)
        except FleetFileError as error:
            assert error.problems  # noqa: PT017 - either outcome is right
            assert len(error.problems) < 3000  # noqa: PT017 - as above
            self._say(str(error), repr(error), hidden=(SECRET, f"{PASTED}-{PASTED}"))
            self.seen["refused"] += 1
            return
        self.seen["read"] += 1
        self.hidden, before = () if is_damaged else (SECRET,), self.hidden
        self._say(repr(fleet), repr(settings))
        self.plugins.retune(fleet, settings)
        self._say(json.dumps(self.plugins.rows()), repr(self.plugins.for_workers()))
        self._reload(fleet, before)

    def _reload(self, fleet: Fleet, before: tuple[str, ...]) -> None:
        """The plan leads from one to the other: after it, nothing is left to be done."""
        if self.in_force is not None:
            plan = plan_reload(self.in_force, fleet)
            again = plan_reload(plan.fleet, fleet)
            assert again.is_empty, again.document()
            assert again.kept == plan.kept
            if before:
                self._say(repr(plan), json.dumps(plan.document()), *plan_lines(plan.document()))
            self.seen["planned"] += not plan.is_empty
            fleet = plan.fleet
        self.in_force = fleet

    def _say(self, *texts: str, hidden: tuple[str, ...] | None = None) -> None:
        for text in texts:
            assert not any(word in text.lower() for word in (self.hidden if hidden is None else hidden)), text


def test_a_file_that_is_nearly_right_is_a_fleet_or_problems(tmp_path: Path) -> None:
    """And what is read, retuned or planned of it shows no secret."""
    dice = random.Random(SEED)
    reader = Reader(tmp_path, load_installed())
    good = tomli_w.dumps({name: table for name, table in GOOD.items() if name != "cluster"}).encode()
    for _ in range(ROUNDS):
        raw = tomli_w.dumps(some_tables(dice)).encode()
        is_damaged = dice.random() < 0.3
        reader.read(damaged(dice, raw, BROKEN) if is_damaged else raw, is_damaged=is_damaged)
        if dice.random() < 0.1:
            reader.read(good)
    assert min(reader.seen[kind] for kind in ("read", "refused", "planned")) > ROUNDS / 50, reader.seen
