"""A fleet in which each way of running a library is a bot, under `acknowledge = "probe"`.

Each handler says `begun`, works for a while, and says `echo`, or raises. Its code knows nothing of us.
`PROBED=telegraf,aiogram` in the environment leaves the others out.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from fleet_project import children_of

from trioworkers.testing import serve_telegram

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fleet_project import Daemon, Project

    from trioworkers.testing import SimUser, Telegram

ROOT = Path(__file__).parents[2]
BOTS = ROOT / "tests" / "libraries" / "probed"
LIBRARIES = ROOT / ".tools" / "libraries"
NODE, PYTHON = shutil.which("node") or "node", sys.executable
MODES = {
    "telegraf": (NODE, "telegraf.js"),
    "grammy": (NODE, "grammy.js"),
    "grammy-runner": (NODE, "grammy_runner.js"),
    "grammy-runner-sequentialize": (NODE, "grammy_runner.js", "sequentialize"),
    "node-telegram-bot-api": (NODE, "node_telegram_bot_api.js"),
    "aiogram": (PYTHON, "aiogram_bot.py"),
    "aiogram-serial": (PYTHON, "aiogram_bot.py", "serial"),
    "python-telegram-bot": (PYTHON, "python_telegram_bot.py"),
    "python-telegram-bot-concurrent": (PYTHON, "python_telegram_bot.py", "concurrent"),
    "telebot": (PYTHON, "telebot_bot.py"),
    "telebot-serial": (PYTHON, "telebot_bot.py", "serial"),
    "telebot-async": (PYTHON, "telebot_async.py"),
}
MORE_MODES = {"unblocked": (PYTHON, "python_telegram_bot.py", "unblocked")}
WANTED = tuple(os.environ.get("PROBED", ",".join(MODES)).split(","))
PATIENCE = 90.0  # seconds until all of them have done something: they start at the same time

needs_libraries = pytest.mark.skipif(
    not (LIBRARIES / "installed").exists() and not os.environ.get("CI"),
    reason="scripts/test fetches the libraries",
)


class ProbedBot:
    """One library's bot, and the people who talk with it.

    Attributes:
        people: those who talk with it in rounds.
        stranger: one more, who does not.
        rounds: how often each of its people has said something.
    """

    def __init__(self, world: Telegram, mode: str, people: int) -> None:
        self.mode = mode
        self.sim = world.add_bot(mode.replace("-", "_"))
        self.people = [world.add_user(f"user{number}") for number in range(people)]
        self.stranger = world.add_user("stranger")
        self.rounds = self._extra = 0
        self._world = world

    @property
    def asked(self) -> int:
        """How many updates it was sent so."""
        return self.rounds * len(self.people) + self._extra

    def ask(self) -> None:
        """Each of its people says the next thing."""
        for one in self.people:
            one.send(self.sim, f"m{self.rounds}")
        self.rounds += 1

    def ask_alone(self, text: str, *, ends: bool = True) -> None:
        """The stranger says something; `ends`: it will be done."""
        self.stranger.send(self.sim, text)
        self._extra += ends

    def said(self, one: SimUser) -> list[str]:
        """What it said to a person."""
        return [message["text"] for message in self._world.sent(self.sim, one.id)]

    @property
    def wanted(self) -> list[str]:
        """What each person is to be told, where nothing fails."""
        return [f"{word} m{number}" for number in range(self.rounds) for word in ("begun", "echo")]

    @property
    def strange(self) -> list[list[str]]:
        """What was said to those of its people to whom something else was said than is wanted."""
        return [said for one in self.people if (said := self.said(one)) != self.wanted]

    @property
    def out_of_order(self) -> list[list[str]]:
        """The same, where what was said again is left out."""
        firsts = [list(dict.fromkeys(self.said(one))) for one in self.people]
        return [said for said in firsts if said != self.wanted]


class ProbedFleet:
    """A daemon with all of them."""

    def __init__(
        self, project: Project, world: Telegram, people: int, modes: tuple[str, ...] = WANTED, **keys: Any
    ) -> None:
        self.project, self.world = project, world
        self.bots = [ProbedBot(world, mode, people) for mode in modes]
        self.keys = keys
        self._base = ""

    async def begin(self, nursery: trio.Nursery) -> Daemon:
        """Start the daemon, and return it when all programs are ready."""
        self._base = await nursery.start(serve_telegram, self.world)
        self.write()
        return await self.start()

    async def start(self) -> Daemon:
        """Start the daemon once more."""
        return await self.project.start().ready(PATIENCE)

    def write(self, slow: float = 0.0, **keys: Any) -> None:
        """Write the fleet file. `slow`: seconds that handlers take; `keys`: of each bot."""
        environ = {
            "BOT_TOKEN": "{token}",
            "PYTHONPATH": str(LIBRARIES / "python"),
            "NODE_PATH": str(LIBRARIES / "node_modules"),
            "SLOW": str(slow or self.keys.get("slow", 0.0)),
        }
        table = {
            "cwd": str(BOTS),
            "environment": environ,
            "acknowledge": "probe",
            "restart": {"initial": "10ms", "max": "50ms", "per_hour": 99},
            "retry": {"initial": "10ms", "max": "50ms", "attempts": 3},
            **{name: value for name, value in self.keys.items() if name != "slow"},
            **keys,
        }
        words = MODES | MORE_MODES
        bots = {one.mode: {"token": one.sim.token, "command": list(words[one.mode])} for one in self.bots}
        self.project.write(
            self._base,
            {name: table | own for name, own in bots.items()},
            fleet={"watch": False, "shutdown_timeout": "60s"},
        )

    def done(self) -> dict[str, int]:
        """How many updates of each are done."""
        with self.project.inbox() as inbox:
            rows = dict(inbox.execute("SELECT bot_id, done FROM tally").fetchall())
        return {one.mode: rows.get(one.sim.id, 0) for one in self.bots}

    async def until_done(self, count: int | None = None) -> None:
        """Wait until each has so many updates done; without `count`, all that it was asked."""
        with trio.fail_after(PATIENCE):
            while True:
                done = self.done()
                if all(done[one.mode] >= (one.asked if count is None else count) for one in self.bots):
                    return
                await trio.sleep(0.1)

    async def until_busy(self, least: int, busy: Callable[[], Awaitable[bool]]) -> None:
        """Ask more until each is `busy`, and has been asked `least` updates more than it has done."""
        with trio.fail_after(PATIENCE):
            while True:
                are_busy, done = await busy(), self.done()
                for one in self.bots:
                    while one.asked - done[one.mode] < least:
                        one.ask()
                        are_busy = False
                if are_busy:
                    return
                await trio.sleep(0.02)

    async def programs(self, daemon: Daemon) -> dict[str, int]:
        """The process of each bot, where it runs."""
        workers = {row["bot"]: row["pid"] for row in (await daemon.status())["workers"]}
        found = {mode: children_of(pid) for mode, pid in workers.items() if pid}
        return {mode: pids[0] for mode, pids in found.items() if pids}

    def count(self, event: str) -> Counter[str]:
        """How often an event was told, by bot."""
        return Counter(told["bot"] for told in self.project.events(event))

    def unmarked(self, bot: ProbedBot) -> dict[str, int]:
        """What was said more often than it may be by the repetitions that were reported, per chat."""
        told = [event["dialog"].split("/") for event in self.project.events("update.repeated")]
        marked = Counter(chat for name, chat, *_ in told if name == bot.mode)
        over = {
            str(one.id): sum(count - 1 for count in Counter(bot.said(one)).values()) for one in bot.people
        }
        return {chat: count - marked[chat] for chat, count in over.items() if count > marked[chat]}
