"""Drops what waits for a bot at Telegram.

Nothing calls this but a command that a person gives, and a bot of another library whose settings let it drop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.transport.registration import WebhookInfo

if TYPE_CHECKING:
    from trioworkers.botapi.client import BotApi

CONFLICT = 409  # of getUpdates while a webhook is set


async def drop_pending(api: BotApi) -> int:
    """Let Telegram forget the updates that it holds for the bot; return how many these were.

    A webhook is deleted with them: whoever wants one sets it again, and what comes meanwhile waits. Updates
    that were accepted before are not touched.

    Raises:
        BotApiError: Telegram refused it.
        TransportError: Telegram was not reached, or did not answer as it should. They may be dropped.
    """
    pending = await _pending(api)
    if pending:
        await api.call("deleteWebhook", {"drop_pending_updates": True})
    return pending


async def drop_all_but(api: BotApi, keep: int) -> tuple[int, int]:
    """Let Telegram forget the updates that it holds but the last `keep`; return how many it drops and keeps.

    While a webhook is set, Telegram does so only for all of them: with a `keep` of more than 0, it drops
    nothing then.

    Raises:
        BotApiError: Telegram refused it.
        TransportError: Telegram was not reached, or did not answer as it should. They may be dropped.
    """
    if keep == 0:
        return await drop_pending(api), 0
    pending = await _pending(api)
    if pending <= keep:
        return 0, pending
    try:
        await api.call("getUpdates", {"offset": -keep, "limit": 1, "timeout": 0})
    except BotApiError as error:
        if error.error_code != CONFLICT:
            raise
        return 0, pending
    return pending - keep, keep


async def _pending(api: BotApi) -> int:
    answer = await api.call("getWebhookInfo", {})
    try:
        return msgspec.json.decode(answer, type=WebhookInfo).pending_update_count
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise TransportError("getWebhookInfo", "an answer that is no WebhookInfo") from None
