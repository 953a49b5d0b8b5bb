"""Telegram's limits on how often one may call; off unless a world turns them on.

The numbers of messages are those of the Bot FAQ ("My bot is hitting limits"), the number of new
tokens that of `ClientManager.cpp` (`flood_controls_`).
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from trioworkers.testing.answers import too_many_requests

if TYPE_CHECKING:
    from collections.abc import Hashable

PER_SECOND = (30, 1.0)
PAID_PER_SECOND = (1000, 1.0)  # allow_paid_broadcast
PER_CHAT = (1, 1.0)
PER_GROUP = (20, 60.0)


class SendLimits:
    """Rolling windows of what was let through; asking counts as doing."""

    def __init__(self, messages: bool = False, new_tokens_per_minute: int | None = None) -> None:
        self.messages = messages
        self.new_tokens_per_minute = new_tokens_per_minute
        self._windows: dict[Hashable, deque[float]] = {}

    def check_message(
        self, bot_id: int, chat_id: int, now: float, messages: int = 1, *, paid: bool = False
    ) -> None:
        """Count messages of one call; an album is let through or refused as a whole, by its first one.

        Those of a broadcast that is paid for have a limit of their own in the place of the whole bot's.

        Raises:
            Refused: 429, and nothing is counted.
        """
        if not self.messages:
            return
        whole = ((bot_id, "paid"), PAID_PER_SECOND) if paid else ((bot_id, ""), PER_SECOND)
        windows: list[tuple[Hashable, tuple[int, float]]] = [whole, ((bot_id, chat_id), PER_CHAT)]
        if chat_id < 0:
            windows[1] = ((bot_id, chat_id), PER_GROUP)
        wait = max(self._wait(key, *limit, now) for key, limit in windows)
        if wait > 0:
            raise too_many_requests(math.ceil(wait))
        for key, _ in windows:
            self._windows[key].extend([now] * messages)

    def check_new_token(self, now: float) -> None:
        """Count a token that this server has not seen before.

        Raises:
            Refused: 429, and nothing is counted.
        """
        if self.new_tokens_per_minute is None:
            return
        wait = self._wait("new tokens", self.new_tokens_per_minute, 60.0, now)
        if wait > 0:
            raise too_many_requests(math.ceil(wait))
        self._windows["new tokens"].append(now)

    def _wait(self, key: Hashable, count: int, span: float, now: float) -> float:
        window = self._windows.setdefault(key, deque())
        while window and window[0] <= now - span:
            window.popleft()
        return 0.0 if len(window) < count else window[0] + span - now
