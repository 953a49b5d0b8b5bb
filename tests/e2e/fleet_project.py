"""A project built from a dict: its folder, its daemon as a real process, and questions to it."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.testing import FleetFolder

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from trioworkers.testing import SimBot

PATIENCE = 120.0
"""Seconds after which a wait counts as endless. It says nothing about speed: a busy machine takes a minute
for what an idle one does in two seconds."""

ECHO = """
async def handle(update, bot):
    if update.text:
        await bot.send_message(chat_id=update.chat_id, text=update.text)
"""


class Daemon:
    """A running `trioworkers run`; its output goes to the project's `daemon.log`."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.process = project.own.start()

    async def ask(self, path: str = "/api/workers/status") -> dict[str, Any] | None:
        """GET a path over the control socket; None while nobody answers."""
        import httpx

        transport = httpx.AsyncHTTPTransport(uds=str(self.project.control))
        try:
            async with httpx.AsyncClient(transport=transport, timeout=PATIENCE) as client:
                answer: dict[str, Any] = (await client.get(f"http://control{path}")).json()
                return answer
        except httpx.TransportError:
            return None

    async def status(self) -> dict[str, Any]:
        """The status document."""
        document = await until(self.ask)
        assert isinstance(document, dict)
        return document

    async def bot(self, name: str) -> dict[str, Any]:
        """One bot's row of it."""
        return next(row for row in (await self.status())["workers"] if row["bot"] == name)

    async def ready(self, seconds: float = PATIENCE) -> Daemon:
        """Wait until every bot has its first verdict."""

        async def running() -> bool:
            assert self.process.poll() is None, self.project.log.read_text()
            document = await self.ask()
            return document is not None and document["fleet"]["state"] == "running"

        await until(running, seconds)
        return self

    async def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end; its exit code."""
        with trio.fail_after(seconds):
            return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = PATIENCE) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return await self.wait(seconds)


class Project:
    """A fleet in a folder of its own, for tests whose Telegram lives on their own loop."""

    def __init__(self, folder: Path, worker_start: str = "fork") -> None:
        self.own = FleetFolder(folder)
        self.folder = folder
        self.worker_start = worker_start
        self.file, self.log, self.control = self.own.file, self.own.log, self.own.control
        self.database = folder / "state" / "inbox.db"
        self.own.environ = self.environ = {**os.environ, "COVERAGE_PROCESS_START": ""}
        self.daemons: list[Daemon] = []

    def write(self, api_base: str, bots: dict[str, dict[str, Any]], **tables: dict[str, Any]) -> None:
        """Write the fleet file; handlers come from modules written with :meth:`module`."""
        fleet = {
            "api_base": api_base,
            "shutdown_timeout": "15s",
            "worker_start": self.worker_start,
            **tables.pop("fleet", {}),
        }
        api = {"bind": "127.0.0.1:0", **tables.pop("api", {})}
        log = {"throttle_window": 0, **tables.pop("log", {})}  # each event is a line
        document = {"fleet": fleet, "api": api, "log": log, **tables, "bots": bots}
        self.own.write(document)

    def module(self, name: str, source: str) -> None:
        """Write a module of handlers."""
        self.own.module(name, source)

    def start(self) -> Daemon:
        """Start the daemon."""
        daemon = Daemon(self)
        self.daemons.append(daemon)
        return daemon

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return self.own.command(*words, **options)

    @contextmanager
    def inbox(self) -> Iterator[sqlite3.Connection]:
        """The database, to read."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            yield connection

    def tally(self, bot: SimBot) -> dict[str, int]:
        """What the database says became of a bot's updates."""
        names = ("accepted", "duplicates", "done", "dropped", "expired", "retried", "dead")
        with self.inbox() as inbox:
            row = inbox.execute(
                f"SELECT {', '.join(names)} FROM tally WHERE bot_id = ?", (bot.id,)
            ).fetchone()
            (pending,) = inbox.execute("SELECT count(*) FROM inbox WHERE bot_id = ?", (bot.id,)).fetchone()
        return dict(zip(names, row or [0] * len(names), strict=True)) | {"pending": pending}

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of the daemon's log about one event."""
        return self.own.events(name)


async def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until `condition`, plain or async, is true; return what it returned."""
    with trio.fail_after(seconds):
        while True:
            value = condition()
            if hasattr(value, "__await__"):
                value = await value
            if value:
                return value
            await trio.sleep(0.02)


def children_of(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            children.append(int(stat.parent.name))
    return children


def zygote_of(pid: int) -> int:
    """The zygote of a daemon."""
    (zygote,) = [child for child in children_of(pid) if _comm(child) == "tw-zygote"]
    return zygote


def workers_of(pid: int) -> list[int]:
    """The workers of a daemon: children of its zygote, and its own once a zygote has died."""
    children = children_of(pid)
    zygotes = [child for child in children if _comm(child) == "tw-zygote"]
    children += [child for zygote in zygotes for child in children_of(zygote)]
    return [child for child in children if _comm(child) == "tw-worker"]


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
