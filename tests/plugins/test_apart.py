"""A plugin's async function, awaited in a task of its own."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trioworkers.plugins.apart import call_apart
from trioworkers.plugins.errors import LeakError


async def test_what_it_returns_and_raises_is_the_callers(autojump_clock):
    """The exception itself, not a group; `sys.exit` too."""

    async def function(value):
        if isinstance(value, BaseException):
            raise value
        return value

    assert await call_apart(function, {"value": 5}, 1) == 5
    for error in (ValueError(), RuntimeError(), SystemExit(3)):
        with pytest.raises(type(error)) as caught:
            await call_apart(function, {"value": error}, 1)
        assert caught.value is error


async def test_what_is_late_is_ended(autojump_clock):
    """After its seconds; an outer cancellation stays what it is."""
    with pytest.raises(trio.TooSlowError):
        await call_apart(trio.sleep, {"seconds": 10}, 2)
    assert trio.current_time() == 2
    with trio.move_on_after(1) as scope:
        await call_apart(trio.sleep, {"seconds": 10}, 5)
    assert scope.cancelled_caught
    assert trio.current_time() == 3


async def test_a_nursery_that_is_left_open_ends_with_the_call(autojump_clock):
    """It is an error, its tasks are cancelled, and the caller's own scopes work as before."""
    ended = []

    async def forever():
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async def leaks():
        nursery = await trio.open_nursery().__aenter__()
        nursery.start_soon(forever)
        await trio.sleep(1)

    with trio.move_on_after(20):
        for _ in range(3):
            with pytest.raises(LeakError):
                await call_apart(leaks, {}, 5)
        await trio.testing.wait_all_tasks_blocked()
        assert ended == [1, 2, 3]
        await trio.sleep(100)
    assert trio.current_time() == 20
