"""What a program asks Telegram about its updates and its session besides getUpdates, and is answered here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.errors import TrioworkersError
from trioworkers.gateway.answers import refused, result
from trioworkers.gateway.params import read_names, read_switch
from trioworkers.gateway.webhook import WebhookRefusedError, read_webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers.gateway.local_context import LocalContext
    from trioworkers.gateway.pusher import Pusher

_UNPROBED = (
    'acknowledge = "probe" is for bots that poll, as the answers of a webhook tell how updates end:'
    " let the bot poll, or choose another acknowledge"
)


class NotDroppedError(TrioworkersError):
    """What waits for the bot could not be dropped, or not all of it."""


class Account:
    """Answers one process of a program.

    Args:
        context: what it works with.
        pusher: pushes its updates while it has a webhook.
        hooked: told when it has set one.
    """

    def __init__(self, context: LocalContext, pusher: Pusher, hooked: Callable[[], None]) -> None:
        self._context = context
        self._pusher = pusher
        self._hooked = hooked

    async def answer(self, method: str, params: Mapping[str, Any]) -> tuple[int, bytes]:
        """Answer a method of :data:`~.targets.LOCAL` but getUpdates with a status and a body.

        Raises:
            NotDroppedError: it asked for what waits to be dropped, and some was not.
        """
        if method == "setwebhook" and params.get("url"):
            return await self._set_webhook(params)
        if method == "getwebhookinfo":
            return 200, result(self._webhook_info())
        if method in ("close", "logout"):
            self._withheld(method, "the bot's session at Telegram is the daemon's")
            return 200, result(True)
        if read_switch(params, "drop_pending_updates"):
            await self.drop(method, 0)
        self._pusher.set(None)
        return 200, result(True)

    async def _set_webhook(self, params: Mapping[str, Any]) -> tuple[int, bytes]:
        try:
            if self._context.acknowledge() == "probe":
                raise WebhookRefusedError(_UNPROBED)
            webhook = read_webhook(params)
        except WebhookRefusedError as error:
            self._withheld("setWebhook", str(error))
            return 400, refused(400, str(error))
        kinds = read_names(params, "allowed_updates")
        if kinds is not None:
            self._context.allows(kinds)
        if read_switch(params, "drop_pending_updates"):
            await self.drop("setwebhook", 0)
        self._pusher.set(webhook)
        self._context.emit("gateway.hooked", address=webhook.place)
        self._hooked()
        return 200, result(True)

    def _webhook_info(self) -> dict[str, Any]:
        webhook, error = self._pusher.webhook, self._pusher.error
        info: dict[str, Any] = {
            "has_custom_certificate": False,
            "pending_update_count": self._context.pending(),
        }
        if webhook is None:
            return {"url": "", **info}
        info |= {"max_connections": webhook.most, "ip_address": webhook.hosts[0]}
        if error is not None:
            info |= {"last_error_message": error[0], "last_error_date": int(error[1])}
        return {"url": webhook.url, **info}

    async def drop(self, method: str, keep: int) -> bool:
        """Drop what waits but the last `keep` updates, and return True; False: the settings forbid it.

        Raises:
            NotDroppedError: some were not dropped.
        """
        if not self._context.may_drop():
            how = "drop_pending_updates" if keep == 0 else "a negative offset"
            self._withheld(method, f"{how}, which would lose what waits")
            return False
        count = await self._context.drop(keep)
        self._context.emit("gateway.dropped", method=method, count=count)
        return True

    def _withheld(self, method: str, reason: str) -> None:
        self._context.emit("gateway.withheld", method=method, reason=reason)
