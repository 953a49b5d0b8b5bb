"""What brings one bot's updates in, from the day it may begin to the day it may not go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.errors import describe
from trioworkers.transport.batch import LARGEST_ANSWER
from trioworkers.transport.intake import Intake, IntakeContext
from trioworkers.transport.poll import TokenRefusedError
from trioworkers.transport.reception import BROKE, Reception

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from trioworkers.botapi.meter import CallMeter
    from trioworkers.botapi.server import Server
    from trioworkers.config import BotSettings
    from trioworkers.inbox.gate import TakesUpdates
    from trioworkers.transport.deliveries import Deliveries, WebhookEndpoint
    from trioworkers.transport.registration import Registry, Wanted

CONFLICT = 409
PAUSE = 15.0  # seconds before an intake that broke is begun anew
FIRST_LOOK, LONGEST_LOOK = 5.0, 3600.0  # seconds until a refused token is tried again, doubled, with jitter


@dataclass(slots=True)
class Webhooks:
    """What bots need of the daemon for webhooks.

    Attributes:
        deliveries: the endpoints where updates come in.
        wanted: what a bot's webhook should be now; None while Telegram cannot reach us.
        registry: what the registrations of all bots share.
        gate: awaited before each request; it raises when none may be made. None, as at first: they may. Its
            maker sets it. To look between turns of the loop is not enough: the rest of a turn runs on when a
            daemon that was frozen in it is thawed.
    """

    deliveries: Deliveries
    wanted: Callable[[BotSettings], Wanted | None]
    registry: Registry
    gate: Callable[[], Awaitable[None]] | None = None


class BotIntake:
    """One bot's intake; :meth:`serve` runs it."""

    def __init__(
        self,
        settings: Callable[[], BotSettings],
        gate: TakesUpdates,
        webhooks: Webhooks,
        emit: Callable[..., None],
        rng: Random,
        meter: CallMeter | None = None,
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._meter = meter
        self._gate = gate
        self._webhooks = webhooks
        self._emit = emit
        self._reception = Reception()
        self._intake: Intake | None = None
        endpoint, target = self._open(), self._target()
        endpoint.expect(settings().enabled and target is not None)
        if endpoint.awaited and target and webhooks.registry.digests.get(endpoint.bot_id) == target.digest():
            endpoint.add_secret(target.secret)  # set by an earlier daemon: a restart keeps nobody waiting

    @property
    def transport(self) -> str:
        """`poll` or `webhook`: how updates come, or would, if they did."""
        if self._intake is not None and self._intake.transport:
            return self._intake.transport
        return "poll" if self._target() is None else "webhook"

    @property
    def webhook(self) -> dict[str, Any] | None:
        """What Telegram last said of the webhook, while there is one."""
        info = None if self._intake is None else self._intake.info
        return None if info is None else info.document()

    @property
    def deafness(self) -> dict[str, Any] | None:
        """Why no updates come in, since when, and what to do; None: they do."""
        found = self._reception.deafness()
        return None if found is None else found.document()

    def changed(self) -> None:
        """Settings changed: obey them at once."""
        if self._intake is not None:
            self._intake.changed()

    async def serve(self, server: Server) -> None:
        """Bring updates in until cancelled.

        Raises:
            TokenRefusedError: Telegram does not know the bot's token any more.
        """
        settings = self._settings()
        while True:
            token = settings.token.reveal()
            async with BotApi(server, token, rng=self._rng, meter=self._meter, largest=LARGEST_ANSWER) as api:
                api.gate = self._webhooks.gate
                endpoint = self._open()
                context = IntakeContext(
                    gate=self._gate,
                    settings=self._settings,
                    endpoint=endpoint,
                    wanted=self._wanted,
                    registry=self._webhooks.registry,
                    events=_Trouble(self._emit),
                    rng=self._rng,
                    reception=self._reception,
                )
                self._intake = Intake(api, context)
                try:
                    await self._intake.serve()
                except TokenRefusedError:
                    self._reception.left()
                    raise
                except Exception as error:  # a mistake of ours must not silence a bot for good
                    self._reception.failed(BROKE)
                    self._emit("transport.trouble", level="error", reason="internal", error=describe(error))
                finally:
                    self._intake = None
                    endpoint.leave()
            await trio.sleep(PAUSE)

    async def is_known(self, server: Server) -> bool:
        """Ask whether Telegram knows the bot's token; False as well when there is no answer.

        It is asked by the method that was refused, which confirms nothing, and which a webhook, or another
        poller, answers with a conflict.
        """
        async with BotApi(server, self._settings().token.reveal(), largest=LARGEST_ANSWER) as api:
            api.gate = self._webhooks.gate
            try:
                await api.request("getUpdates", {"limit": 1, "timeout": 0})
            except BotApiError as error:
                return error.error_code == CONFLICT
            except TransportError:
                return False
        return True

    def _wanted(self) -> Wanted | None:
        return self._webhooks.wanted(self._settings())

    def _target(self) -> Wanted | None:
        settings = self._settings()
        return None if settings.transport == "poll" else self._webhooks.wanted(settings)

    def _open(self) -> WebhookEndpoint:
        settings = self._settings()
        return self._webhooks.deliveries.open(settings.name, settings.bot_id, self._gate)


class _Trouble:
    """Tells what happens to a long poll as events; a trouble that goes on is told once."""

    def __init__(self, emit: Callable[..., None]) -> None:
        self._emit = emit
        self._last: str | None = None
        self._refused: str | None = None

    def conflict(self, reason: str, pause: float) -> None:
        self._emit("transport.conflict", reason=reason, pause=round(pause, 1))
        self._last = reason

    def trouble(self, reason: str, pause: float) -> None:
        if reason != self._last:
            self._emit("transport.trouble", reason=reason, pause=round(pause, 1))
        self._last = reason

    def recovered(self) -> None:
        self._emit("transport.recovered", after=self._last)
        self._last = None

    def webhook_removed(self) -> None:
        self._emit("transport.unhooked")

    def unreadable(self, reason: str) -> None:
        self._emit("update.unreadable", reason=reason)

    def switched(self, transport: str, reason: str) -> None:
        self._emit("transport.switched", to=transport, reason=reason)

    def webhook_registered(self, reason: str) -> None:
        self._refused = None
        self._emit("webhook.registered", reason=reason)

    def webhook_narrowed(self, kinds: Sequence[str]) -> None:
        self._emit("webhook.narrowed", kinds=list(kinds))

    def webhook_refused(self, reason: str, pause: float) -> None:
        if reason != self._refused:
            self._emit("webhook.refused", reason=reason, pause=round(pause, 1))
        self._refused = reason
