"""What the webhooks of bots should be, and when one may be set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.botapi.errors import TransportError
from trioworkers.nursery.start_rate import StartRate
from trioworkers.transport.deliveries import derive_secret
from trioworkers.transport.registration import Wanted

if TYPE_CHECKING:
    from trioworkers.config import BotSettings, FleetInForce, Secret
    from trioworkers.web.listener import WebhookListener

REGISTRATIONS = 20.0  # per second, fleet-wide; each is two calls, and Telegram allows about 30 a second


class Registrations:
    """Decides on registrations for all bots.

    Args:
        in_force: the fleet in force.
        secret: what the bots' secrets are derived from where the fleet names none.
        listener: listens for deliveries.
    """

    def __init__(self, in_force: FleetInForce, secret: Secret, listener: WebhookListener) -> None:
        self._in_force = in_force
        self._secret = secret
        self._listener = listener
        self._rate = StartRate(lambda: REGISTRATIONS)

    def wanted(self, bot: BotSettings) -> Wanted | None:
        """What a bot's webhook should be; None without a public address."""
        webhook = self._in_force.webhook()
        if webhook.public_url is None:
            return None
        secret = webhook.secret or self._secret
        return Wanted(
            f"{webhook.public_url}/webhook/{bot.name}",
            derive_secret(secret.reveal(), bot.bot_id),
            bot.allowed_updates,
            certificate=self._listener.upload(),
        )

    async def wait_turn(self) -> None:
        """Wait until one more webhook may be set.

        Raises:
            TransportError: nobody would listen to it.
        """
        if self._listener.trouble is not None:
            raise TransportError("setWebhook", str(self._listener.trouble))
        await self._rate.wait()
