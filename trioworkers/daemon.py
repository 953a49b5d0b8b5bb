"""The daemon: one run of a fleet, from its lock to its last commit.

What is outermost lives longest: the locks, the inbox and its writer, the bots. A stop travels the other
way: intake, dispatch, workers, then the web, then the writer, under one shared deadline; only what is left
when it is near is cancelled, and what is left when it has come is killed.
"""

from __future__ import annotations

import atexit
import math
import os
import signal
import sys
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakSet

import trio

from trioworkers.folders import kept_token, locked, make_folder
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite import open_sqlite
from trioworkers.inbox.store import StoreRefusedError
from trioworkers.logs.summary import Figures, figures, serve_summary
from trioworkers.nursery.bot import Surroundings
from trioworkers.nursery.fleet import FleetScope, Pace
from trioworkers.nursery.oom import OomKills, find_counter
from trioworkers.nursery.paused import PausedBots
from trioworkers.nursery.places import Places
from trioworkers.nursery.rolling import RollingRestarts
from trioworkers.nursery.zygote import open_zygote
from trioworkers.status import DaemonStatus, summary
from trioworkers.web.app import make_app
from trioworkers.web.serve import GRACE, Web, listen_tcp, listen_unix
from trioworkers.worker.orders import Prepare
from trioworkers.worker.remains import begin_run

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    from trioworkers.config import Bind, Fleet
    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.inbox.store import Store, StoreError
    from trioworkers.nursery.spawn import MakesWorkers, WorkerProcess

ENDS = 3.0  # seconds of a stop that are kept back for what ends the workers that did not drain
SWITCH_INTERVAL = 0.0005  # seconds until the writer's thread gets its turn from a busy loop
CONTROL_SOCKET = "control.sock"


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


async def watch_signals(
    stop: Stop,
    others: Mapping[int, Callable[[], None]] = MappingProxyType({}),
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Turn TERM and INT into stop requests, QUIT and a second INT into haste, until cancelled.

    `others`: what USR1, USR2 and HUP do, and what QUIT does before. Without it they do nothing; unhandled
    they would kill.
    """
    stops = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    with trio.open_signal_receiver(*stops, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2) as signals:
        task_status.started()
        async for number in signals:
            if number in others:
                others[number]()
            if number == signal.SIGQUIT or (number == signal.SIGINT and stop.requested.is_set()):
                stop.hasten()
            elif number in stops:
                stop.request()


async def run_daemon(
    fleet: Fleet,
    events: Events,
    stop: Stop,
    *,
    restarts: RollingRestarts | None = None,
    environ: Mapping[str, str] = os.environ,
    task_status: trio.TaskStatus[Daemon] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the fleet until `stop`, then end it gracefully within `fleet.shutdown_timeout`.

    `task_status` is told once the listeners are bound and every bot has its first verdict. Cancelling
    ends all workers' groups at once; the inbox keeps what they had in hand. `restarts`: asked for rolling
    restarts by signal.

    Raises (in groups, what comes after the locks):
        AlreadyRunningError: another daemon holds the state directory or listens on our sockets.
        ListenError: an address is in use or is not ours.
        StoreError: the inbox, or what says which bots are paused, cannot be opened.
        ZygoteError: workers cannot be started as the fleet file says.
        OSError: a directory cannot be made; PermissionError: others can write there, or know the token.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    for folder in (fleet.state_dir, fleet.runtime_dir, fleet.log_dir):
        make_folder(folder)
    with (
        locked(fleet.state_dir / "daemon.lock", f"runs on {fleet.state_dir}"),
        listen_unix(fleet.runtime_dir / CONTROL_SOCKET, key="fleet.runtime_dir") as control,
        _listening(fleet.api.bind) as api,
    ):
        # the web stands around the inbox, so that nothing of it can keep the writer from its last commit
        async with trio.open_nursery() as outer:
            run = await trio.to_thread.run_sync(begin_run, fleet.state_dir / "run-mark")
            async with (
                open_inbox(
                    _open_store(fleet),
                    trouble=partial(_tell_trouble, events),
                    keep_dead=lambda: fleet.store.dead_retention,
                ) as inbox,
                open_zygote(
                    Prepare(fleet.worker_start, fleet.api_base, fleet.preload, _folders(fleet)),
                    run=run,
                    folder=fleet.folder,
                    environ={name: environ[name] for name in environ if name not in fleet.secret_env_names},
                    tell=events.tell,
                ) as zygote,
            ):
                daemon = Daemon(fleet, inbox, events, zygote, restarts or RollingRestarts(events.tell))
                web = Web(daemon.app, control=control, api=api)
                await outer.start(web.serve)
                await daemon.run(stop, task_status)
                await web.close(min(GRACE, daemon.time_left()), stop.hastened)
            if not web.ended.is_set():
                _leave(events)
    events.tell("daemon.stopped")


def _leave(events: Events) -> NoReturn:
    """End the process with exit code 0, whatever still runs in it: the last resort.

    Everything is written and closed by now, and every worker has ended. What did not end even when it was
    cancelled and its connections were shut down would otherwise keep the daemon alive for ever, deaf to
    TERM. Locks end with the process; a socket that is left behind is replaced by the next start.
    """
    events.tell("daemon.stopped", level="warn", reason="the API did not end and was left behind")
    atexit._run_exitfuncs()  # the log may have a thread that still writes
    os._exit(0)


class Daemon:
    """The bots of one fleet and what is told of them; made and run by :func:`run_daemon`."""

    def __init__(
        self,
        fleet: Fleet,
        inbox: Inbox,
        events: Events,
        makes: MakesWorkers,
        restarts: RollingRestarts,
    ) -> None:
        self._settings = fleet
        self._restarts = restarts
        self._events = events
        self._status = DaemonStatus(fleet.name, fleet.digest)
        pace = Pace(lambda: fleet.limits.start_rate)
        self._makes = _Killable(makes)
        self._deadline = math.inf
        self._inbox = inbox
        own = {name: bot for name, bot in fleet.bots.items() if fleet.shard.owns(bot.bot_id)}
        self._fleet = FleetScope(
            own,
            Surroundings(
                api_base=fleet.api_base,
                python_path=_folders(fleet),
                log_dir=fleet.log_dir,
                log=lambda: fleet.log,
                inbox=inbox,
                makes=self._makes,
                events=events,
                may_start=pace.wait,
                places=Places(lambda: _most_workers(fleet)),
                paused=PausedBots(fleet.state_dir / "paused.json"),
                oom=OomKills(find_counter()),
            ),
        )
        self.app = make_app(
            token=(fleet.api.token or kept_token(fleet.runtime_dir / "api-token")).reveal(),
            loopback=fleet.api.bind.path is None and fleet.api.bind.is_local,
            is_ready=self._fleet.ready.is_set,
            status=self.status,
            inbox=inbox,
            backs_up=inbox,
            bots=lambda: self._fleet.bots,
            restarts=restarts,
            backups=fleet.state_dir / "backups",
            events=events,
        )

    def status(self) -> dict[str, Any]:
        """The status document."""
        return self._status.document(self._fleet.status())

    def time_left(self) -> float:
        """Seconds that a stop still may take."""
        return max(0.0, self._deadline - trio.current_time())

    async def run(self, stop: Stop, task_status: trio.TaskStatus[Daemon]) -> None:
        """Run the bots until `stop`, then end them within the deadline.

        They drain until it is near, are cancelled when what is left is needed for their ends (TERM), and
        are killed when it has come.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._announce, task_status)
            nursery.start_soon(
                serve_summary, self._figures, lambda: self._settings.log.summary_interval, self._tell_summary
            )
            nursery.start_soon(self._restarts.serve, lambda: self._fleet.bots, self._fleet.ready, _renew)
            async with trio.open_nursery() as bots:
                bots.start_soon(self._fleet.run)
                await stop.requested.wait()
                self._status.state = "stopping"
                self._events.tell("daemon.stopping", status=summary(self._fleet.status()))
                self._restarts.stop()
                self._fleet.stop()
                timeout = self._settings.shutdown_timeout
                self._deadline = trio.current_time() + timeout
                bots.cancel_scope.deadline = self._deadline - min(ENDS, timeout / 2)
                nursery.start_soon(_cancel_on, stop.hastened, bots.cancel_scope)
                nursery.start_soon(self._kill_late)
            nursery.cancel_scope.cancel()
        if not self._fleet.ready.is_set():  # a stop came first: whoever waits for the start waits no more
            task_status.started(self)

    def _figures(self) -> Figures:
        rows = self._fleet.status()
        return figures(rows, (self._inbox.tally(row["bot_id"]) for row in rows))

    def _tell_summary(self, since: Figures) -> None:
        self._events.tell(
            "daemon.summary",
            accepted=since.accepted,
            done=since.done,
            dropped=since.dropped,
            expired=since.expired,
            retried=since.retried,
            dead=since.dead,
            restarts=since.restarts,
            status=summary(self._fleet.status()),
        )

    async def _kill_late(self) -> None:
        await trio.sleep_until(self._deadline)
        self._makes.kill()

    async def _announce(self, task_status: trio.TaskStatus[Daemon]) -> None:
        await self._fleet.ready.wait()
        if self._status.state == "starting":
            self._status.state = "running"
            self._events.tell("daemon.ready", status=summary(self._fleet.status()))
        task_status.started(self)


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _renew() -> None:
    """Workers import their handlers anew as it is; libraries of `preload` stay as they are."""
    await trio.lowlevel.checkpoint()


def _most_workers(fleet: Fleet) -> int:
    limits = fleet.limits
    return min(limits.max_workers, limits.max_workers_per_core * len(os.sched_getaffinity(0)))


def _tell_trouble(events: Events, error: StoreError | None) -> None:
    if error is None:
        events.tell("inbox.recovered")
    else:
        events.tell("inbox.trouble", reason=str(error))


def _folders(fleet: Fleet) -> tuple[str, ...]:
    return tuple(str(folder) for folder in fleet.python_path)


def _open_store(fleet: Fleet) -> Store:
    if fleet.store.url != "sqlite":
        message = 'store.url: PostgreSQL is not available in this version, expected "sqlite"'
        raise StoreRefusedError(message)
    return open_sqlite(fleet.state_dir / "inbox.db", durability=fleet.store.durability)


class _Killable:
    """Makes workers as another does, and can kill those that still live."""

    def __init__(self, makes: MakesWorkers) -> None:
        self._makes = makes
        self._made: WeakSet[WorkerProcess] = WeakSet()

    async def start(self, channel: int, output: int) -> WorkerProcess:
        process = await self._makes.start(channel, output)
        self._made.add(process)
        return process

    def kill(self) -> None:
        """Kill every group; one that has ended is signalled no more."""
        for process in self._made:
            process.signal_group(signal.SIGKILL)


@contextmanager
def _listening(bind: Bind) -> Iterator[socket.socket]:
    if bind.path is not None:
        with listen_unix(bind.path, key="[api] bind") as listener:
            yield listener
        return
    with listen_tcp(bind.host, bind.port, key="[api] bind") as listener:
        yield listener
