"""What brings one bot's updates in: its transport, from the day it may begin to the day it may not go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.transport.api import BotApi
from trioworkers.transport.poll import LongPoll, TokenRefusedError
from trioworkers.worker.log import describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trioworkers.config import BotSettings
    from trioworkers.inbox.inbox import Accepted
    from trioworkers.records import Arrival

PAUSE = 15.0  # seconds before an intake that broke is begun anew


async def serve_intake(
    api_base: str,
    settings: Callable[[], BotSettings],
    accept: Callable[[Sequence[Arrival]], Awaitable[Accepted]],
    tell: Callable[..., None],
) -> None:
    """Bring updates in until cancelled; `tell` hears what happens to the transport.

    Raises:
        TokenRefusedError: Telegram does not know the bot's token any more.
    """
    while True:
        async with BotApi(api_base, settings().token.reveal()) as api:
            try:
                await LongPoll(api, accept, settings, _Trouble(tell)).serve()
            except TokenRefusedError:
                raise
            except Exception as error:  # a mistake of ours must not silence a bot for good
                tell("transport.trouble", level="error", reason="internal", error=describe(error))
        await trio.sleep(PAUSE)


class _Trouble:
    """Tells what happens to a long poll as events; a trouble that goes on is told once."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._last: str | None = None

    def conflict(self, reason: str, pause: float) -> None:
        self._tell("transport.conflict", reason=reason, pause=round(pause, 1))
        self._last = reason

    def trouble(self, reason: str, pause: float) -> None:
        if reason != self._last:
            self._tell("transport.trouble", reason=reason, pause=round(pause, 1))
        self._last = reason

    def recovered(self) -> None:
        self._tell("transport.recovered", after=self._last)
        self._last = None

    def webhook_removed(self) -> None:
        self._tell("transport.unhooked")

    def unreadable(self, reason: str) -> None:
        self._tell("update.unreadable", reason=reason)
