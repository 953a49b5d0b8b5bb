"""The composition root: everything that a daemon is made of is built here, top down.

Each part is given frozen records and parts that were built before it. It is imported while the zygote warms
up (:mod:`trioworkers.run`): both take half a second, on two cores at the same time.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import trio

from trioworkers.apply import Applier
from trioworkers.config import FleetInForce, with_given
from trioworkers.daemon import Daemon, DaemonParts, cancel_on
from trioworkers.descriptors import needed, raise_limit
from trioworkers.folders import kept_token
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite.file import open_file
from trioworkers.inbox.store import StoreRefusedError
from trioworkers.nursery.bot_run import BotContext
from trioworkers.nursery.fleet import FleetScope
from trioworkers.nursery.intake import Webhooks
from trioworkers.nursery.oom import OomKills, find_counter
from trioworkers.nursery.paused import PausedBots
from trioworkers.nursery.rolling import RollingRestarts
from trioworkers.nursery.slots import WorkerSlots
from trioworkers.nursery.start_rate import StartRate
from trioworkers.plugins import load_plugins
from trioworkers.reload import Reload
from trioworkers.reports import Reports
from trioworkers.sources import Sources
from trioworkers.transport.deliveries import Deliveries
from trioworkers.transport.registration import Digests, Registry
from trioworkers.web.app import AppContext, make_app
from trioworkers.web.handed import handed_over
from trioworkers.web.listener import WebhookListener
from trioworkers.web.registrations import Registrations
from trioworkers.web.serve import GRACE, Web

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from trioworkers.config import Fleet, Secret
    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.inbox.store import Store
    from trioworkers.nursery.zygote import Zygote
    from trioworkers.stop import Requests


@dataclass(frozen=True, slots=True)
class Ground:
    """What a daemon stands on, and its caller holds.

    Attributes:
        fleet: as its files describe it; plugins may know of further bots.
        events: where it is emitted what happens.
        requests: what is asked of the daemon.
        environ: its environment.
        zygote: makes workers.
        control: the control socket, which listens.
        api: the socket of the API, which listens.
    """

    fleet: Fleet
    events: Events
    requests: Requests
    environ: Mapping[str, str]
    zygote: Zygote
    control: socket.socket
    api: socket.socket


async def run_fleet(ground: Ground, task_status: trio.TaskStatus[Daemon]) -> None:
    """Build a daemon and run it; everything else is as for :func:`trioworkers.run.run_daemon`."""
    events, stop = ground.events, ground.requests.stop
    # the web stands around the inbox, so that nothing of it can keep the writer from its last commit
    async with trio.open_nursery() as outer:
        in_force, sources = await _with_plugins(ground)
        reports = Reports(events, in_force)
        reports.bots_refused()
        ground.zygote.hide(in_force().secret_env_names)  # plugins may have brought more of them
        raise_limit(needed(len(in_force.own_bots()), in_force.most_workers()))
        async with open_inbox(
            _open_store(in_force(), reports), trouble=reports.inbox_trouble, keep_dead=in_force.dead_retention
        ) as inbox:
            daemon, web = _build(ground, in_force, sources, inbox, reports)
            async with trio.open_nursery() as warming:  # what it is unfit for is told before a bot begins
                warming.start_soon(cancel_on, stop.requested, warming.cancel_scope)
                await ground.zygote.warm.wait()
                warming.cancel_scope.cancel()
            await outer.start(web.serve)
            await daemon.run(task_status)
            await web.close(min(GRACE, daemon.time_left()), stop.hastened)
        if not web.ended.is_set():
            await ground.zygote.end()
            _leave(events)


def _build(
    ground: Ground, in_force: FleetInForce, sources: Sources, inbox: Inbox, reports: Reports
) -> tuple[Daemon, Web]:
    """Build the daemon, and what serves its API.

    Raises:
        ListenError, AlreadyRunningError, CertificateError: a bot wants a webhook, and nobody can listen for
        it. StoreRefusedError: it cannot be read which bots are paused.
    """
    fleet, events = in_force(), ground.events
    token = _api_token(fleet)
    deliveries = Deliveries(reports.delivery_broke)
    handed = handed_over(ground.environ)
    reports.sockets_unused(handed.keys() - {"webhook"})
    listener = WebhookListener(
        deliveries, in_force.webhook, token.reveal(), handed.get("webhook", []), reports.webhook_refused
    )
    if in_force.wants_webhook():
        listener.bind()
    registrations = Registrations(in_force, kept_token(fleet.state_dir / "webhook-secret"), listener)
    registry = Registry(Digests(fleet.state_dir / "webhooks.json"), registrations.wait_turn)
    slots = WorkerSlots(in_force.most_workers)
    context = BotContext(
        fleet=in_force,
        inbox=inbox,
        makes=ground.zygote,
        events=events,
        may_start=StartRate(in_force.start_rate).wait,
        slots=slots,
        webhooks=Webhooks(deliveries, registrations.wanted, registry),
        paused=PausedBots(fleet.state_dir / "paused.json"),
        oom=OomKills(find_counter()),
    )
    bots = FleetScope(in_force.own_bots(), context)
    applier = Applier(in_force, events, ground.zygote, listener, slots, bots)
    restarts = RollingRestarts(events.emit)
    reload = Reload(in_force, ground.environ, sources=sources, apply=applier, events=events)
    daemon = Daemon(
        DaemonParts(
            in_force=in_force,
            events=events,
            requests=ground.requests,
            inbox=inbox,
            zygote=ground.zygote,
            fleet=bots,
            deliveries=deliveries,
            listener=listener,
            restarts=restarts,
            sources=sources,
            reload=reload,
        )
    )
    app = make_app(
        AppContext(
            token=token.reveal(),
            loopback=fleet.api.bind.path is None and fleet.api.bind.is_local,
            is_ready=bots.ready.is_set,
            status=daemon.status,
            inbox=inbox,
            backs_up=inbox,
            bots=bots.get_bots,
            restarts=restarts,
            backups=fleet.state_dir / "backups",
            events=events,
            reloads=reload,
        )
    )
    return daemon, Web(app, control=ground.control, api=ground.api)


async def _with_plugins(ground: Ground) -> tuple[FleetInForce, Sources]:
    """Load the plugins and ask them for further bots; the fleet with these. Its files are not read again."""
    plugins = await trio.to_thread.run_sync(load_plugins, ground.fleet)
    for plugin in plugins.found:
        if plugin.error is not None:
            ground.events.emit("plugin.failed", plugin=plugin.name, reason=plugin.error)
    sources = Sources(plugins, ground.events)
    await sources.ask(ground.fleet)
    fleet = await trio.to_thread.run_sync(with_given, ground.fleet, sources.tables)
    return FleetInForce(fleet), sources


def _open_store(fleet: Fleet, reports: Reports) -> Store:
    if fleet.store.url != "sqlite":
        message = 'store.url: PostgreSQL is not available in this version, expected "sqlite"'
        raise StoreRefusedError(message)
    return open_file(
        fleet.state_dir / "inbox.db", durability=fleet.store.durability, damaged=reports.inbox_damaged
    )


def _api_token(fleet: Fleet) -> Secret:
    return fleet.api.token or kept_token(fleet.runtime_dir / "api-token")


def _leave(events: Events) -> NoReturn:
    """End the process with exit code 0, whatever still runs in it: the last resort.

    Everything is written and closed by now, and every worker has ended. What did not end even when it was
    cancelled and its connections were shut down would otherwise keep the daemon alive for ever, deaf to
    TERM. Locks end with the process; a socket that is left behind is replaced by the next start.
    """
    events.emit("daemon.stopped", level="warn", reason="the API did not end and was left behind")
    atexit._run_exitfuncs()  # the log may have a thread that still writes
    os._exit(0)
