"""Several daemons on one PostgreSQL database, for tests that stop and kill them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg

from trioworkers.nursery.ownership import prefer
from trioworkers.testing.fleet import FleetFailed, running
from trioworkers.testing.threaded import TelegramThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postgres_server import Server

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.fleet import RunningFleet
    from trioworkers.testing.users import SimUser

LEASE = 3  # seconds
# a text that is a path is answered once that is there
HANDLER = """
import pathlib, trio

async def handle(update, bot):
    if update.text:
        gate = pathlib.Path(update.text)
        while gate.is_absolute() and not gate.exists():
            await trio.sleep(0.02)
        await bot.send_message(chat_id=update.chat_id, text=f"{bot.settings['node']}:{update.text}")
"""


class Cluster:
    """Daemons, each in a folder of its own; they share the bots, a database and a Telegram.

    Attributes:
        nodes: those that were started.
        bots: the bots of the fleet.
        handler: the module of all bots.
        defaults: settings of all bots.
        more: tables of a node's fleet file.
        lease: of all nodes, in seconds.
    """

    def __init__(self, folder: Path, server: Server, telegram: TelegramThread, stack: ExitStack) -> None:
        self.folder, self.server, self.telegram = folder, server, telegram
        self.url = server.admin(server.database())
        self.nodes: dict[str, RunningFleet] = {}
        self.bots: dict[str, SimBot] = {}
        self.handler = HANDLER
        self.defaults: dict[str, Any] = {}
        self.more: dict[str, dict[str, Any]] = {}
        self.lease = LEASE
        self._people: dict[str, SimUser] = {}
        self._stack = stack

    def add_bots(self, *names: str) -> None:
        self.bots |= {name: self.telegram.add_bot(name) for name in names}
        self._people |= {name: self.telegram.add_user(f"friend of {name}") for name in names}

    def tables(self, node: str, **more: Any) -> dict[str, Any]:
        bots = {name: {"token": bot.token, "handler": "replies:handle"} for name, bot in self.bots.items()}
        return {
            "store": {"url": {"env": "DATABASE_URL"}},
            "cluster": {"node": node, "lease": self.lease},
            "defaults": {"settings": {"node": node}, "poll_timeout": 5, **self.defaults},
            "bots": bots,
            **self.more.get(node, {}),
            **more,
        }

    def start(self, *names: str) -> None:
        """Start nodes, all at the same time."""

        def enter(name: str) -> RunningFleet:
            fleet = running(
                self.folder / name,
                self.tables(name),
                telegram=self.telegram,
                modules={"replies": self.handler},
                environ={"DATABASE_URL": self.url},
            )
            return self._stack.enter_context(fleet)

        with ThreadPoolExecutor(len(names)) as threads:
            self.nodes |= dict(zip(names, threads.map(enter, names), strict=True))

    def rows(self, query: str) -> list[Any]:
        with psycopg.connect(self.url, options="-c search_path=trioworkers") as connection:
            return connection.execute(query).fetchall()

    def owners(self) -> dict[str, str | None]:
        names = {bot.id: name for name, bot in self.bots.items()}
        query = "SELECT bot_id, name FROM bot LEFT JOIN node ON id = owner"
        return {names[bot]: owner for bot, owner in self.rows(query) if bot in names}

    def epochs(self) -> dict[int, int]:
        return dict(self.rows("SELECT bot_id, epoch FROM bot"))

    def preferred(self, *among: str) -> dict[str, str]:
        return {name: prefer(bot.id, among) for name, bot in self.bots.items()}

    def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise FleetFailed(f"the condition did not hold within {seconds:g} s; owners: {self.owners()}")
            time.sleep(0.05)

    def settle(self, *among: str) -> None:
        """Wait until each bot runs where it prefers among these nodes."""
        wanted = self.preferred(*among)
        self.until(lambda: self.owners() == wanted)
        self.until(lambda: all(self.runs(wanted[name], name) for name in self.bots))

    def runs(self, node: str, bot: str) -> bool:
        rows = self.nodes[node].status()["workers"]
        return any(row["bot"] == bot and row["state"] == "running" for row in rows)

    def handles(self, node: str, bot: str) -> bool:
        """Whether a node runs a bot that has an update in flight."""
        rows = self.nodes[node].status()["workers"]
        return any(row["bot"] == bot and row["queue"]["in_flight"] for row in rows)

    def all_done(self) -> None:
        """Wait until nothing waits in the database."""
        self.until(lambda: self.rows("SELECT count(*) FROM inbox") == [(0,)])

    def person(self, bot: str) -> SimUser:
        """Who talks to a bot."""
        return self._people[bot]

    def say(self, bot: str, *texts: str) -> None:
        for text in texts:
            self.telegram.say(self._people[bot], self.bots[bot], text)

    def hear(self, bot: str, count: int = 1, timeout: float = 20.0) -> list[tuple[str, str]]:
        """The next answers of a bot: which node gave each, and the text."""
        heard = [
            self.telegram.expect(self._people[bot], self.bots[bot], timeout)["text"] for _ in range(count)
        ]
        return [tuple(text.split(":", 1)) for text in heard]

    def times(self, event: str, node: str) -> dict[str, float]:
        """When an event happened to each bot last, Unix seconds."""
        found = self.events(event, node=node)
        return {one["bot"]: datetime.fromisoformat(one["at"]).timestamp() for one in found}

    def events(self, *names: str, node: str | None = None) -> list[dict[str, Any]]:
        nodes = self.nodes.values() if node is None else [self.nodes[node]]
        return [event for fleet in nodes for event in fleet.events(*names)]


@contextmanager
def cluster_of(folder: Path, server: Server, bots: int) -> Iterator[Cluster]:
    """So many bots, and no daemon yet."""
    with TelegramThread() as telegram, ExitStack() as stack:
        cluster = Cluster(folder, server, telegram, stack)
        cluster.add_bots(*(f"bot{number}" for number in range(bots)))
        yield cluster
        for fleet in cluster.nodes.values():
            fleet.end()
