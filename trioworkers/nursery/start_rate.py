"""A rate for all bots of a fleet: of starts of workers, and of registrations of webhooks."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TICK = 0.01  # seconds


def never() -> bool:
    """Say that a start is not urgent."""
    return False


@dataclass(slots=True, eq=False)
class _Turn:
    """`has_come`: it may go. `wake`: it has come, or its holder is the first now. `is_urgent`: asked then."""

    is_urgent: Callable[[], bool]
    has_come: bool = False
    wake: trio.Event = field(default_factory=trio.Event)


class StartRate:
    """Lets starts through at a rate, the urgent first. `rate`: starts per second, read each time.

    The rate is kept by a schedule, not by a pause at each start: those that are due within a `TICK` go at
    once, since a thousand sleeps of half a millisecond each take twice as long. And they go together: one
    after the other each would take a turn of a loop that is busy with the starts before it.
    """

    def __init__(self, rate: Callable[[], float]) -> None:
        self._rate = rate
        self._queue: deque[_Turn] = deque()
        self._due = -math.inf

    async def wait(self, is_urgent: Callable[[], bool] = never) -> None:
        """Wait for the next turn. The first in the queue keeps the time for those behind it.

        First come, first served, but for those that are urgent when a turn is given away: they go before.
        """
        await trio.lowlevel.checkpoint()
        turn = _Turn(is_urgent)
        self._queue.append(turn)
        try:
            if self._queue[0] is not turn:
                await turn.wake.wait()
            while not turn.has_come:
                self._let_go()
                if not turn.has_come:
                    await trio.sleep_until(self._due)
        finally:
            if not turn.has_come:
                self._queue.remove(turn)
            if self._queue:
                self._queue[0].wake.set()

    def _let_go(self) -> None:
        """Let all go whose turn has come."""
        now = trio.current_time()
        if self._due - now > TICK:
            return
        urgent = deque(turn for turn in self._queue if turn.is_urgent())
        while self._queue and self._due - now <= TICK:
            self._due = max(self._due, now) + 1 / self._rate()
            turn = urgent.popleft() if urgent else self._queue[0]
            self._queue.remove(turn)
            turn.has_come = True
            turn.wake.set()


class FirstStart:
    """Lets the first start through at one rate, and all that follow at another.

    Args:
        first: the rate of the first one.
        others: waits for the turn of each other.
    """

    def __init__(self, first: StartRate, others: Callable[[Callable[[], bool]], Awaitable[None]]) -> None:
        self._first: StartRate | None = first
        self._others = others

    async def __call__(self, is_urgent: Callable[[], bool] = never) -> None:
        """Wait for the turn of the next start, as :meth:`StartRate.wait`."""
        if self._first is None:
            await self._others(is_urgent)
            return
        first, self._first = self._first, None
        await first.wait(is_urgent)
