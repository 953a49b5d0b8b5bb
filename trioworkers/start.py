"""What a run of the daemon opens while its zygote warms up: plugins, the inbox, the web, the fleet.

All that takes long to import is imported here, on one core, while the zygote does the same on another.
"""

from __future__ import annotations

import atexit
import os
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

import trio

from trioworkers.config import load_fleet
from trioworkers.daemon import Daemon, cancel_on, most_workers, own_bots
from trioworkers.descriptors import needed, raise_limit
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite.file import open_file
from trioworkers.inbox.store import StoreFullError, StoreRefusedError
from trioworkers.plugins import load_plugins
from trioworkers.sources import Sources
from trioworkers.web.handed import handed_over
from trioworkers.web.serve import GRACE, Web

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Set

    from trioworkers.config import Fleet
    from trioworkers.events import Events
    from trioworkers.inbox.sqlite.damage import Damage
    from trioworkers.inbox.store import Store, StoreError
    from trioworkers.nursery.rolling import RollingRestarts
    from trioworkers.nursery.zygote import Zygote
    from trioworkers.stop import Stop


async def run_fleet(
    fleet: Fleet,
    events: Events,
    stop: Stop,
    others: dict[int, Callable[[], None]],
    *,
    zygote: Zygote,
    control: socket.socket,
    api: socket.socket,
    restarts: RollingRestarts,
    environ: Mapping[str, str],
    task_status: trio.TaskStatus[Daemon],
) -> None:
    """Run the fleet with a zygote and on listening sockets that the caller holds.

    Everything else is as for :func:`trioworkers.run.run_daemon`.
    """
    # the web stands around the inbox, so that nothing of it can keep the writer from its last commit
    async with trio.open_nursery() as outer:
        fleet, sources = await _with_plugins(fleet, environ, events)
        zygote.hide(fleet.secret_env_names)  # plugins may have brought more of them
        raise_limit(needed(len(own_bots(fleet)), most_workers(fleet)))
        async with open_inbox(_open_store(fleet, events), trouble=partial(_emit_trouble, events)) as inbox:
            handed = handed_over(environ)
            _emit_unused(events, handed.keys() - {"webhook"})
            daemon = Daemon(
                fleet,
                events,
                environ,
                inbox=inbox,
                makes=zygote,
                sources=sources,
                restarts=restarts,
                handed=handed.get("webhook", []),
            )
            web = Web(daemon.app, control=control, api=api)
            async with trio.open_nursery() as warming:  # what it is unfit for is told before a bot begins
                warming.start_soon(cancel_on, stop.requested, warming.cancel_scope)
                await zygote.warm.wait()
                warming.cancel_scope.cancel()
            await outer.start(web.serve)
            await daemon.run(stop, others, task_status)
            await web.close(min(GRACE, daemon.time_left()), stop.hastened)
        if not web.ended.is_set():
            await zygote.end()
            _leave(events)


def _leave(events: Events) -> NoReturn:
    """End the process with exit code 0, whatever still runs in it: the last resort.

    Everything is written and closed by now, and every worker has ended. What did not end even when it was
    cancelled and its connections were shut down would otherwise keep the daemon alive for ever, deaf to
    TERM. Locks end with the process; a socket that is left behind is replaced by the next start.
    """
    events.emit("daemon.stopped", level="warn", reason="the API did not end and was left behind")
    atexit._run_exitfuncs()  # the log may have a thread that still writes
    os._exit(0)


async def _with_plugins(fleet: Fleet, environ: Mapping[str, str], events: Events) -> tuple[Fleet, Sources]:
    """Load the plugins, and ask them for further bots; the fleet with these."""
    plugins = await trio.to_thread.run_sync(load_plugins, fleet)
    for plugin in plugins.found:
        if plugin.error is not None:
            events.emit("plugin.failed", plugin=plugin.name, reason=plugin.error)
    sources = Sources(plugins, events)
    await sources.ask(fleet)
    if sources.tables:
        read = partial(load_fleet, fleet.path, environ, given=sources.tables)
        fleet = await trio.to_thread.run_sync(read)
        for problem in chain.from_iterable(fleet.refused.values()):
            events.emit("plugin.failed", plugin=str(problem.file), reason=str(problem))
    return fleet, sources


def _emit_unused(events: Events, names: Set[str]) -> None:
    if names:
        found = f"sockets were handed over as {', '.join(sorted(names))} and are not used"
        events.emit("webhook.refused", reason=f"{found}, expected FileDescriptorName=webhook")


def _emit_trouble(events: Events, error: StoreError | None) -> None:
    if error is None:
        events.emit("inbox.recovered")
    elif isinstance(error, StoreFullError):
        events.emit("inbox.full", reason=str(error))
    else:
        events.emit("inbox.trouble", reason=str(error))


def _emit_damage(events: Events, damage: Damage) -> None:
    events.emit(
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
        damaged=partial(_emit_damage, events),
    )
