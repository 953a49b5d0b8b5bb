"""The restart budget of a bot: it decides when a worker that crashed is started again. Pure.

A crash is followed by a pause that grows with each crash in a row. More than `per_hour` crashes within any
hour spend the budget. The bot then counts as failed, and a trial worker is started now and then, after
pauses that grow; a trial that lives for `healthy_after` restores the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trioworkers.inbox.policy import longest_backoff

HOUR = 3600.0  # seconds
FIRST_TRIAL, LONGEST_TRIAL = 300.0, 3600.0  # seconds from a spent budget to a trial, doubled each time
STARVED = 5.0  # seconds, on average, until a worker or a bot is started again for which there was no room
MOST_DOUBLINGS = 10  # a bot may fail for years, and a float ends at 2 ** 1024


class RestartLimits(Protocol):
    """The `restart` table of a bot. Times are seconds."""

    @property
    def initial(self) -> float: ...
    @property
    def factor(self) -> float: ...
    @property
    def max(self) -> float: ...
    @property
    def per_hour(self) -> int: ...
    @property
    def healthy_after(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Crash:
    """A worker crashed at `at` (seconds of any clock that never goes back) after `lived` seconds.

    `draw` is a random number from 0 to 1: the part of the longest pause that is waited. `starved`: the system
    had no room for it (processes, memory, descriptors), which another bot may have used up.
    """

    at: float
    lived: float
    draw: float
    starved: bool = False


@dataclass(frozen=True, slots=True)
class NextStart:
    """The next start is due after `pause` seconds. `spent`: the budget is, and that start is a trial."""

    pause: float
    spent: bool = False


@dataclass(frozen=True, slots=True)
class RestartBudget:
    """The crashes of one bot as far as they count. A new one is a whole budget.

    Attributes:
        crashes: when the crashes of the last hour were.
        in_a_row: how many crashes there were since a worker was healthy.
        trials: how many trials were allowed since the budget was spent.
    """

    crashes: tuple[float, ...] = ()
    in_a_row: int = 0
    trials: int = 0

    def after(self, crash: Crash, limits: RestartLimits) -> tuple[RestartBudget, NextStart]:
        """Return what is left of the budget after a crash, and when the next start is due.

        A worker that was starved is no fault of its bot's, and uses up nothing.
        """
        before = self
        if crash.starved:
            return self, NextStart(STARVED * (0.5 + crash.draw), spent=False)
        if crash.lived >= limits.healthy_after:
            before = RestartBudget() if self.trials else RestartBudget(self.crashes)
        in_a_row = before.in_a_row + 1
        crashes = (*(at for at in before.crashes if at > crash.at - HOUR), crash.at)
        if before.trials or len(crashes) > limits.per_hour:
            pause = min(LONGEST_TRIAL, FIRST_TRIAL * 2 ** min(before.trials, MOST_DOUBLINGS))
            return RestartBudget(crashes, in_a_row, before.trials + 1), NextStart(pause, spent=True)
        longest = longest_backoff(in_a_row, initial=limits.initial, factor=limits.factor, ceiling=limits.max)
        return RestartBudget(crashes, in_a_row), NextStart(longest * crash.draw)


WHOLE_BUDGET = RestartBudget()
