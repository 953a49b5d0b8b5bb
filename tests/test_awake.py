"""The clock that stands still while its process does not run."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from trioworkers.awake import (
    LATE,
    LOOK_EVERY,
    MOST_ABSENCES,
    Absence,
    AwakeClock,
    away_between,
    next_beat,
    serve_absences,
)


class Times:
    """What the clock reads: it goes on as a test says."""

    def __init__(self) -> None:
        self.reading = 1000.0
        self.unix = 1_000_000.0
        self.suspended = 0.0

    def passes(self, seconds: float) -> None:
        self.reading += seconds
        self.unix += seconds

    def suspends(self, seconds: float) -> None:
        self.suspended += seconds
        self.unix += seconds

    def clock(self, *, tick: float = 0.5, counts_steps: bool = False) -> AwakeClock:
        clock = AwakeClock(
            tick=tick,
            counts_steps=counts_steps,
            reading=lambda: self.reading,
            unix=lambda: self.unix,
            suspended=lambda: self.suspended,
        )
        clock.start_clock()
        return clock


def test_a_sleep_that_is_as_long_as_it_was_to_be_counts() -> None:
    """In pieces of a tick at most; one may end early, and be a little late."""
    times = Times()
    clock = times.clock()
    began = clock.current_time()
    assert clock.deadline_to_sleep_time(began + 0.3) == pytest.approx(0.3)
    times.passes(0.1)
    assert clock.current_time() - began == pytest.approx(0.1)
    assert clock.deadline_to_sleep_time(began + 100) == 0.5
    times.passes(0.5 + LATE / 2)
    assert clock.current_time() - began == pytest.approx(0.6 + LATE / 2)
    assert clock.deadline_to_sleep_time(began) < 0
    assert not clock.absences


@pytest.mark.parametrize("counts_steps", [True, False])
def test_a_sleep_in_which_the_process_was_stopped_does_not_count(counts_steps: bool) -> None:
    """A deadline that was near is as near as it was: the loop reads first what came meanwhile."""
    times = Times()
    clock = times.clock(counts_steps=counts_steps)
    began = clock.current_time()
    clock.deadline_to_sleep_time(began + 0.2)
    times.passes(300)
    assert clock.current_time() == began
    assert clock.deadline_to_sleep_time(began + 0.2) == pytest.approx(0.2)
    (absence,) = clock.absences
    assert absence.ended_at == times.unix
    assert absence.seconds == pytest.approx(299.8)
    times.passes(0.2)
    assert clock.current_time() - began == pytest.approx(0.2)


def test_a_long_step_counts_in_a_worker_only() -> None:
    """A handler that blocks the loop has its time limit; a daemon whose loop is held up hears no worker."""
    times = Times()
    daemon, worker = times.clock(), times.clock(counts_steps=True)
    before = [clock.current_time() for clock in (daemon, worker)]
    times.passes(40)
    assert [clock.current_time() - at for clock, at in zip((daemon, worker), before, strict=True)] == [0, 40]
    assert not worker.absences


def test_a_suspension_is_found_by_a_look() -> None:
    """It moves no deadline: the kernel's clock stood still."""
    times = Times()
    clock = times.clock()
    began = clock.current_time()
    times.suspends(3600)
    clock.look()
    clock.look()
    assert clock.current_time() == began
    assert list(clock.absences) == [Absence(times.unix, 3600.0, suspended=True)]


def test_only_the_last_absences_are_kept() -> None:
    """A machine that is frozen each minute for a year does not fill the memory."""
    times = Times()
    clock = times.clock()
    for _ in range(2 * MOST_ABSENCES):
        clock.deadline_to_sleep_time(clock.current_time() + 1)
        times.passes(10)
        clock.current_time()
    assert (len(clock.absences), clock.count) == (MOST_ABSENCES, 2 * MOST_ABSENCES)


def test_what_of_an_absence_lies_in_a_span_is_taken_from_it() -> None:
    """As for the deadline of an update's retries, which is of Unix time."""

    async def main() -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, AwakeClock)
        assert away_between(0, 1000) == 0
        clock.absences.extend([Absence(100, 50), Absence(300, 100, suspended=True)])
        assert away_between(0, 1000) == 150
        assert away_between(80, 250) == 20 + 50
        assert away_between(100, 200) == 0

    trio.run(main, clock=AwakeClock(tick=0.5, counts_steps=False))


async def test_another_clock_knows_of_no_absence() -> None:
    """Tests run on others."""
    assert away_between(0, 1000) == 0
    await serve_absences(lambda one: None)


def test_each_absence_is_reported_once() -> None:
    """Those since the service began."""
    times = Times()
    clock = times.clock()
    found: list[Absence] = []

    async def main() -> None:
        clock.deadline_to_sleep_time(clock.current_time() + 1)
        times.passes(10)
        clock.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_absences, found.append)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                times.suspends(60)
                before = len(found)
                while len(found) == before:
                    times.passes(LOOK_EVERY / 2)
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=clock)
    assert [(one.seconds, one.suspended) for one in found] == [(60, True)] * 3


def test_it_is_a_clock_of_trios() -> None:
    """On a loop: sleeps are as long as they are to be, beyond a tick, too."""

    async def main() -> float:
        began = trio.current_time()
        await trio.sleep(0.05)
        return trio.current_time() - began

    before = time.monotonic()
    took = trio.run(main, clock=AwakeClock(tick=0.01, counts_steps=False))
    assert 0.05 <= took <= time.monotonic() - before


async def test_what_looks_each_second_wakes_together(autojump_clock: trio.testing.MockClock) -> None:
    """Whenever each of them began, the loop wakes once a second for all."""
    woken: list[list[float]] = [[], [], []]

    async def look(times: list[float]) -> None:
        for _ in range(5):
            await trio.sleep_until(next_beat(1.0))
            times.append(trio.current_time())

    autojump_clock.jump(0.05)
    async with trio.open_nursery() as nursery:
        for times in woken:
            nursery.start_soon(look, times)
            await trio.sleep(0.3)
    assert woken == [woken[0]] * 3
    assert [round(later - before, 6) for before, later in zip(woken[0], woken[0][1:], strict=False)] == [
        1
    ] * 4
