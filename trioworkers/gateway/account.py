"""What a program asks Telegram about its updates and its session besides getUpdates, and is answered here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.errors import TrioworkersError
from trioworkers.gateway.answers import refused, result
from trioworkers.gateway.params import read_switch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.gateway.local_context import LocalContext

LOCAL = frozenset(("getupdates", "setwebhook", "deletewebhook", "getwebhookinfo", "close", "logout"))
"""Methods that are answered here, in lower case: the daemon alone fetches a bot's updates."""


class NotDroppedError(TrioworkersError):
    """What waits for the bot could not be dropped, or not all of it."""


class Account:
    """Answers one process of a program.

    Args:
        context: what it works with.
    """

    def __init__(self, context: LocalContext) -> None:
        self._context = context

    async def answer(self, method: str, params: Mapping[str, Any]) -> tuple[int, bytes]:
        """Answer a method of :data:`LOCAL` but getUpdates with a status and a body.

        Raises:
            NotDroppedError: it asked for what waits to be dropped, and some was not.
        """
        if method == "setwebhook" and params.get("url"):
            self._withheld("setWebhook", "webhooks of commands are not served, expected polling")
            return 400, refused(400, "webhooks of commands are not served by trioworkers: let the bot poll")
        if method == "getwebhookinfo":
            pending = self._context.pending()
            return 200, result({"url": "", "has_custom_certificate": False, "pending_update_count": pending})
        if method in ("close", "logout"):
            self._withheld(method, "the bot's session at Telegram is the daemon's")
        elif read_switch(params, "drop_pending_updates"):
            await self.drop(method, 0)
        return 200, result(True)

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
