"""The daemon: one run of a fleet, from its lock to its last commit.

What is outermost lives longest: the lock, the inbox and its writer, the web, the bots. A stop travels the
other way: intake, dispatch, workers, then the web, then the writer, under one shared deadline; only what
is left at the deadline is cancelled.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.config import Secret
from trioworkers.errors import TrioworkersError
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite import open_sqlite
from trioworkers.inbox.store import StoreRefusedError
from trioworkers.nursery.bot import Surroundings
from trioworkers.nursery.fleet import FleetScope, Pace
from trioworkers.nursery.spawn import Spawn
from trioworkers.status import DaemonStatus, summary
from trioworkers.web.app import make_app
from trioworkers.web.serve import listen_tcp, listen_unix, serve_app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from trioworkers.config import Bind, Fleet
    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.inbox.store import Store

SWITCH_INTERVAL = 0.0005  # seconds until the writer's thread gets its turn from a busy loop
CONTROL_SOCKET = "control.sock"


class AlreadyRunningError(TrioworkersError):
    """Another daemon holds the state directory."""


class Stop:
    """Requests to end the daemon: `requested` gracefully, `hastened` at once."""

    def __init__(self) -> None:
        self.requested = trio.Event()
        self.hastened = trio.Event()

    def request(self) -> None:
        self.requested.set()

    def hasten(self) -> None:
        self.requested.set()
        self.hastened.set()


async def watch_signals(stop: Stop, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Turn TERM and INT into stop requests, QUIT and a second INT into haste, until cancelled.

    HUP, USR1 and USR2 have no meaning yet; they are taken all the same, since unhandled they would kill.
    """
    stops = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    with trio.open_signal_receiver(*stops, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGQUIT or (number == signal.SIGINT and stop.requested.is_set()):
                stop.hasten()
            elif number in stops:
                stop.request()


async def run_daemon(
    fleet: Fleet,
    events: Events,
    stop: Stop,
    *,
    environ: Mapping[str, str] = os.environ,
    task_status: trio.TaskStatus[Daemon] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the fleet until `stop`, then end it gracefully within `fleet.shutdown_timeout`.

    `task_status` is told once the listeners are bound and every bot has its first verdict. Cancelling
    ends all workers' groups at once; the inbox keeps what they had in hand.

    Raises:
        AlreadyRunningError: another daemon holds the state directory.
        ListenError: an address is in use or is not ours.
        StoreError: the inbox cannot be opened.
        OSError: a directory cannot be made.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    for folder in (fleet.state_dir, fleet.runtime_dir, fleet.log_dir):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        _locked(fleet.state_dir / "daemon.lock"),
        _control_socket(fleet.runtime_dir / CONTROL_SOCKET) as control,
        _listening(fleet.api.bind) as api,
    ):
        async with open_inbox(_open_store(fleet)) as inbox:
            daemon = Daemon(fleet, inbox, events, environ)
            async with trio.open_nursery() as web:
                web_stop = trio.Event()
                await web.start(partial(serve_app, daemon.app, control, stop=web_stop, control=True))
                await web.start(partial(serve_app, daemon.app, api, stop=web_stop))
                await daemon.run(stop, task_status)
                web_stop.set()
    events.tell("daemon.stopped")


class Daemon:
    """The bots of one fleet and what is told of them; made and run by :func:`run_daemon`."""

    def __init__(self, fleet: Fleet, inbox: Inbox, events: Events, environ: Mapping[str, str]) -> None:
        self._settings = fleet
        self._events = events
        self._status = DaemonStatus(fleet.name, fleet.digest)
        pace = Pace(lambda: fleet.limits.start_rate)
        child_environ = {name: environ[name] for name in environ if name not in fleet.secret_env_names}
        self._fleet = FleetScope(
            {name: bot for name, bot in fleet.bots.items() if fleet.shard.owns(bot.bot_id)},
            Surroundings(
                api_base=fleet.api_base,
                python_path=[str(folder) for folder in fleet.python_path],
                log_dir=fleet.log_dir,
                log_level=fleet.log.level,
                inbox=inbox,
                makes=Spawn(fleet.folder, child_environ),
                events=events,
                may_start=pace.wait,
            ),
        )
        self.app = make_app(
            token=(fleet.api.token or _made_token(fleet.runtime_dir / "api-token")).reveal(),
            hosts={"localhost", fleet.api.bind.host.lower(), socket.gethostname().lower()},
            is_ready=self._fleet.ready.is_set,
            status=self.status,
        )

    def status(self) -> dict[str, Any]:
        """The status document."""
        return self._status.document(self._fleet.status())

    async def run(self, stop: Stop, task_status: trio.TaskStatus[Daemon]) -> None:
        """Run the bots until `stop`, then end them within the deadline."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._announce, task_status)
            async with trio.open_nursery() as bots:
                bots.start_soon(self._fleet.run)
                await stop.requested.wait()
                self._status.state = "stopping"
                self._events.tell("daemon.stopping", status=summary(self._fleet.status()))
                self._fleet.stop()
                bots.cancel_scope.deadline = trio.current_time() + self._settings.shutdown_timeout
                nursery.start_soon(_cancel_on, stop.hastened, bots.cancel_scope)
            nursery.cancel_scope.cancel()
        if not self._fleet.ready.is_set():  # a stop came first: whoever waits for the start waits no more
            task_status.started(self)

    async def _announce(self, task_status: trio.TaskStatus[Daemon]) -> None:
        await self._fleet.ready.wait()
        if self._status.state == "starting":
            self._status.state = "running"
            self._events.tell("daemon.ready", status=summary(self._fleet.status()))
        task_status.started(self)


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _open_store(fleet: Fleet) -> Store:
    if fleet.store.url != "sqlite":
        message = 'store.url: PostgreSQL is not available in this version, expected "sqlite"'
        raise StoreRefusedError(message)
    return open_sqlite(fleet.state_dir / "inbox.db", durability=fleet.store.durability)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the state directory for this process; the lock ends with it, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            message = f"another daemon runs on {path.parent} (pid {holder})"
            raise AlreadyRunningError(message) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _control_socket(path: Path) -> Iterator[socket.socket]:
    with listen_unix(path) as listener:
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def _listening(bind: Bind) -> Iterator[socket.socket]:
    if bind.path is not None:
        with _control_socket(bind.path) as listener:
            yield listener
        return
    with listen_tcp(bind.host, bind.port) as listener:
        yield listener


def _made_token(path: Path) -> Secret:
    """The API token that is kept at `path` (mode 0600), made when there is none."""
    with suppress(FileNotFoundError):
        kept = path.read_text().strip()
        if kept:
            return Secret(kept)
    token = secrets.token_urlsafe(32)
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    fresh.replace(path)
    return Secret(token)
