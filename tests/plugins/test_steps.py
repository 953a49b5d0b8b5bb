"""A coroutine that is run in steps behaves as one that is awaited."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import trio

from trioworkers.plugins.steps import in_steps


class Steps:
    """Counts stretches, and says whether one is running."""

    def __init__(self):
        self.count = 0
        self.is_inside = False

    @contextmanager
    def __call__(self):
        self.count += 1
        self.is_inside = True
        try:
            yield
        finally:
            self.is_inside = False


async def test_each_stretch_between_two_waits_is_surrounded(autojump_clock):
    """While it waits, it is outside."""
    steps = Steps()
    seen = []

    async def look():
        await trio.sleep(0.5)
        seen.append(steps.is_inside)

    async def work(number):
        for _ in range(number):
            seen.append(steps.is_inside)
            await trio.sleep(1)
        return number

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        assert await in_steps(work(2), steps) == 2
    assert seen == [True, False, True]
    assert steps.count == 3
    assert not steps.is_inside


async def test_what_it_raises_goes_through():
    """From any stretch."""
    steps = Steps()

    async def fail():
        await trio.lowlevel.checkpoint()
        raise KeyError("x")

    with pytest.raises(KeyError):
        await in_steps(fail(), steps)
    assert not steps.is_inside


async def test_cancellation_reaches_it(autojump_clock):
    """It may clean up, which takes further steps."""
    told = []

    async def work():
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            told.append("clean")
            raise

    with trio.move_on_after(1) as scope:
        await in_steps(work(), Steps())
    assert scope.cancelled_caught
    assert told == ["clean"]
    assert trio.current_time() == 2
