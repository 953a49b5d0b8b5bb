"""When a worker that ended is started again. Pure: time and chance are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trioworkers.inbox.policy import backoff

if TYPE_CHECKING:
    from random import Random


class RestartLimits(Protocol):
    """The `restart` table of a bot. Times are seconds."""

    @property
    def initial(self) -> float: ...
    @property
    def factor(self) -> float: ...
    @property
    def max(self) -> float: ...
    @property
    def healthy_after(self) -> float: ...


class RestartPolicy:
    """One bot's restarts: full-jitter back-off that starts anew after a healthy life."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._in_a_row = 0

    def next_start(self, lived: float, limits: RestartLimits) -> float:
        """Seconds until the next start of a worker that ended after `lived` seconds."""
        if lived >= limits.healthy_after:
            self._in_a_row = 0
        self._in_a_row += 1
        return backoff(
            self._in_a_row,
            initial=limits.initial,
            factor=limits.factor,
            ceiling=limits.max,
            chance=self._chance,
        )
