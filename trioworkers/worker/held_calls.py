"""Calls that a worker has marked in shared memory, and does not report to the daemon yet.

A report before each call costs the daemon a wake-up of 50 µs, and most handlings have ended before anybody
would need it. So it is held back: until the call is answered and the handling goes on, until the handling
makes another call, or for 20 ms, after which a loss of power should not make the call unknown.
"""

from __future__ import annotations

from typing import Protocol

import trio

from trioworkers.awake import AwakeClock
from trioworkers.call_marks import CallMarks
from trioworkers.protocol.held_back import HeldBack


class Reports(Protocol):
    """Who holds a call, and can report it."""

    def report(self) -> None:
        """Report it, with its answer if it has one; it is held no more."""

    def report_answer(self) -> None:
        """Report it if it is still held, and has its answer."""


class HeldCalls(HeldBack[Reports]):
    """All that are held in this worker, looked at at the end of each turn of its loop.

    Args:
        marks: where they are marked.
        clock: the loop's, see :class:`~trioworkers.protocol.held_back.HeldBack`.
    """

    def __init__(self, marks: CallMarks, clock: AwakeClock) -> None:
        self.marks = marks
        self._answered: list[Reports] = []
        super().__init__(clock)

    def answered(self, reports: Reports) -> None:
        """It has its answer: report it at the end of this turn, if the handling is not over by then."""
        self._answered.append(reports)

    def _look(self) -> None:
        if self._answered:
            for one in self._answered:
                one.report_answer()
            self._answered.clear()
        super()._look()


def hold_calls(path: str) -> HeldCalls | None:
    """Make a file for the marks of a worker's calls, and what holds calls back.

    None where there is no file to be made, or no room for it: each call is reported before it is made then.
    """
    clock = trio.lowlevel.current_clock()
    if not path or not isinstance(clock, AwakeClock):
        return None
    try:
        return HeldCalls(CallMarks(path), clock)
    except OSError:
        return None
