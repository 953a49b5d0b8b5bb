"""The daemon: the bots of a fleet, what changes them while they run, and how they end."""

from __future__ import annotations

import gc
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.awake import serve_absences
from trioworkers.config import FleetFileError
from trioworkers.config.watch import serve_watch
from trioworkers.inbox.store import StoreError
from trioworkers.logs.summary import Figures, figures, serve_summary
from trioworkers.service.watchdog import Part
from trioworkers.spare_memory import serve_spare_memory
from trioworkers.status import DaemonFacts, NodeFacts, status_document, summary, summed_up
from trioworkers.trouble import unwell_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.awake import Absence
    from trioworkers.cluster.member import Member
    from trioworkers.config import FleetInForce
    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.live.feed import LiveFeed
    from trioworkers.logs.bots import BotEvents
    from trioworkers.nursery.code_watch import CodeWatch
    from trioworkers.nursery.fleet import FleetScope
    from trioworkers.nursery.rolling import RollingRestarts
    from trioworkers.nursery.zygote import Zygote
    from trioworkers.plugins.services import PluginServices
    from trioworkers.ratelimit.pace import Paces
    from trioworkers.reload import Reload
    from trioworkers.service.announcer import Announcer
    from trioworkers.snapshot import Snapshots
    from trioworkers.sources import Sources
    from trioworkers.stop import Requests
    from trioworkers.transport.deliveries import Deliveries
    from trioworkers.web.listener import WebhookListener

INBOX_PATIENCE = 60.0  # seconds; a disk may hang, and a new daemon would wait for it, too
ZYGOTE_PATIENCE = 120.0  # seconds; more than one that is replaced needs at worst
COLLECTS_AFTER = 10.0  # seconds of a start after which garbage is collected, ready or not
ENDS = 3.0  # seconds of a stop that are kept back for what ends the workers that did not drain


@dataclass(frozen=True, slots=True)
class DaemonParts:
    """What a daemon runs; built by :mod:`trioworkers.compose`.

    Attributes:
        in_force: the fleet in force.
        events: where it is emitted what happens.
        requests: what is asked of the daemon.
        inbox: the updates of all bots.
        zygote: makes their workers.
        fleet: the bots.
        deliveries: what Telegram delivers to webhooks.
        listener: listens for it.
        restarts: rolling restarts.
        sources: further bots.
        reload: reads the fleet anew.
        report: the status document.
        services: what plugins run beside the bots.
        snapshots: of what is counted for metrics.
        live: the feed of the live stream.
        paces: the bots' turns to send.
        bot_events: what happens to bots, written to their logs.
        announcer: reports to systemd.
        greet: called when it is ready.
        code: the code of the bots, where its changes replace their workers.
        member: this daemon as a node of its cluster; None: it is in none.
    """

    in_force: FleetInForce
    events: Events
    requests: Requests
    inbox: Inbox
    zygote: Zygote
    fleet: FleetScope
    deliveries: Deliveries
    listener: WebhookListener
    restarts: RollingRestarts
    sources: Sources
    reload: Reload
    report: StatusReport
    services: PluginServices
    snapshots: Snapshots
    live: LiveFeed
    paces: Paces
    bot_events: BotEvents
    announcer: Announcer
    greet: Callable[[], None] = lambda: None
    code: CodeWatch | None = None
    member: Member | None = None


class StatusReport:
    """Makes the status document, whole or in the parts that the live stream compares.

    Args:
        in_force: the fleet in force.
        reload: how the last one went.
        fleet: the bots.
        member: this daemon as a node of its cluster; None: it is in none.

    Attributes:
        state: what the daemon is doing: `starting`, `running` or `stopping`.
    """

    def __init__(
        self, in_force: FleetInForce, reload: Reload, fleet: FleetScope, member: Member | None = None
    ) -> None:
        self._member = member
        self.state = "starting"
        self._in_force = in_force
        self._reload = reload
        self._fleet = fleet
        self._started_at = time.time()

    def become(self, state: str) -> None:
        """The daemon does something else now."""
        self.state = state

    def document(self) -> dict[str, Any]:
        """The status document."""
        return status_document(self._in_force(), self._facts(), self._fleet.status())

    @property
    def touched(self) -> set[str]:
        """The bots whose row may have changed; whoever reads it clears it."""
        return self._fleet.touched

    def head(self) -> dict[str, Any]:
        """What the document says of the daemon."""
        head: dict[str, Any] = status_document(self._in_force(), self._facts(), ())["fleet"]
        if head["node"] is not None:
            del head["node"]["lease_left_ms"]  # it is renewed all the time
        return head

    def names(self) -> list[str]:
        """The bots that have a row."""
        return self._fleet.names()

    def row(self, name: str) -> dict[str, Any] | None:
        """A bot's row; None: there is no such bot."""
        return self._fleet.row(name)

    def _facts(self) -> DaemonFacts:
        node = None
        if self._member is not None:
            seen = self._member.nodes
            lease = self._in_force().cluster.lease
            every = [(one.name, one.state(lease), one.bots) for one in seen.nodes()]
            node = NodeFacts(seen.name, seen.life, self._member.running, seen.lease_left, every)
        return DaemonFacts(self._started_at, self.state, self._reload.last, node)


class Daemon:
    """Runs its parts. :meth:`run` once."""

    def __init__(self, parts: DaemonParts) -> None:
        self._parts = parts
        self._deadline = math.inf

    def status(self) -> dict[str, Any]:
        """The status document."""
        return self._parts.report.document()

    def time_left(self) -> float:
        """Seconds that a stop still may take."""
        return max(0.0, self._deadline - trio.current_time())

    async def run(self, task_status: trio.TaskStatus[Daemon]) -> None:
        """Run the bots until a stop is requested, then end them within the deadline.

        They drain until it is near, are cancelled when what is left is needed for their ends (TERM), and
        are killed when it has come.
        """
        parts, stop = self._parts, self._parts.requests.stop
        async with trio.open_nursery() as nursery:
            await nursery.start(parts.announcer.serve, self._line, self._vital(), self._emit_stalled)
            nursery.start_soon(self._announce, task_status)
            nursery.start_soon(self._serve_summary)
            nursery.start_soon(serve_absences, self._emit_absence)
            nursery.start_soon(serve_spare_memory)
            nursery.start_soon(parts.snapshots.serve)
            nursery.start_soon(parts.live.serve)
            nursery.start_soon(parts.paces.serve)
            await nursery.start(parts.bot_events.serve)
            nursery.start_soon(self._serve_restarts)
            nursery.start_soon(self._serve_webhook_changes)
            await nursery.start(parts.services.serve)
            await nursery.start(parts.deliveries.serve)
            nursery.start_soon(parts.listener.serve)
            if parts.member is not None:
                await nursery.start(parts.member.serve, parts.fleet, parts.inbox)
            async with trio.open_nursery() as bots:
                bots.start_soon(parts.fleet.run)
                await self._serve_changes()
                parts.report.become("stopping")
                parts.announcer.stopping()
                parts.events.emit("daemon.stopping", status=summary(parts.fleet.status()))
                parts.restarts.stop()
                timeout = parts.in_force.shutdown_timeout()
                self._deadline = trio.current_time() + timeout
                bots.cancel_scope.deadline = self._deadline - min(ENDS, timeout / 2)
                nursery.start_soon(cancel_on, stop.hastened, bots.cancel_scope)
                nursery.start_soon(self._kill_late)
                await self._leave()
            parts.live.close()
            parts.listener.close()
            nursery.cancel_scope.deadline = trio.current_time() + min(ENDS, self.time_left())
            await parts.listener.ended.wait()
            await parts.live.over.wait()
            with suppress(StoreError):
                await (
                    parts.inbox.answers()
                )  # what was submitted counts in the last summary once it is committed
            nursery.cancel_scope.cancel()
        if not parts.fleet.ready.is_set():  # a stop came first: whoever waits for the start waits no more
            task_status.started(self)

    async def _leave(self) -> None:
        """Give all bots to other nodes, as far as there are some; then let all that is left drain."""
        try:
            if self._parts.member is not None:
                await self._parts.member.leave()
        finally:
            self._parts.deliveries.close()
            self._parts.fleet.stop()

    async def _serve_changes(self) -> None:
        """Follow requests, and the fleet's files and sources, until a stop is requested."""
        parts = self._parts
        reload = parts.reload
        async with trio.open_nursery() as nursery:
            if parts.in_force().watch:
                watch = partial(serve_watch, reload.watched, reload.changed, self._emit_unwatched)
                await nursery.start(watch)
            if (code := parts.code) is not None:
                watch = partial(serve_watch, code.watched, code.changed, self._emit_unwatched)
                await nursery.start(partial(watch, asked=code.asked.wait))
            by_source = partial(reload.changed, "a source of bots")
            await nursery.start(parts.sources.serve, parts.in_force, by_source, reload.given)
            nursery.start_soon(self._serve_reloads)
            await parts.requests.stop.requested.wait()
            nursery.cancel_scope.cancel()

    async def _serve_reloads(self) -> None:
        """Reload when that is asked for; what is wrong with the fleet is emitted."""
        while True:
            await self._parts.requests.reload.wait()
            with suppress(FleetFileError):
                await self._parts.reload.run(by="signal HUP")

    async def _serve_restarts(self) -> None:
        parts = self._parts
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_restarts_on)
            await parts.restarts.serve(parts.fleet.get_bots, parts.fleet.ready, parts.zygote.renew)
            nursery.cancel_scope.cancel()

    async def _pass_restarts_on(self) -> None:
        while True:
            await self._parts.requests.restart.wait()
            self._parts.restarts.request()

    async def _serve_webhook_changes(self) -> None:
        while True:
            await self._parts.listener.wait_changed()
            self._parts.fleet.webhooks_changed()

    async def _serve_summary(self) -> None:
        await serve_summary(self._figures, self._parts.in_force.summary_interval, self._emit_summary)

    def _vital(self) -> list[Part]:
        """What has to answer, or the daemon does not do its work."""
        return [
            Part("inbox", self._parts.inbox.answers, INBOX_PATIENCE),
            Part("zygote", self._parts.zygote.answers, ZYGOTE_PATIENCE),
        ]

    def _line(self) -> str:
        """What systemd shows as the status."""
        bots = self._parts.fleet.everyone
        counts = (self._parts.inbox.counts(bot.settings.bot_id) for bot in bots)
        line = summed_up((bot.state for bot in bots), sum(count["pending"] for count in counts))
        error = self._parts.reload.last.error
        if error is None:
            return line
        first, *others = error.splitlines()
        more = f" (and {len(others)} more)" if others else ""
        return f"{line}; the changed fleet is refused: {first}{more}"

    def _emit_stalled(self, part: str, seconds: float) -> None:
        self._parts.events.emit("daemon.stalled", part=part, seconds=round(seconds))

    def _emit_absence(self, absence: Absence) -> None:
        why = "the machine was suspended" if absence.suspended else "it was stopped, or its loop was held up"
        self._parts.events.emit("daemon.away", seconds=round(absence.seconds, 1), reason=why)

    def _emit_unwatched(self, reason: str) -> None:
        self._parts.events.emit("reload.unwatched", reason=reason)

    def _figures(self) -> Figures:
        bots = self._parts.fleet.everyone
        return figures(
            (bot.state for bot in bots),
            sum(bot.restarts for bot in bots),
            (self._parts.inbox.tally(bot.settings.bot_id) for bot in bots),
        )

    def _emit_summary(self, since: Figures) -> None:
        self._parts.events.emit(
            "daemon.summary",
            accepted=since.accepted,
            done=since.done,
            dropped=since.dropped,
            expired=since.expired,
            retried=since.retried,
            dead=since.dead,
            restarts=since.restarts,
            status=summary(self._parts.fleet.status()),
        )

    async def _kill_late(self) -> None:
        await trio.sleep_until(self._deadline)
        self._parts.zygote.kill()

    async def _announce(self, task_status: trio.TaskStatus[Daemon]) -> None:
        parts = self._parts
        with trio.move_on_after(COLLECTS_AFTER):
            await parts.fleet.ready.wait()
        gc.freeze()  # else the first look would go through all of it in one turn of the loop
        gc.enable()
        await parts.fleet.ready.wait()
        if parts.report.state == "starting":
            parts.report.become("running")
            rows = parts.fleet.status()
            not_well = unwell_words(rows) or None
            level = "warn" if not_well else None
            parts.events.emit("daemon.ready", level=level, status=summary(rows), not_well=not_well)
            parts.announcer.ready()
            parts.greet()
        task_status.started(self)


async def cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    """Cancel a scope when an event comes."""
    await event.wait()
    scope.cancel()
