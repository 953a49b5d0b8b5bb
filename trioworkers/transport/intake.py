"""One bot's way in: long polling, a webhook, or on `auto` whichever works, switched while it runs.

Polling and webhook share one queue at Telegram, and one inbox here that knows what it has: a switch loses
nothing and handles nothing twice. What was under way
by the webhook that is left is still taken at its endpoint.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import trio

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.transport.auto import AutoSwitch
from trioworkers.transport.poll import LongPoll, PollEvents, PollSettings
from trioworkers.transport.reception import NOT_REGISTERED, Reception
from trioworkers.transport.registration import Registration, clean, error_age

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trioworkers.botapi.client import BotApi
    from trioworkers.inbox.gate import TakesUpdates
    from trioworkers.transport.deliveries import WebhookEndpoint
    from trioworkers.transport.registration import Registry, Wanted, WebhookInfo


class IntakeSettings(PollSettings, Protocol):
    """What is read anew at each step."""

    @property
    def transport(self) -> str: ...


class IntakeEvents(PollEvents, Protocol):
    """What is told, beside what polling tells."""

    def switched(self, transport: str, reason: str) -> None:
        """From now on updates come by `poll` or `webhook`."""

    def webhook_registered(self, reason: str) -> None:
        """The webhook was set, because of `reason`."""

    def kinds_ignored(self, kinds: Sequence[str]) -> None:
        """The webhook is set, but the server does not know these kinds of updates."""

    def webhook_refused(self, reason: str, pause: float) -> None:
        """It could not be set or looked at; tried again in `pause` seconds."""


@dataclass(frozen=True, slots=True)
class IntakeContext:
    """What one bot's intake works with.

    Attributes:
        gate: takes what is polled.
        settings: the settings in force.
        endpoint: where the bot's deliveries come in.
        wanted: what its webhook should be now; None where Telegram cannot reach us: `auto` polls then.
        registry: what the registrations of all bots share.
        events: who hears of it.
        rng: where jitter comes from.
        reception: is told how the way in fares.
    """

    gate: TakesUpdates
    settings: Callable[[], IntakeSettings]
    endpoint: WebhookEndpoint
    wanted: Callable[[], Wanted | None]
    registry: Registry
    events: IntakeEvents
    rng: random.Random = field(default_factory=random.Random)
    reception: Reception = field(default_factory=Reception)


class Intake:
    """Brings one bot's updates in. `serve` runs until it is cancelled, and leaves a webhook set.

    Args:
        api: the bot's own connection.
        context: what it works with.

    Attributes:
        transport: `poll` or `webhook`, as it is now.
        info: what Telegram last said of the webhook, while there is one.
    """

    def __init__(self, api: BotApi, context: IntakeContext) -> None:
        self.transport = ""
        self.info: WebhookInfo | None = None
        self._settings = context.settings
        self._endpoint = context.endpoint
        self._wanted = context.wanted
        self._events = context.events
        self._reception = context.reception
        self._api = api
        self._gate = context.gate
        self._rng = context.rng
        self._target = context.wanted()
        self._registration = Registration(
            api, context.endpoint.bot_id, self._find_target, context.registry, self, context.rng
        )
        self._auto = AutoSwitch()
        self._setting = context.settings().transport
        self._reason = "settings"
        self._stint = trio.CancelScope()

    def changed(self) -> None:
        """Settings may have changed: obey them at once. Telegram is asked only when something did."""
        setting, target, before = self._settings().transport, self._wanted(), self._target
        self._target = target
        if setting != self._setting or (target is None) != (before is None):
            self._setting = setting
            self._auto = AutoSwitch()
            self._end("settings")
        elif target is None or self.transport != "webhook":
            return
        elif target != before or not self._registration.is_set:
            self._endpoint.add_secret(target.secret)
            self._registration.changed()

    async def serve(self) -> None:
        """Bring updates in until cancelled.

        Raises:
            TokenRefusedError: the token was refused.
        """
        while True:
            self._stint = trio.CancelScope()
            target = self._target if self._setting != "poll" and not self._auto.polling else None
            transport = "poll" if target is None else "webhook"
            left, self.transport = self.transport, transport
            if left and left != transport:
                self._reception.left()
                self._events.switched(transport, self._reason)
            with self._stint:
                if target is None:
                    await self._serve_poll(left == "webhook")
                else:
                    self._endpoint.add_secret(target.secret)
                    await self._registration.serve()

    async def _serve_poll(self, leaves_webhook: bool) -> None:
        if leaves_webhook:
            self.info = None
            self._endpoint.leave()
            with suppress(BotApiError, TransportError):  # the poll finds out, and tells
                await self._registration.delete()
        with trio.move_on_after(self._polling_time()):
            # a new one each time: an offset from before a webhook might confirm what nobody has seen
            poll = LongPoll(self._api, self._gate, self._settings, self._events, self._rng, self._reception)
            await poll.serve()
        self._auto.try_webhook()
        self._reason = "polled long enough"

    def _polling_time(self) -> float:
        if self._setting == "poll" or self._target is None:
            return float("inf")
        return self._auto.seconds_of_polling(trio.current_time())

    def _find_target(self) -> Wanted:
        if self._target is None:  # for the moment until the webhook's time has ended
            raise TransportError("setWebhook", "webhook.public_url is not set")
        return self._target

    def _end(self, reason: str | None) -> None:
        """Let the present transport end, when there is a reason."""
        if reason is not None:
            self._reason = reason
            self._stint.cancel()

    # what the registration tells

    def registered(self, secret: str, reason: str | None) -> None:
        """It is set: the endpoint knows, and `auto`."""
        self._endpoint.registered(secret)
        self._reception.recovered()
        self._auto.registered(trio.current_time())
        if reason is not None:
            self._events.webhook_registered(reason)

    def ignored(self, kinds: Sequence[str]) -> None:
        """It is set, without these kinds."""
        self._events.kinds_ignored(kinds)

    def refused(self, reason: str, pause: float) -> None:
        """It failed; that Telegram could not be asked about a webhook that is set counts for nothing."""
        self._events.webhook_refused(reason, pause)
        if not self._registration.is_set:
            self._reception.failed(f"{NOT_REGISTERED}: {reason}")
        if self._setting == "auto" and not self._registration.is_set:
            self._end(self._auto.registration_failed(trio.current_time()))

    def observed(self, info: WebhookInfo) -> None:
        """It is set, and this is how it does."""
        self.info = info
        self._reception.observed(
            info.pending_update_count, info.last_error_date, clean(info.last_error_message or "")
        )
        if self._setting == "auto":
            pending, age = info.pending_update_count, error_age(info)
            self._end(self._auto.observed(trio.current_time(), pending, age))
