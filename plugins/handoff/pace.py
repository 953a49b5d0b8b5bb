"""How fast a bot may speak in the operators' group, and how much of one user is shown there."""

from __future__ import annotations

import math
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trioworkers_plugins.handoff.pieces import Place

MINUTE = 61.0  # seconds; a message arrives somewhat later than it is sent, the next one perhaps sooner
LONGEST_YIELD = 5.0  # seconds that a copy for operators waits behind replies to users


class GroupPace:
    """One bot's messages to the group: at most so many a minute, first come, first served.

    A message to the group also waits while replies to users are under way, since Telegram's limit of a bot
    counts both, and the user comes first; but not for ever, or a busy desk would not hear of new users.

    Args:
        per_minute: how many.
    """

    def __init__(self, per_minute: Callable[[], int]) -> None:
        self._per_minute = per_minute
        self._sent: deque[float] = deque()
        self._turn = trio.Lock()
        self._replies = 0
        self._replied = trio.Event()

    @contextmanager
    def replying(self) -> Iterator[None]:
        """Inside, a reply to a user is under way."""
        self._replies += 1
        try:
            yield
        finally:
            self._replies -= 1
            if not self._replies:
                self._replied.set()
                self._replied = trio.Event()

    async def wait(self, messages: int = 1) -> None:
        """Return when so many messages may go to the group; they count as sent."""
        async with self._turn:
            with trio.move_on_after(LONGEST_YIELD):
                while self._replies:
                    await self._replied.wait()
            limit = self._per_minute()
            count = min(messages, limit)
            while (pause := self._pause(count, limit)) > 0:  # noqa: ASYNC110 - for a time, not for an event
                await trio.sleep(pause)
            self._sent.extend([trio.current_time()] * count)

    def _pause(self, count: int, limit: int) -> float:
        now = trio.current_time()
        while self._sent and self._sent[0] <= now - MINUTE:
            self._sent.popleft()
        over = len(self._sent) + count - limit
        return 0.0 if over <= 0 else max(self._sent[over - 1] + MINUTE - now, math.ulp(now))


class Flood:
    """How many messages of each user were shown in the last minute."""

    def __init__(self) -> None:
        self._shown: dict[Place, deque[float]] = {}
        self._told: dict[Place, float] = {}

    def admits(self, place: Place, limit: int, now: float) -> bool:
        """Whether another message of this user may be shown; it counts as shown then."""
        shown = self._shown.setdefault(place, deque())
        while shown and shown[0] <= now - MINUTE:
            shown.popleft()
        if len(shown) >= limit:
            return False
        shown.append(now)
        return True

    def is_news(self, place: Place, now: float) -> bool:
        """Whether operators are to be told of the flood; once a minute."""
        if now < self._told.get(place, -math.inf) + MINUTE:
            return False
        self._told[place] = now
        return True

    def forget(self, place: Place) -> None:
        """The dialog has gone back to the bot."""
        self._shown.pop(place, None)
        self._told.pop(place, None)
