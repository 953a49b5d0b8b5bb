"""The fleet's places for workers."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from trioworkers.nursery.slots import WorkerSlots


class Sleeper:
    """A worker's life as far as places know it."""

    def __init__(self, places, idle_since):
        self.places, self.idle_since, self.why = places, idle_since, None
        places.may_sleep(self)

    def end(self, why):
        self.why = why
        self.places.gone(self)
        self.places.free()


@pytest.fixture
def limit():
    return [2]


@pytest.fixture
def places(limit):
    return WorkerSlots(lambda: limit[0])


async def test_who_comes_first_is_served_first(places, nursery, autojump_clock):
    """Two places, four who want one: the others wait in line, nobody overtakes."""
    got = []

    async def want(number):
        await places.take()
        got.append(number)

    for number in range(4):
        nursery.start_soon(want, number)
        await trio.testing.wait_all_tasks_blocked()
    assert got == [0, 1]
    assert places.full
    places.free()
    await trio.testing.wait_all_tasks_blocked()
    assert got == [0, 1, 2]
    places.free()
    await trio.testing.wait_all_tasks_blocked()
    assert got == [0, 1, 2, 3]
    places.free()
    assert not places.full


async def test_who_stops_waiting_loses_no_place(places, nursery, autojump_clock):
    """Those behind one that is cancelled are served as if it had never come."""
    await places.take()
    await places.take()
    with trio.move_on_after(1) as scope:
        await places.take()
    assert scope.cancelled_caught
    places.free()
    with trio.fail_after(1):
        await places.take()
    assert places.full


async def test_the_longest_idle_worker_gives_way(places, limit, autojump_clock):
    """Of three that may sleep: not the one that is busy, nor the one that has just become idle."""
    limit[0] = 3
    sessions = [Sleeper(places, since) for since in (9.0, 5.0, math.inf)]
    for _ in sessions:
        await places.take()
    with trio.fail_after(1):
        await places.take()
    assert [session.why for session in sessions] == [None, "sleeping", None]


async def test_a_higher_limit_lets_those_in_who_wait(places, limit, nursery, autojump_clock):
    """As a reload changes it."""
    await places.take()
    await places.take()
    nursery.start_soon(places.take)
    await trio.testing.wait_all_tasks_blocked()
    assert places.full
    assert places.spare == -1  # one is in line
    limit[0] = 4
    places.look_again()
    await trio.testing.wait_all_tasks_blocked()
    assert not places.full
    limit[0] = 1
    assert places.full


async def test_who_is_cancelled_while_it_takes_a_free_place_loses_none(places, limit, autojump_clock):
    """It got the place, and gives it back: the next one finds as many as before."""
    limit[0] = 1
    async with trio.open_nursery() as nursery:

        async def want(scope):
            with scope:
                await places.take()
                try:
                    await trio.sleep_forever()
                finally:
                    places.free()

        scope = trio.CancelScope()
        nursery.start_soon(want, scope)
        await trio.lowlevel.cancel_shielded_checkpoint()  # it has begun
        scope.cancel()
    assert not places.full


async def test_only_who_is_idle_and_still_there_is_asked_to_sleep(places, nursery, autojump_clock):
    """Not one that works, not one that has ended, nor one that was asked already, although idle longest."""
    limit_taken = [Sleeper(places, idle_since) for idle_since in (math.inf, 3.0)]
    gone, asked = Sleeper(places, 1.0), Sleeper(places, 2.0)
    places.gone(gone)
    asked.why = "sleeping"
    await places.take()
    await places.take()
    await places.take()
    assert [sleeper.why for sleeper in limit_taken] == [None, "sleeping"]
    assert gone.why is None
