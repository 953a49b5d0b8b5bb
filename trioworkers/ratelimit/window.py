"""Counts what was sent within the last moments. Pure.

A server that counts messages by their arrival does so at a time that nobody here knows: after the request
was let go, and before its answer came. So a message counts from when it was let go, and until a whole span
after its answer. Then no span at the server can hold more messages than the limit, whatever the network
does. A request that is still under way after `LATE` seconds (a large file goes up) counts no longer, and
again from its answer on: else a few slow uploads would stop everything.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

LATE = 5.0  # seconds


class Window:
    """At most so many messages in any span of this length. Times are seconds of one monotonic clock.

    Args:
        most: messages, at least 1.
        span: seconds.
    """

    __slots__ = ("_ended", "_open", "_used", "most", "span")

    def __init__(self, most: int, span: float) -> None:
        self.most = most
        self.span = span
        self._ended: deque[tuple[float, int]] = deque()  # when, how many
        self._open: dict[Hashable, tuple[float, int]] = {}  # what is under way, the oldest first
        self._used = 0  # messages of both

    @classmethod
    def of_rate(cls, rate: float, per: float = 1.0) -> Window:
        """A window that lets through `rate` messages in `per` seconds: 2.5 in a second are 2 in 0.8 s."""
        most = max(1, math.floor(rate))
        return cls(most, per * most / rate)

    def resize(self, other: Window) -> None:
        """Have the limit of another window from now on; what was sent still counts."""
        self.most, self.span = other.most, other.span

    def room_at(self, now: float, count: int) -> float:
        """When so many messages may be let go: `now`, or the earliest time at which that may have changed.

        More messages than the limit (an album) may go when nothing else counts.
        """
        self._forget(now)
        fits = self.most - min(count, self.most)
        if self._used <= fits:
            return now
        surplus = self._used - fits
        first_open = next(iter(self._open.values()), None)
        soonest = math.inf if first_open is None else first_open[0] + LATE
        for at, messages in self._ended:
            if at + self.span >= soonest:
                break
            surplus -= messages
            if surplus <= 0:
                return at + self.span
        return soonest if soonest < math.inf else self._ended[-1][0] + self.span

    def begin(self, ticket: Hashable, now: float, count: int) -> None:
        """Messages were let go."""
        self._open[ticket] = now, count
        self._used += count

    def end(self, ticket: Hashable, now: float, count: int) -> None:
        """Their request is over."""
        if self._open.pop(ticket, None) is None:
            self._used += count
        self._ended.append((now, count))

    def _forget(self, now: float) -> None:
        while self._ended and self._ended[0][0] + self.span <= now:
            self._used -= self._ended.popleft()[1]
        while self._open:
            ticket, (at, count) = next(iter(self._open.items()))
            if at + LATE > now:
                break
            del self._open[ticket]
            self._used -= count
