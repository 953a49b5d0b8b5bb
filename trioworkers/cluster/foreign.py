"""Endpoints for the webhooks of bots that another node runs: any node commits what Telegram delivers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trioworkers.transport.deliveries import WebhookEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers.config import BotSettings
    from trioworkers.inbox.gate import Gate
    from trioworkers.transport.registration import Wanted


class ForeignEndpoints:
    """Makes an endpoint when the first delivery for a bot of the fleet comes, and keeps it.

    Args:
        bots: all bots of the fleet, by name.
        wanted: what a bot's webhook should be; None: nobody can reach this node.
        gate: makes the gate of a bot, of what gives its settings in force.
    """

    def __init__(
        self,
        bots: Callable[[], Mapping[str, BotSettings]],
        wanted: Callable[[BotSettings], Wanted | None],
        gate: Callable[[Callable[[], BotSettings]], Gate],
    ) -> None:
        self._bots = bots
        self._wanted = wanted
        self._gate = gate
        self._endpoints: dict[str, WebhookEndpoint] = {}
        self._secrets: dict[str, str] = {}
        self._settings: dict[str, BotSettings] = {}

    @property
    def all(self) -> Mapping[str, WebhookEndpoint]:
        """Those that were made, by the names of their bots."""
        return self._endpoints

    def find(self, name: str) -> WebhookEndpoint | None:
        """The endpoint of a bot, with its present secret; None: it is not in the fleet, or has no webhook."""
        bot = self._bots().get(name)
        wanted = None if bot is None or not bot.enabled or bot.transport == "poll" else self._wanted(bot)
        if bot is None or wanted is None:
            self._endpoints.pop(name, None)
            return None
        self._settings[name] = bot
        endpoint = self._endpoints.get(name)
        if endpoint is None or endpoint.bot_id != bot.bot_id:
            endpoint = self._endpoints[name] = WebhookEndpoint(
                bot.bot_id, self._gate(partial(self._settings.__getitem__, name))
            )
            self._secrets.pop(name, None)
        if self._secrets.get(name) != wanted.secret:
            endpoint.registered(wanted.secret)  # the former one is good for some minutes
            self._secrets[name] = wanted.secret
        return endpoint
