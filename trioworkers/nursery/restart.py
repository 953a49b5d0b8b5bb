"""When a worker that ended is started again. Pure: time and chance are given.

Crashes are followed by pauses that grow, and by none for good only while they are few: more than
`per_hour` within any hour spend the budget. Then the bot counts as failed, and a worker is tried now and
then, after pauses that grow; one that lives for `healthy_after` ends that.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from trioworkers.inbox.policy import backoff

if TYPE_CHECKING:
    from random import Random

HOUR = 3600.0  # seconds
FIRST_TRIAL, LONGEST_TRIAL = 300.0, 3600.0  # seconds from a spent budget to a trial, doubled each time


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
class NextStart:
    """Start again after `pause` seconds. `spent`: the budget is, and the bot failed until that trial."""

    pause: float
    spent: bool = False


class RestartPolicy:
    """One bot's restarts. Times are seconds of any clock that never goes back."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._crashes: deque[float] = deque()
        self._in_a_row = 0
        self._trials = 0

    def crashed(self, now: float, lived: float, limits: RestartLimits) -> NextStart:
        """A worker crashed at `now` after it had lived for `lived` seconds."""
        if lived >= limits.healthy_after:
            self._in_a_row = 0
            if self._trials:
                self.forgive()
        self._in_a_row += 1
        self._crashes.append(now)
        while self._crashes[0] <= now - HOUR:
            self._crashes.popleft()
        if self._trials or len(self._crashes) > limits.per_hour:
            pause = min(LONGEST_TRIAL, FIRST_TRIAL * 2**self._trials)
            self._trials += 1
            return NextStart(pause, spent=True)
        pause = backoff(
            self._in_a_row,
            initial=limits.initial,
            factor=limits.factor,
            ceiling=limits.max,
            rng=self._rng,
        )
        return NextStart(pause)

    def forgive(self) -> None:
        """Begin anew: somebody asked for a start, or the worker of a trial was healthy."""
        self._crashes.clear()
        self._in_a_row = self._trials = 0
