"""One run of a daemon: what it holds and what it opens, around the fleet that it runs.

What is outermost lives longest: the locks, the web, the inbox and its writer, the zygote, the fleet. A stop
travels the other way: intake, dispatch, workers, then the web, then the writer, under one shared deadline.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

import trio

from trioworkers.config import load_fleet
from trioworkers.daemon import Daemon, most_workers, own_bots
from trioworkers.descriptors import needed, raise_limit
from trioworkers.folders import locked, make_folder
from trioworkers.inbox.file import open_file
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.store import StoreFullError, StoreRefusedError
from trioworkers.nursery.rolling import RollingRestarts
from trioworkers.nursery.zygote import open_zygote
from trioworkers.plugins import load_plugins
from trioworkers.sources import Sources
from trioworkers.web.handed import VARIABLES, handed_over
from trioworkers.web.serve import GRACE, Web, listen_tcp, listen_unix
from trioworkers.worker.orders import Prepare
from trioworkers.worker.remains import begin_run

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping, Set

    from trioworkers.config import Bind, Fleet
    from trioworkers.events import Events
    from trioworkers.inbox.damage import Damage
    from trioworkers.inbox.store import Store, StoreError
    from trioworkers.stop import Stop

SWITCH_INTERVAL = 0.0005  # seconds until the writer's thread gets its turn from a busy loop
CONTROL_SOCKET = "control.sock"


async def run_daemon(
    fleet: Fleet,
    events: Events,
    stop: Stop,
    others: dict[int, Callable[[], None]] | None = None,
    *,
    restarts: RollingRestarts | None = None,
    environ: Mapping[str, str] = os.environ,
    task_status: trio.TaskStatus[Daemon] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the fleet until `stop`, then end it gracefully within `fleet.shutdown_timeout`.

    `task_status` is told once the listeners are bound and every bot has its first verdict. Cancelling
    ends all workers' groups at once; the inbox keeps what they had in hand.

    Args:
        fleet: as its files describe it; plugins may know of further bots.
        events: told what happens.
        stop: asks for the end.
        others: gets what the signals do that concern a running fleet, as for :func:`watch_signals`.
        restarts: asked for rolling restarts by signal.
        environ: the daemon's environment.

    Raises (in groups, what comes after the locks):
        AlreadyRunningError: another daemon holds the state directory or listens on our sockets.
        ListenError: an address is in use or is not ours.
        CertificateError: `webhook.tls_cert` and `tls_key` are no pair.
        StoreError: the inbox, or what says which bots are paused, cannot be opened.
        ZygoteError: workers cannot be started as the fleet file says.
        DescriptorsError: the system allows fewer open files than the fleet needs.
        OSError: a directory cannot be made; PermissionError: others can write there, or know the token.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    for folder in (fleet.state_dir, fleet.runtime_dir, fleet.log_dir, fleet.state_dir / "fleet.d"):
        make_folder(folder)
    with (
        locked(fleet.state_dir / "daemon.lock", f"runs on {fleet.state_dir}"),
        listen_unix(fleet.runtime_dir / CONTROL_SOCKET, key="fleet.runtime_dir") as control,
        _listening(fleet.api.bind) as api,
    ):
        # the web stands around the inbox, so that nothing of it can keep the writer from its last commit
        async with trio.open_nursery() as outer:
            fleet, sources = await _with_plugins(fleet, environ, events)
            raise_limit(needed(len(own_bots(fleet)), most_workers(fleet)))
            run = await trio.to_thread.run_sync(begin_run, fleet.state_dir / "run-mark")
            async with (
                open_inbox(_open_store(fleet, events), trouble=partial(_tell_trouble, events)) as inbox,
                open_zygote(
                    Prepare(
                        fleet.worker_start, fleet.api_base, fleet.preload, tuple(map(str, fleet.python_path))
                    ),
                    run=run,
                    folder=fleet.folder,
                    environ={
                        name: environ[name]
                        for name in environ
                        if name not in fleet.secret_env_names and name not in VARIABLES
                    },
                    tell=events.tell,
                ) as zygote,
            ):
                handed = handed_over(environ)
                _tell_unused(events, handed.keys() - {"webhook"})
                daemon = Daemon(
                    fleet,
                    events,
                    environ,
                    inbox=inbox,
                    makes=zygote,
                    sources=sources,
                    restarts=restarts or RollingRestarts(events.tell),
                    handed=handed.get("webhook", []),
                )
                web = Web(daemon.app, control=control, api=api)
                await outer.start(web.serve)
                await daemon.run(stop, {} if others is None else others, task_status)
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


async def _with_plugins(fleet: Fleet, environ: Mapping[str, str], events: Events) -> tuple[Fleet, Sources]:
    """Load the plugins, and ask them for further bots; the fleet with these."""
    plugins = await trio.to_thread.run_sync(load_plugins, fleet)
    for plugin in plugins.found:
        if plugin.error is not None:
            events.tell("plugin.failed", plugin=plugin.name, reason=plugin.error)
    sources = Sources(plugins, events)
    await sources.ask(fleet)
    if sources.tables:
        read = partial(load_fleet, fleet.path, environ, given=sources.tables)
        fleet = await trio.to_thread.run_sync(read)
        for problem in chain.from_iterable(fleet.refused.values()):
            events.tell("plugin.failed", plugin=str(problem.file), reason=str(problem))
    return fleet, sources


def _tell_unused(events: Events, names: Set[str]) -> None:
    if names:
        found = f"sockets were handed over as {', '.join(sorted(names))} and are not used"
        events.tell("webhook.refused", reason=f"{found}, expected FileDescriptorName=webhook")


def _tell_trouble(events: Events, error: StoreError | None) -> None:
    if error is None:
        events.tell("inbox.recovered")
    elif isinstance(error, StoreFullError):
        events.tell("inbox.full", reason=str(error))
    else:
        events.tell("inbox.trouble", reason=str(error))


def _tell_damage(events: Events, damage: Damage) -> None:
    events.tell(
        "inbox.damaged",
        reason=damage.reason,
        moved_to=str(damage.moved_to),
        recovered=dict(damage.recovered),
        lost=damage.lost,
    )


def _open_store(fleet: Fleet, events: Events) -> Store:
    if fleet.store.url != "sqlite":
        message = 'store.url: PostgreSQL is not available in this version, expected "sqlite"'
        raise StoreRefusedError(message)
    return open_file(
        fleet.state_dir / "inbox.db",
        durability=fleet.store.durability,
        damaged=partial(_tell_damage, events),
    )


@contextmanager
def _listening(bind: Bind) -> Iterator[socket.socket]:
    if bind.path is not None:
        with listen_unix(bind.path, key="[api] bind") as listener:
            yield listener
        return
    with listen_tcp(bind.host, bind.port, key="[api] bind") as listener:
        yield listener
