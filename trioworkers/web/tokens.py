"""Whether Telegram knows a token, asked before a bot gets it: a refusal is told to whoever typed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.bot_server import server_of
from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.transport.refusals import is_token_refused

if TYPE_CHECKING:
    from trioworkers.config import Fleet

PATIENCE = 5.0  # seconds; without an answer the bot finds out for itself


async def refuses_token(fleet: Fleet, name: str, patience: float = PATIENCE) -> bool:
    """Ask the bot's server whether it refuses its token; False as well without an answer in this time."""
    bot = fleet.bots[name]
    with trio.move_on_after(patience):
        async with BotApi(server_of(fleet, bot), bot.token.reveal()) as api:
            try:
                await api.request("getMe", {})
            except BotApiError as error:
                return is_token_refused(error)
            except TransportError:
                return False
    return False
