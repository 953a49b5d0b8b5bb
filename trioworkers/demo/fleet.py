"""The demo's fleet: a real fleet file, the real daemon, and the simulated Telegram beside it."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any

import tomli_w
import trio

from trioworkers.config import load_fleet
from trioworkers.demo.people import People, Town
from trioworkers.demo.summary import Counts, Summary
from trioworkers.events import Events
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.tally import Tally
from trioworkers.logs import open_log
from trioworkers.run import run_daemon
from trioworkers.stop import Requests, Stop
from trioworkers.testing import serve_telegram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trioworkers.config import Fleet
    from trioworkers.daemon import Daemon
    from trioworkers.demo.screen import Screen
    from trioworkers.events import Event
    from trioworkers.testing import SimBot

SETTLE = 8.0  # seconds that the fleet has at the end for what is under way
LOOK_EVERY = 0.05  # seconds
USUAL = (Path("/usr/bin"), Path("/usr/local/bin"))  # every terminal looks for programs there
TEMPORARY_LIMIT = 50  # bytes; the control socket's path below it may have 107, unix(7)
ABOUT = {
    "echo": "says what it hears; what it cannot repeat it drops",
    "quiz": "asks, with inline buttons",
    "pizza": "delivers, but its oven fails now and then: watch for RETRY and DEAD LETTER",
}
TABLES: Mapping[str, dict[str, Any]] = {
    "echo": {"settings": {"greeting": "You said:"}},
    "quiz": {},
    "pizza": {
        "settings": {
            "menu": ["margherita", "marinara", "calzone", "fugazza", "truffle"],
            "sold_out": ["truffle"],
            "oven_fails": {"calzone": 1, "fugazza": 9},
        },
        "retry": {"attempts": 3, "initial": "600ms", "factor": 2, "max": "2s"},
    },
}


def write_fleet(folder: Path, api_base: str, bots: Mapping[str, SimBot]) -> Path:
    """Write the fleet file, which names all its folders and no fixed port; return its path."""
    path = folder / "fleet.toml"
    tables = {
        "fleet": {
            "name": "demo",
            "api_base": api_base,
            "state_dir": "state",
            "runtime_dir": "run",
            "log_dir": "logs",
            "shutdown_timeout": "10s",
        },
        "api": {"bind": "127.0.0.1:0"},
        "bots": {
            name: {"token": bot.token, "handler": f"trioworkers.demo.bots.{name}:handle", **TABLES[name]}
            for name, bot in bots.items()
        },
    }
    path.write_text(tomli_w.dumps(tables))
    path.chmod(0o600)
    return path


async def run_demo(stop: Stop, screen: Screen, *, seconds: float, people: int, seed: int) -> Summary:
    """Run the fleet and its people until `stop`, or for so many seconds; return what came of it.

    At the end the people fall silent first, then the fleet has a moment to answer what is under way.
    Cancelled, or with `stop` hastened, what is under way stays where it is. Nothing is left on disk.

    Raises:
        trioworkers.errors.TrioworkersError: as of `run_daemon`.
        OSError: there is no room for the temporary folder.
    """
    with TemporaryDirectory(prefix="trioworkers-demo-", dir=_temporary()) as name:
        folder = Path(name)
        town = Town(seed, screen)
        bots = {name: town.add_bot(name) for name in TABLES}
        crowd = People(town, bots, people, seed, screen)
        for user in town.users.values():
            screen.meets(user.id, user.first_name)
        async with trio.open_nursery() as nursery:
            api_base = await nursery.start(serve_telegram, town)
            fleet = load_fleet(write_fleet(folder, api_base, bots), {})
            screen.introduce(people, f"{_program()} -c {shlex.quote(str(fleet.path))} status")
            talked = await _perform(fleet, stop, screen, town, crowd, seconds)
            nursery.cancel_scope.cancel()
        return Summary(talked, people, await trio.to_thread.run_sync(_count, fleet, town, bots))


def _program() -> str:
    """How this program is called from another terminal, which may not search its environment."""
    program = Path(sys.executable).with_name("trioworkers")
    if program.parent in USUAL or not program.exists():
        return "trioworkers"
    return shlex.quote(str(program))


def _temporary() -> str:
    """The usual folder for temporary files, unless its path leaves a socket too little room."""
    usual = gettempdir()
    return usual if len(os.fsencode(usual)) <= TEMPORARY_LIMIT else "/tmp"  # noqa: S108 - a fresh folder in it


async def _perform(
    fleet: Fleet, stop: Stop, screen: Screen, town: Town, crowd: People, seconds: float
) -> float:
    """Run the daemon with the people around it; return how long they talked."""
    began = ended = 0.0
    requests, started = Requests(), _Started()
    with _log(fleet.log_dir / "master.log") as log:
        events = Events(screen.event, log, least="debug")  # the screen shows what is dropped, too
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(_run_daemon, fleet, events, requests, started, nursery))
            with trio.CancelScope() as play:
                nursery.start_soon(_hasten, stop, play, requests.stop)
                daemon = await started.wait()
                pids = {row["bot"]: row["pid"] for row in daemon.status()["workers"]}
                lasts = "Ctrl-C ends it." if seconds == float("inf") else f"It ends in {seconds:g} s."
                screen.ready(pids, lasts)
                began = trio.current_time()
                try:
                    with trio.move_on_after(seconds):
                        await _until(stop, crowd)
                finally:
                    ended = trio.current_time()
                screen.say("The people fall silent, the fleet finishes what is under way ...")
                with trio.move_on_after(SETTLE):
                    await _settled(daemon, town)
            requests.stop.request()
    return ended - began


async def _run_daemon(
    fleet: Fleet, events: Events, requests: Requests, started: _Started, nursery: trio.Nursery
) -> None:
    """Run the daemon; all else around it ends with it."""
    await run_daemon(fleet, events, requests, task_status=started)
    nursery.cancel_scope.cancel()


async def _hasten(stop: Stop, play: trio.CancelScope, daemon_stop: Stop) -> None:
    await stop.hastened.wait()
    play.cancel()
    daemon_stop.hasten()


async def _until(stop: Stop, crowd: People) -> None:
    """Let the people talk until `stop`."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crowd.live)
        await stop.requested.wait()
        nursery.cancel_scope.cancel()


async def _settled(daemon: Daemon, town: Town) -> None:
    """Wait until Telegram has handed out everything and every bot has handled it."""
    bots = town.bots.values()
    while any(map(town.pending, bots)) or any(map(_waiting, daemon.status()["workers"])):  # noqa: ASYNC110
        await trio.sleep(LOOK_EVERY)  # the daemon has no event for "nothing to do"


def _waiting(row: Mapping[str, Any]) -> int:
    queue: Mapping[str, int] = row["queue"]
    return queue["ready"] + queue["in_flight"] + queue["retry"]


def _count(fleet: Fleet, town: Town, bots: Mapping[str, SimBot]) -> dict[str, Counts]:
    """Each bot's numbers: the inbox's as they stand on disk after the daemon has gone, and the town's."""
    store = open_sqlite(fleet.state_dir / "inbox.db")
    try:
        tallies = store.tallies()
    finally:
        store.close()
    counts = {}
    for name, bot in bots.items():
        tally = tallies.get(bot.id, Tally())
        counts[name] = Counts(
            made=town.updates[bot.id],
            unconfirmed=town.pending(bot),
            accepted=tally.accepted,
            filtered=tally.filtered,
            answered=town.answers[bot.id],
            done=tally.done,
            dropped=tally.dropped,
            expired=tally.expired,
            retried=tally.retried,
            dead=tally.dead,
            pending=tally.pending,
        )
    return counts


class _Started:
    """A task status that may never be told, as a daemon that is stopped while it starts does not tell it."""

    def __init__(self) -> None:
        self._daemon: Daemon | None = None
        self._told = trio.Event()

    def started(self, value: Daemon | None = None) -> None:
        self._daemon = value
        self._told.set()

    async def wait(self) -> Daemon:
        await self._told.wait()
        assert self._daemon is not None  # noqa: S101 - set before the event
        return self._daemon


@contextmanager
def _log(path: Path) -> Iterator[Callable[[Event], None]]:
    """The daemon's own log, beside the workers' logs; what libraries log goes there, too."""
    path.parent.mkdir(mode=0o700)
    root = logging.getLogger()
    before = root.handlers
    with path.open("w") as file:
        try:
            write = open_log(format="json", stream=file)
            yield lambda event: write(event) if event.level != "debug" else None
        finally:
            root.handlers = before
