"""A clock that stands still while its process does not run.

A process is stopped by SIGSTOP, by the freezer of its cgroup (`docker pause`), or with the whole machine.
When it goes on, every deadline has passed: workers seem to hang, requests to be late, retries to have used
up their time. With this clock they have not: a sleep of the loop that took longer than it had asked for does
not count. Sleep is cut into short pieces for that, since a piece in which the process was stopped is not
counted at all.

A machine that was suspended (a laptop's lid) needs no such clock, as `CLOCK_MONOTONIC` stands still then;
that it was is found by `CLOCK_BOOTTIME`, which does not. Spans of Unix time ask :func:`away_between`.
"""

from __future__ import annotations

import os
import time
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import trio
import trio.abc

if TYPE_CHECKING:
    from collections.abc import Callable

LATE = 1.0  # seconds that a loop may be late on a busy machine
MOST_ABSENCES = 64  # that are remembered
LOOK_EVERY = 1.0  # seconds


class Absence(NamedTuple):
    """The process did not run for so many `seconds`, until `ended_at` (Unix seconds)."""

    ended_at: float
    seconds: float
    suspended: bool = False


def _suspended() -> float:
    """Seconds for which the machine has been suspended since it started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class AwakeClock(trio.abc.Clock):
    """Trio's clock for a loop in whose time a process that was stopped has not been away.

    Args:
        tick: the longest sleep in seconds; so much may not be counted besides an absence.
        counts_steps: whether a step of a task that takes longer than `LATE` counts. It does in a worker,
            where a handler may hold up the loop; not in the daemon, which hears nobody meanwhile.
        reading: seconds of a clock that goes on.
        unix: Unix seconds.
        suspended: seconds for which the machine has been suspended.

    Attributes:
        absences: the last ones, oldest first.
        count: how many there were.
        tick: as above; it may be changed at any time.
    """

    def __init__(
        self,
        *,
        tick: float,
        counts_steps: bool,
        reading: Callable[[], float] = time.perf_counter,
        unix: Callable[[], float] = time.time,
        suspended: Callable[[], float] = _suspended,
    ) -> None:
        self.absences: list[Absence] = []
        self.count = 0
        self.tick = tick
        self._slack = inf if counts_steps else 0.0
        self._reading, self._unix, self._suspended = reading, unix, suspended
        # as Trio's own: whoever compares it with another clock notices soon
        self._offset = 10_000.0 + os.getpid() % 190_000
        self._read_at = 0.0
        self._until = inf  # the reading by which it was to be read again
        self._suspended_before = 0.0

    def count_no_steps(self) -> None:
        """From now on a step of a task that takes longer than `LATE` does not count: somebody debugs."""
        self._slack = 0.0

    def start_clock(self) -> None:
        self._suspended_before = self._suspended()

    def current_time(self) -> float:
        now = self._reading()
        late = now - self._until
        if late > LATE:
            self._offset -= now - self._read_at  # all of the piece: when it was stopped, nobody knows
            self._note(late)
        self._read_at, self._until = now, now + self._slack
        return now + self._offset

    def deadline_to_sleep_time(self, deadline: float) -> float:
        now = self.current_time()
        seconds = deadline - now
        if seconds > self.tick:  # min and max would take three times as long, in each turn of the loop
            seconds = self.tick
        self._until = self._read_at + seconds if seconds > 0 else self._read_at
        return seconds

    def look(self) -> None:
        """Find out whether the machine was suspended since the last look."""
        suspended = self._suspended()
        seconds, self._suspended_before = suspended - self._suspended_before, suspended
        if seconds > LATE:
            self._note(seconds, suspended=True)

    def _note(self, seconds: float, *, suspended: bool = False) -> None:
        self.count += 1
        self.absences.append(Absence(self._unix(), seconds, suspended))
        del self.absences[:-MOST_ABSENCES]


def away_between(start: float, end: float) -> float:
    """Seconds for which this process did not run between two moments (Unix seconds).

    It is 0 on another clock, and where no loop runs.
    """
    if not trio.lowlevel.in_trio_run():
        return 0.0
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, AwakeClock) or not clock.absences:
        return 0.0
    # an absence may have begun before: what of it lies in between counts
    return sum(
        max(0.0, min(end, one.ended_at) - max(start, one.ended_at - one.seconds)) for one in clock.absences
    )


def next_beat(every: float) -> float:
    """The next multiple of `every` seconds, by Trio's clock.

    Whoever looks at something again and again sleeps until then: all wake together, so that an idle daemon
    wakes once a second, and not once for each of them.
    """
    return (trio.current_time() // every + 1) * every


async def serve_absences(report: Callable[[Absence], None]) -> None:
    """Call `report` with each absence of this process soon after it, until cancelled."""
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, AwakeClock):
        return
    reported = clock.count
    while True:
        clock.look()
        new = min(clock.count - reported, len(clock.absences))
        reported = clock.count
        for one in list(clock.absences)[len(clock.absences) - new :]:
            report(one)
        await trio.sleep_until(next_beat(LOOK_EVERY))
