"""Each minute one line of what came of the fleet's updates: counts since the last one, not totals."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import trio

from trioworkers.awake import next_beat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trioworkers.inbox.tally import Tally

TICK = 1.0  # seconds between two looks at the interval, which may change


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted from the first start on, all bots together; `states`: how many bots are in each."""

    accepted: int
    done: int
    dropped: int
    expired: int
    retried: int
    dead: int
    restarts: int
    states: Mapping[str, int]

    def since(self, before: Figures) -> Figures | None:
        """The counts since `before`; None when nothing happened, no bot's state included.

        A bot that was removed takes its counts along: what is missing counts as nothing.
        """
        if self == before:
            return None
        names = [field.name for field in fields(self) if field.name != "states"]
        return replace(self, **{name: max(0, getattr(self, name) - getattr(before, name)) for name in names})


def figures(states: Iterable[str], restarts: int, tallies: Iterable[Tally]) -> Figures:
    """Add up the bots' states and tallies; the rows of the status document would cost many times that."""
    tallies = list(tallies)
    return Figures(
        accepted=sum(tally.accepted for tally in tallies),
        done=sum(tally.done for tally in tallies),
        dropped=sum(tally.dropped for tally in tallies),
        expired=sum(tally.expired for tally in tallies),
        retried=sum(tally.retried for tally in tallies),
        dead=sum(tally.dead for tally in tallies),
        restarts=restarts,
        states=Counter(states),
    )


async def serve_summary(
    look: Callable[[], Figures], interval: Callable[[], float], emit: Callable[[Figures], None]
) -> None:
    """Tell what has happened, each `interval` (seconds, read anew each second) in which something has.

    Cancelling it tells the rest.
    """
    before = look()
    try:
        while True:
            began = trio.current_time()
            while (left := began + interval() - trio.current_time()) > 0:  # noqa: ASYNC110 - it may change
                await trio.sleep_until(min(trio.current_time() + left, next_beat(TICK)))
            before, last = look(), before
            _emit(before.since(last), emit)
    finally:
        _emit(look().since(before), emit)


def _emit(since: Figures | None, emit: Callable[[Figures], None]) -> None:
    if since is not None:
        emit(since)
