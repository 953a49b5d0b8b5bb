"""The daemon: the bots of a fleet, what changes them while they run, and what is told of them."""

from __future__ import annotations

import math
import os
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.botapi.errors import TransportError
from trioworkers.config import FleetFileError
from trioworkers.config.watch import serve_watch
from trioworkers.errors import describe
from trioworkers.folders import kept_token
from trioworkers.logs.summary import Figures, figures, serve_summary
from trioworkers.nursery.bot import BotContext
from trioworkers.nursery.fleet import FleetScope, StartRate
from trioworkers.nursery.intake import Webhooks
from trioworkers.nursery.oom import OomKills, find_counter
from trioworkers.nursery.paused import PausedBots
from trioworkers.nursery.slots import WorkerSlots
from trioworkers.reload import Reload
from trioworkers.status import DaemonStatus, summary
from trioworkers.transport.deliveries import Deliveries, derive_secret
from trioworkers.transport.registration import Digests, Wanted
from trioworkers.web.app import make_app
from trioworkers.web.listener import WebhookListener

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from trioworkers.config import BotSettings, Fleet, Plan
    from trioworkers.errors import TrioworkersError
    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.nursery.rolling import RollingRestarts
    from trioworkers.nursery.zygote import Zygote
    from trioworkers.sources import Sources
    from trioworkers.stop import Stop

ENDS = 3.0  # seconds of a stop that are kept back for what ends the workers that did not drain
REGISTRATIONS = 20.0  # per second, fleet-wide; each is two calls, and Telegram allows about 30 a second


class Daemon:
    """The bots of one fleet; made and run by :func:`trioworkers.run.run_daemon`.

    Args:
        fleet: what runs from the start.
        events: told what happens.
        environ: the daemon's environment.
        inbox: the updates of all bots.
        makes: makes their workers.
        sources: further bots.
        restarts: asked for rolling restarts.
        handed: sockets for the webhook that systemd handed over.

    Attributes:
        settings: the fleet in force.
        app: what the API and the control socket serve.

    Raises:
        ListenError, AlreadyRunningError, CertificateError: a bot wants a webhook, and nobody can listen
            for it.
    """

    def __init__(
        self,
        fleet: Fleet,
        events: Events,
        environ: Mapping[str, str],
        *,
        inbox: Inbox,
        makes: Zygote,
        sources: Sources,
        restarts: RollingRestarts,
        handed: Sequence[socket.socket],
    ) -> None:
        self.settings = fleet
        self._events = events
        self._inbox = inbox
        inbox.keep_dead = lambda: self.settings.store.dead_retention
        self._zygote = makes
        self._sources = sources
        self._restarts = restarts
        self._status = DaemonStatus(fleet.name, fleet.digest)
        self._deadline = math.inf
        self._reload = Reload(fleet, environ, sources=sources, apply=self._apply, events=events)
        self._reload_asked = self._reloading = False
        self._changes: trio.Nursery | None = None
        token = (fleet.api.token or kept_token(fleet.runtime_dir / "api-token")).reveal()
        self._webhook_secret = kept_token(fleet.state_dir / "webhook-secret")
        self._names = _names(fleet)
        self._deliveries = Deliveries(self._emit_mistake)
        self._listener = WebhookListener(
            self._deliveries,
            lambda: self.settings.webhook,
            token,
            handed,
            self._emit_trouble,
            lambda: self._fleet.look_again(),
        )
        if _wants_webhook(fleet):
            self._listener.bind()
        self._registrations = StartRate(lambda: REGISTRATIONS)
        self._places = WorkerSlots(lambda: most_workers(self.settings))
        self._fleet = FleetScope(
            own_bots(fleet),
            BotContext(
                fleet=lambda: self.settings,
                inbox=inbox,
                makes=makes,
                events=events,
                may_start=StartRate(lambda: self.settings.limits.start_rate).wait,
                places=self._places,
                webhooks=Webhooks(
                    self._deliveries,
                    self._wanted,
                    Digests(fleet.state_dir / "webhooks.json"),
                    self._registration_turn,
                ),
                paused=PausedBots(fleet.state_dir / "paused.json"),
                oom=OomKills(find_counter()),
            ),
        )
        self.app = make_app(
            token=token,
            loopback=fleet.api.bind.path is None and fleet.api.bind.is_local,
            is_ready=self._fleet.ready.is_set,
            status=self.status,
            inbox=inbox,
            backs_up=inbox,
            bots=lambda: self._fleet.bots,
            restarts=restarts,
            backups=fleet.state_dir / "backups",
            events=events,
            reloads=self._reload,
        )

    def status(self) -> dict[str, Any]:
        """The status document."""
        last = self._reload.last
        self._status.last_reload_at, self._status.config_error = last.at, last.error
        self._status.last_reload_ok = last.error is None
        return self._status.document(self._fleet.status())

    def time_left(self) -> float:
        """Seconds that a stop still may take."""
        return max(0.0, self._deadline - trio.current_time())

    def reload(self) -> None:
        """Read the fleet anew and apply what changed, some time soon; what is wrong is told."""
        self._reload_asked = True
        if self._changes is not None and not self._reloading:
            self._reloading = True
            self._changes.start_soon(self._reload_now)

    async def run(
        self, stop: Stop, others: dict[int, Callable[[], None]], task_status: trio.TaskStatus[Daemon]
    ) -> None:
        """Run the bots until `stop`, then end them within the deadline.

        They drain until it is near, are cancelled when what is left is needed for their ends (TERM), and
        are killed when it has come. `others` gets what HUP does.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._announce, task_status)
            nursery.start_soon(
                serve_summary, self._figures, lambda: self.settings.log.summary_interval, self._emit_summary
            )
            nursery.start_soon(
                self._restarts.serve, lambda: self._fleet.bots, self._fleet.ready, self._zygote.renew
            )
            await nursery.start(self._deliveries.serve)
            nursery.start_soon(self._listener.serve)
            async with trio.open_nursery() as bots:
                bots.start_soon(self._fleet.run)
                others[signal.SIGHUP] = self.reload
                await self._serve_changes(stop)
                self._status.state = "stopping"
                self._events.emit("daemon.stopping", status=summary(self._fleet.status()))
                self._restarts.stop()
                self._deliveries.close()
                self._fleet.stop()
                timeout = self.settings.shutdown_timeout
                self._deadline = trio.current_time() + timeout
                bots.cancel_scope.deadline = self._deadline - min(ENDS, timeout / 2)
                nursery.start_soon(cancel_on, stop.hastened, bots.cancel_scope)
                nursery.start_soon(self._kill_late)
            self._listener.close()
            nursery.cancel_scope.deadline = trio.current_time() + min(ENDS, self.time_left())
            await self._listener.ended.wait()
            nursery.cancel_scope.cancel()
        if not self._fleet.ready.is_set():  # a stop came first: whoever waits for the start waits no more
            task_status.started(self)

    async def _serve_changes(self, stop: Stop) -> None:
        """Follow the fleet's files and sources until `stop`."""
        async with trio.open_nursery() as self._changes:
            await self._changes.start(partial(serve_watch, self._reload.watched, self._reload.changed))
            await self._changes.start(
                partial(self._sources.serve, lambda: self.settings, self._reload.changed)
            )
            await stop.requested.wait()
            self._changes.cancel_scope.cancel()
        self._changes = None

    async def _reload_now(self) -> None:
        while self._reload_asked:  # however often meanwhile: once more is enough
            self._reload_asked = False
            with suppress(FleetFileError):  # it was told
                await self._reload.run()
        self._reloading = False

    async def _apply(self, plan: Plan) -> None:
        """Put a plan's fleet in force."""
        self.settings = fleet = plan.fleet
        self._status.name, self._status.config_hash = fleet.name, fleet.digest
        self._events.least = fleet.log.level
        self._names = _names(fleet)
        if _wants_webhook(fleet):
            self._listener.want()
        self._zygote.hide(fleet.secret_env_names)  # first: who starts by this plan must not see them
        self._fleet.apply(plan)
        self._places.look_again()
        for name in plan.added:
            self._events.emit("bot.added", name)
        for name in plan.removed:
            self._events.emit("bot.removed", name)

    def _wanted(self, bot: BotSettings) -> Wanted | None:
        """What a bot's webhook should be; None without a public address."""
        webhook = self.settings.webhook
        if webhook.public_url is None:
            return None
        secret = webhook.secret or self._webhook_secret
        return Wanted(
            f"{webhook.public_url}/webhook/{bot.name}",
            derive_secret(secret.reveal(), bot.bot_id),
            bot.allowed_updates,
            certificate=self._listener.upload(),
        )

    async def _registration_turn(self) -> None:
        """Wait until one more webhook may be set; a failure while nobody would listen to it."""
        if self._listener.trouble is not None:
            raise TransportError("setWebhook", str(self._listener.trouble))
        await self._registrations.wait()

    def _emit_trouble(self, error: TrioworkersError) -> None:
        self._events.emit("webhook.refused", reason=str(error))

    def _emit_mistake(self, bot_id: int, error: Exception) -> None:
        name = self._names.get(bot_id)
        self._events.emit("transport.trouble", name, level="error", reason="internal", error=describe(error))

    def _figures(self) -> Figures:
        bots = self._fleet.everyone
        return figures(
            (bot.state for bot in bots),
            sum(bot.restarts for bot in bots),
            (self._inbox.tally(bot.settings.bot_id) for bot in bots),
        )

    def _emit_summary(self, since: Figures) -> None:
        self._events.emit(
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
        self._zygote.kill()

    async def _announce(self, task_status: trio.TaskStatus[Daemon]) -> None:
        await self._fleet.ready.wait()
        if self._status.state == "starting":
            self._status.state = "running"
            self._events.emit("daemon.ready", status=summary(self._fleet.status()))
        task_status.started(self)


async def cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    """Cancel a scope when an event comes."""
    await event.wait()
    scope.cancel()


def own_bots(fleet: Fleet) -> dict[str, BotSettings]:
    """The bots of this daemon's shard."""
    return {name: bot for name, bot in fleet.bots.items() if fleet.shard.owns(bot.bot_id)}


def _names(fleet: Fleet) -> dict[int, str]:
    return {bot.bot_id: name for name, bot in fleet.bots.items()}


def _wants_webhook(fleet: Fleet) -> bool:
    wants = any(bot.transport != "poll" and bot.enabled for bot in own_bots(fleet).values())
    return wants and fleet.webhook.public_url is not None


def most_workers(fleet: Fleet) -> int:
    """How many worker processes there may be at the same time."""
    limits = fleet.limits
    return min(limits.max_workers, limits.max_workers_per_core * len(os.sched_getaffinity(0)))
