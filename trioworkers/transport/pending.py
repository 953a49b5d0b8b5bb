"""Drops what waits for a bot at Telegram. Nothing calls this but a command that a person gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trioworkers.botapi.errors import TransportError
from trioworkers.transport.registration import WebhookInfo

if TYPE_CHECKING:
    from trioworkers.botapi.client import BotApi


async def drop_pending(api: BotApi) -> int:
    """Let Telegram forget the updates that it holds for the bot; return how many these were.

    A webhook is deleted with them: whoever wants one sets it again, and what comes meanwhile waits. Updates
    that were accepted before are not touched.

    Raises:
        BotApiError: Telegram refused it.
        TransportError: Telegram was not reached, or did not answer as it should. They may be dropped.
    """
    answer = await api.call("getWebhookInfo", {})
    try:
        pending = msgspec.json.decode(answer, type=WebhookInfo).pending_update_count
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise TransportError("getWebhookInfo", "an answer that is no WebhookInfo") from None
    if pending:
        await api.call("deleteWebhook", {"drop_pending_updates": True})
    return pending
