"""The composition root: everything that a daemon is made of is built here, top down.

Each part is given frozen records and parts that were built before it. It is imported while the zygote warms
up (:mod:`trioworkers.run`): both take half a second, on two cores at the same time.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.apply import Applier
from trioworkers.cluster.joining import joined_cluster, share_bots
from trioworkers.config import FleetInForce, with_given
from trioworkers.daemon import Daemon, DaemonParts, StatusReport, cancel_on
from trioworkers.descriptors import needed, raise_limit
from trioworkers.figures import Figures
from trioworkers.fleet_state import state_in_files, state_in_store
from trioworkers.folders import kept_token
from trioworkers.gateway.endpoint import Endpoint
from trioworkers.inbox.inbox import open_inbox
from trioworkers.last_resort import ending_without_memory, leave
from trioworkers.live.feed import LiveFeed
from trioworkers.logs.bots import BotEvents
from trioworkers.neighbours import Neighbours
from trioworkers.nursery.bot_context import BotContext
from trioworkers.nursery.code_watch import CodeWatch
from trioworkers.nursery.command_session import Commands
from trioworkers.nursery.fleet import FleetScope
from trioworkers.nursery.intake import Webhooks
from trioworkers.nursery.oom import OomKills, find_counter
from trioworkers.nursery.rolling import RollingRestarts
from trioworkers.nursery.slots import WorkerSlots
from trioworkers.nursery.start_rate import StartRate
from trioworkers.plugin_store import InboxPluginStore
from trioworkers.plugins import load_plugins
from trioworkers.plugins.asks import Asks
from trioworkers.plugins.facade import DaemonAccess, DaemonFacade
from trioworkers.plugins.inline import InlineHooks
from trioworkers.plugins.services import PluginServices
from trioworkers.plugins.watchdog import Watchdog
from trioworkers.protocol.held_back import held_back
from trioworkers.ratelimit.pace import Paces
from trioworkers.reload import Reload
from trioworkers.reports import Reports
from trioworkers.shortage import in_thread
from trioworkers.snapshot import Snapshots
from trioworkers.sources import Sources
from trioworkers.stores import database_of, open_store
from trioworkers.transport.deliveries import Deliveries
from trioworkers.transport.registration import Registry
from trioworkers.web.acts import acting
from trioworkers.web.address import is_on_loopback, reached_at
from trioworkers.web.admission import make_admission
from trioworkers.web.app import AppContext, make_app
from trioworkers.web.listener import WebhookListener
from trioworkers.web.plugins import add_plugin_routes
from trioworkers.web.registrations import Registrations
from trioworkers.web.serve import GRACE, Web
from trioworkers.web.signin import make_link
from trioworkers.web.sockets import UnixSocket

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from trioworkers.cluster.member import Member
    from trioworkers.config import Fleet, Plan
    from trioworkers.events import Events
    from trioworkers.fleet_state import FleetState
    from trioworkers.holdings import Holdings
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.logs.echo import Terminal
    from trioworkers.logs.files import RotatedFile
    from trioworkers.nursery.zygote import Zygote
    from trioworkers.plugins import Plugins
    from trioworkers.service.announcer import Announcer
    from trioworkers.service.claim import Claim
    from trioworkers.stop import Requests


METRICS = "metrics"  # the plugin without which nothing is counted


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
        api: the sockets of the API, which listen.
        handed: further sockets that systemd handed over, by name.
        announcer: reports to systemd.
        holdings: what the daemon holds on disk.
        terminal: the terminal that the daemon runs on.
        claim: by which commands find it; None where it has none.
    """

    fleet: Fleet
    events: Events
    requests: Requests
    environ: Mapping[str, str]
    zygote: Zygote
    control: UnixSocket
    api: Sequence[socket.socket] | UnixSocket
    handed: Mapping[str, Sequence[socket.socket]]
    announcer: Announcer
    holdings: Holdings
    terminal: Terminal
    claim: Claim | None = None

    @property
    def listeners(self) -> Sequence[socket.socket]:
        """The sockets of the API, as they are now."""
        return [self.api.listener] if isinstance(self.api, UnixSocket) else self.api


async def run_fleet(ground: Ground, task_status: trio.TaskStatus[Daemon]) -> None:
    """Build a daemon and run it; everything else is as for :func:`trioworkers.run.run_daemon`."""
    events, stop = ground.events, ground.requests.stop
    # the web stands around the inbox, so that nothing of it can keep the writer from its last commit
    async with trio.open_nursery() as outer:
        in_force, plugins, sources = await _with_plugins(ground)
        reports = Reports(events, in_force)
        reports.bots_refused()
        ground.zygote.hide(in_force().secret_env_names)  # plugins may have brought more of them
        raise_limit(needed(len(in_force.own_bots()), in_force.most_workers()))
        figures = None if METRICS in in_force().disabled_plugins else Figures()
        async with (
            joined_cluster(in_force, events, reports.inbox_trouble, stop.requested) as member,
            open_inbox(
                await open_store(
                    in_force(),
                    reports,
                    ground.holdings,
                    stop.requested,
                    None if member is None else member.lease,
                ),
                trouble=reports.inbox_trouble,
                keep_dead=in_force.dead_retention,
                commits=None if figures is None else figures.commits,
                journal=reports.inbox_journal,
            ) as inbox,
        ):
            endpoint = Endpoint(reports.endpoint_broke)
            read = _Read(in_force, plugins, sources, figures, endpoint, member)
            if database_of(in_force()) is None:
                own = [] if member else [bot.bot_id for bot in in_force.own_bots().values()]
                state = await state_in_store(inbox, time.time, in_force().state_dir, own)
            else:
                state = state_in_files(in_force().state_dir)
            daemon, web = _build(ground, read, inbox, reports, state)
            gc.freeze()  # modules of plugins and all that was built stay
            async with ending_without_memory(events), trio.open_nursery() as beside:
                if ground.claim is not None:
                    beside.start_soon(ground.claim.serve, partial(_told, in_force, ground.control))
                beside.start_soon(endpoint.serve)
                beside.start_soon(state.serve)
                beside.start_soon(ground.holdings.serve, reports.state_restored, reports.state_lost)
                async with trio.open_nursery() as warming:  # what it is unfit for is told before a bot begins
                    warming.start_soon(cancel_on, stop.requested, warming.cancel_scope)
                    await ground.zygote.warm.wait()
                    warming.cancel_scope.cancel()
                await outer.start(web.serve)
                await daemon.run(task_status)
                await web.close(min(GRACE, daemon.time_left()), stop.hastened)
                beside.cancel_scope.cancel()
        if not web.ended.is_set():
            await ground.zygote.end()
            leave(events)


@dataclass(frozen=True, slots=True)
class _Read:
    """What there is before anything runs. `figures`: None where nobody wants any; `member`: of a cluster."""

    in_force: FleetInForce
    plugins: Plugins
    sources: Sources
    figures: Figures | None
    endpoint: Endpoint
    member: Member | None = None


def _build(
    ground: Ground, read: _Read, inbox: Inbox, reports: Reports, state: FleetState
) -> tuple[Daemon, Web]:
    """Build the daemon, and what serves its API.

    Raises:
        ListenError, AlreadyRunningError, CertificateError: a bot wants a webhook, and nobody can listen for
        it.
    """
    in_force, plugins, sources, member = read.in_force, read.plugins, read.sources, read.member
    fleet, events = in_force(), ground.events
    paces = Paces()
    watchdog, asks = (
        Watchdog(reports.loop_held),
        Asks(in_force, None if read.figures is None else read.figures.calls, paces),
    )
    for plugin in plugins.found:
        plugin.connect(events, InboxPluginStore(inbox, plugin.name, time.time))
    token = _api_token(in_force)
    admission = make_admission(
        token,
        loopback=all(map(is_on_loopback, ground.listeners)),
        kept=fleet.state_dir / "sessions.json",
        ends=ground.requests.stop.requested,
        report=reports.attempt_refused,
        metrics_public=lambda: in_force().api.metrics_public,
    )
    deliveries = Deliveries(reports.delivery_broke)
    reports.sockets_unused(ground.handed.keys() - {"webhook"})
    listener = WebhookListener(
        deliveries,
        in_force.webhook,
        admission.refusal_without_token,
        ground.handed.get("webhook", ()),
        reports.webhook_refused,
        ground.holdings.sockets.append,
    )
    if in_force.wants_webhook():
        listener.bind()
    registrations = Registrations(in_force, state.secret, listener)
    registry = Registry(state.digests, registrations.wait_turn)
    code = None
    if ground.terminal.watches_code:
        code = CodeWatch(
            lambda: bots.get_bots(), lambda: in_force().python_path, ground.zygote.renew, events.emit
        )
    context = BotContext(
        fleet=in_force,
        inbox=inbox,
        makes=ground.zygote,
        events=events,
        may_start=StartRate(in_force.start_rate).wait,
        slots=(slots := WorkerSlots(in_force.most_workers, lambda: in_force.places().words)),
        webhooks=Webhooks(deliveries, registrations.wanted, registry),
        paused=state.paused,
        oom=OomKills(find_counter()),
        hooks=InlineHooks(plugins, watchdog),
        ask=asks.ask,
        figures=read.figures,
        worker_plugins=plugins.for_workers,
        paces=paces,
        echo=ground.terminal.echo,
        commands=Commands(read.endpoint, state.ids, held_back()),
        console=ground.terminal.console,
        on_code=None if code is None else code.report,
    )
    neighbours = None
    if member is not None:
        context = replace(context, epoch=member.epoch, lease_page=member.page.path, may_call=member.may_call)
        asks.gate = context.webhooks.gate = member.gate
        neighbours = Neighbours(member, context, state)
    address = next(filter(None, map(reached_at, ground.listeners)), None)

    def greet() -> None:
        if ground.terminal.show_link is not None and address is not None:
            ground.terminal.show_link(make_link(admission.links, address))

    bots = FleetScope({} if member else in_force.own_bots(), context, is_shared=member is not None)

    def log_of(name: str) -> RotatedFile | None:
        bot = bots.get_bots().get(name)
        return None if bot is None else bot.log

    applier = Applier(in_force, events, ground.zygote, listener, slots, bots)

    async def apply(plan: Plan) -> None:
        await applier(plan)
        if member is not None:
            share_bots(member.lease, plan.fleet)

    restarts = RollingRestarts(events.emit)
    reload = Reload(in_force, ground.environ, sources=sources, apply=apply, events=events)
    reload.announce = ground.announcer.reloading
    report = StatusReport(in_force, reload, bots, member)
    live = LiveFeed(events, report)
    snapshots = Snapshots(
        figures=read.figures,
        fleet=bots,
        deliveries=deliveries,
        reload=reload,
        slots=slots,
        database=database_of(fleet),
        started_at=time.time(),
        paces=paces,
        cluster=None if neighbours is None else neighbours.figures,
    )
    access = DaemonAccess(
        in_force=in_force,
        events=events,
        plugins=plugins,
        status=report.document,
        figures=snapshots.take,
        fleet=bots,
        asks=asks,
        nodes=None if neighbours is None else neighbours.for_plugin,
        acting=acting,
    )
    services = PluginServices(plugins, events, partial(DaemonFacade, access), watchdog, asks)
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
            report=report,
            services=services,
            snapshots=snapshots,
            live=live,
            paces=paces,
            bot_events=BotEvents(events, log_of, lambda: in_force().log.throttle_window),
            greet=greet,
            code=code,
            announcer=ground.announcer,
            member=member,
        )
    )
    app = make_app(
        AppContext(
            admission=admission,
            address=address,
            is_ready=bots.ready.is_set,
            status=report.document,
            inbox=inbox,
            backs_up=inbox,
            bots=bots.get_bots,
            restarts=restarts,
            backups=fleet.state_dir / "backups",
            events=events,
            reloads=reload,
            plugins=plugins,
            live=live,
            peers=None if neighbours is None else neighbours.peers,
        )
    )
    add_plugin_routes(app, plugins, services.daemon, events, watchdog)
    if neighbours is not None:
        neighbours.serve_by(app, reload)
    return daemon, Web(app, control=ground.control, api=ground.api)


async def _with_plugins(ground: Ground) -> tuple[FleetInForce, Plugins, Sources]:
    """Load the plugins and ask them for further bots; the fleet with these. Its files are not read again.

    Raises:
        FleetFileError: the settings of a plugin are wrong.
    """
    plugins = await in_thread(load_plugins, ground.fleet)
    for plugin in plugins.found:
        plugin.connect(ground.events, None)
        if plugin.error is not None:
            ground.events.emit("plugin.failed", plugin=plugin.name, reason=plugin.error)
    plugins.retune(ground.fleet, plugins.validated(ground.fleet))
    sources = Sources(plugins, ground.events)
    await sources.ask(ground.fleet)
    fleet = await in_thread(with_given, ground.fleet, sources.tables)
    return FleetInForce(fleet, has_limits=ground.terminal.console is None), plugins, sources


def _told(in_force: FleetInForce, control: UnixSocket) -> dict[str, Any]:
    """What the daemon says of itself to whoever finds its claim (:class:`trioworkers.service.claim.Told`)."""
    return {
        "control": str(control.path),
        "log_dir": str(in_force().log_dir),
        "bots": [bot.bot_id for bot in in_force.own_bots().values()],
    }


def _api_token(in_force: FleetInForce) -> Callable[[], str]:
    """The API's token, as it is now; one is made and kept where the fleet has none.

    Raises:
        OSError, PermissionError: it cannot be kept, or others know it.
    """
    made = cache(partial(kept_token, in_force().runtime_dir / "api-token"))
    if in_force().api.token is None:
        made()
    return lambda: (in_force().api.token or made()).reveal()
