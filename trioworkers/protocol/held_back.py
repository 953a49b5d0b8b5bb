"""What is held back for a moment, as it is most often not wanted any more then.

It is looked at at the end of each turn of the loop: no task has to be woken for it, and none keeps its time.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, Generic, Protocol, TypeVar

import trio

from trioworkers.awake import AwakeClock
from trioworkers.protocol.channel import before_writes

HOLD = 0.02  # seconds


class Reports(Protocol):
    """Who holds something back, and can report it."""

    def report(self) -> None:
        """Report it; it is held no more. It must not raise."""


One = TypeVar("One", bound=Reports)


class HeldBack(Generic[One]):
    """All that is held back in this process.

    Args:
        clock: the loop's; it lets the loop turn once every `HOLD` seconds while something is held.
    """

    def __init__(self, clock: AwakeClock) -> None:
        self._clock = clock
        self._usual_tick = clock.tick
        self._held: dict[One, float] = {}  # with when each began, the first one first
        before_writes(self._look)

    def add(self, one: One, began: float) -> None:
        """Look after what is held from now on; `began`: of `time.perf_counter`."""
        if not self._held:
            self._clock.tick = HOLD
        self._held[one] = began

    def discard(self, one: One) -> None:
        """It is held no more."""
        self._held.pop(one, None)
        if not self._held:  # not at the end of the turn: how long the loop sleeps is decided before that
            self._clock.tick = self._usual_tick

    def _look(self) -> None:
        if not self._held:
            return
        due = perf_counter() - HOLD
        if next(iter(self._held.values())) <= due:
            for one in [one for one, began in self._held.items() if began <= due]:
                one.report()


def held_back() -> HeldBack[Any] | None:
    """Make one for the loop that runs; None: its clock does not turn it in time, so nothing is held back."""
    clock = trio.lowlevel.current_clock()
    return HeldBack(clock) if isinstance(clock, AwakeClock) else None
