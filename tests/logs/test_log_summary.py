"""What came of the fleet, each minute in which something did."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from trioworkers.inbox.tally import Tally
from trioworkers.logs.summary import Figures, figures, serve_summary

if TYPE_CHECKING:
    from trio.testing import MockClock

NOTHING = Figures(0, 0, 0, 0, 0, 0, 0, {"running": 2})


def test_figures_are_of_all_bots() -> None:
    """Tallies and restarts are added, states counted."""
    tally = Tally(accepted=10, done=4, dropped=1, expired=1, retried=5, dead=1)
    assert figures(["running", "failed"], 3, [tally, tally]) == Figures(
        20, 8, 2, 2, 10, 2, 3, {"running": 1, "failed": 1}
    )


def test_nothing_is_none() -> None:
    """Counts that stay as they are, and states, too."""
    assert NOTHING.since(replace(NOTHING)) is None


def test_counts_are_since_the_last_and_never_below_nothing() -> None:
    """A bot that was removed takes its counts along."""
    now = replace(NOTHING, accepted=5, done=1)
    since = now.since(replace(NOTHING, accepted=3, done=2))
    assert since is not None
    assert (since.accepted, since.done) == (2, 0)


def test_a_state_that_changed_is_something() -> None:
    """A bot that failed without an update."""
    assert replace(NOTHING, states={"running": 1, "failed": 1}).since(NOTHING) is not None


async def test_a_line_each_interval_in_which_something_happened(
    autojump_clock: MockClock,
) -> None:
    """None in a quiet one; the rest at the end; the interval is read anew."""
    now, interval = NOTHING, 60.0
    told: list[tuple[float, int]] = []

    def emit(since: Figures) -> None:
        told.append((trio.current_time(), since.done))

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_summary, lambda: now, lambda: interval, emit)
        await trio.sleep(30)
        now = replace(now, done=3)
        await trio.sleep(100)  # told at 60, nothing at 120
        now = replace(now, done=5)
        interval = 20.0
        await trio.sleep(11)  # 140 is over
        now = replace(now, done=6)
        nursery.cancel_scope.cancel()
    assert [(at - began, done) for at, done in told] == [(60, 3), (140, 2), (141, 1)]
