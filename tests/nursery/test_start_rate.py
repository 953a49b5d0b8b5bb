"""The fleet's start rate, on Trio's clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trioworkers.nursery.start_rate import TICK, FirstStart, StartRate


@pytest.mark.parametrize("rate", [2, 50, 2000])
async def test_starts_keep_to_their_rate(autojump_clock, rate):
    """The first at once; none before its turn by more than a tick, none after it."""
    pace = StartRate(lambda: rate)
    began = trio.current_time()
    for number in range(500):
        await pace.wait()
        early = began + number / rate - trio.current_time()
        assert -1e-6 < early <= TICK + 1e-6


async def test_a_quiet_time_gives_no_credit(autojump_clock):
    """After an hour without starts the rate is the same."""
    pace = StartRate(lambda: 10)
    await pace.wait()
    await trio.sleep(3600)
    began = trio.current_time()
    for _ in range(11):
        await pace.wait()
    assert trio.current_time() - began == pytest.approx(1)


async def test_who_waits_at_once_goes_in_order_and_at_the_rate(nursery, autojump_clock):
    """The first keeps the time; a rate that changes meanwhile holds for those who wait."""
    rate, went = 10.0, []
    pace = StartRate(lambda: rate)

    async def go(number):
        await pace.wait()
        went.append((number, trio.current_time() - began))

    began = trio.current_time()
    for number in range(30):
        nursery.start_soon(go, number)
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(1.05 - (trio.current_time() - began))
    assert [number for number, _ in went] == list(range(11))
    rate = 1000.0
    await trio.sleep(0.2)
    assert sorted(went) == sorted(went, key=lambda one: (one[1], one[0]))  # in one turn in any order
    assert len(went) == 30


async def test_who_is_cancelled_leaves_its_turn_to_the_next(nursery, autojump_clock):
    """The first in the queue as well, which keeps the time for the others."""
    pace = StartRate(lambda: 1)
    await pace.wait()
    began, went, scopes = trio.current_time(), [], []

    async def go(number):
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await pace.wait()
            went.append((number, round(trio.current_time() - began)))

    for number in range(4):
        nursery.start_soon(go, number)
        await trio.testing.wait_all_tasks_blocked()
    scopes[0].cancel()
    scopes[2].cancel()
    await trio.sleep(5)
    assert went == [(1, 1), (3, 2)]


async def test_those_that_are_due_go_in_one_turn_of_the_loop(nursery, autojump_clock):
    """A loop that is busy with starts would let one through in each of its turns."""
    pace = StartRate(lambda: 2000)
    went: list[float] = []

    async def go():
        await pace.wait()
        went.append(trio.current_time())

    for _ in range(60):
        nursery.start_soon(go)
    await trio.sleep(1)
    assert len(went) == 60
    assert len(set(went)) <= 4


async def test_a_first_start_has_a_rate_of_its_own(autojump_clock):
    """A bot that was taken over need not wait for the fleet's rate; when it is restarted, it does."""
    takeovers, fleet = StartRate(lambda: 200), StartRate(lambda: 0.1)
    await fleet.wait()
    began = trio.current_time()
    bots = [FirstStart(takeovers, fleet.wait) for _ in range(100)]
    for bot in bots:
        await bot()
    assert trio.current_time() - began == pytest.approx(99 / 200, abs=2 * TICK)
    await bots[0]()
    assert trio.current_time() - began == pytest.approx(10)


async def test_urgent_starts_go_first(nursery, autojump_clock):
    """Those that are urgent when a turn is given away, also when they became so while they waited."""
    pace, went, urgent = StartRate(lambda: 1), [], {3}
    await pace.wait()

    async def go(number):
        await pace.wait(lambda: number in urgent)
        went.append(number)

    for number in range(6):
        nursery.start_soon(go, number)
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(1.5)
    urgent.add(5)
    await trio.sleep(10)
    assert went == [3, 5, 0, 1, 2, 4]


async def test_first_and_later_starts_may_be_urgent(nursery, autojump_clock):
    """At whichever rate they go."""
    first, rest = StartRate(lambda: 1), StartRate(lambda: 1)
    starts = {name: FirstStart(first, rest.wait) for name in ("other", "urgent")}
    went = []

    async def go(name):
        await starts[name](lambda: name == "urgent")
        went.append(name)

    for rate in (first, rest):
        await rate.wait()
        for name in starts:
            nursery.start_soon(go, name)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(5)
    assert went == ["urgent", "other"] * 2
