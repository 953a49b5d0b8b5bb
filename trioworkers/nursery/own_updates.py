"""Updates of the daemon's own in the inboxes of bots: what plugins offer, and Telegram never sent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from trioworkers.inbox.gate import Duplicate, Gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.config import BotSettings
    from trioworkers.nursery.bot_context import BotContext
    from trioworkers.records import Arrival


async def offer_own(settings: BotSettings, context: BotContext, make: Callable[[int], Arrival]) -> None:
    """Put an update into a bot's inbox, the last of its chat; it is durable then.

    In a cluster the bot may run on another node, which hears of it.

    Args:
        settings: of the bot.
        context: what bots need of the daemon.
        make: makes the update of its `update_id`, which is negative: Telegram's are not.

    Raises:
        StoreError: it is not durable.
    """
    apart = settings.callbacks == "own_lane"
    gate = Gate(settings.name, settings.bot_id, context.inbox, context.events, apart=lambda: apart)
    update_id = -1 - round(1000 * time.time()) % 2**31
    while isinstance((await gate.offer([make(update_id)]))[0], Duplicate):
        update_id = -1 - (-1 - update_id + 1) % 2**31
