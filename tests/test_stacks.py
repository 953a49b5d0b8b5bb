"""Where tasks stand, as QUIT tells it."""

from __future__ import annotations

import trio
import trio.testing

from trioworkers.stacks import INNERMOST, task_stacks


async def waits_for(secret: str) -> None:
    await trio.sleep_forever()


async def digs(depth: int) -> None:
    if depth:
        await digs(depth - 1)
    else:
        await trio.sleep_forever()


async def test_tasks_that_stand_alike_are_told_once(nursery: trio.Nursery) -> None:
    """With their number, their places from the innermost on, and no values."""
    for _ in range(3):
        nursery.start_soon(waits_for, "a secret")
    await trio.testing.wait_all_tasks_blocked()
    told = task_stacks()
    ((_, places, count),) = [row for row in told if "waits_for" in row[0]]
    assert count == 3
    assert places[0].endswith("sleep_forever")
    assert places[-1] == f"tests/test_stacks.py:{waits_for.__code__.co_firstlineno + 1} waits_for"
    assert "secret" not in str(told)
    assert all(places for _, places, _ in told), "trio's own tasks are left out"
    nursery.cancel_scope.cancel()


async def test_a_deep_stack_is_told_from_its_innermost_places(nursery: trio.Nursery) -> None:
    """As many as a line may hold."""
    nursery.start_soon(digs, 100)
    await trio.testing.wait_all_tasks_blocked()
    ((_, places, _),) = [row for row in task_stacks() if "digs" in row[0]]
    assert len(places) == INNERMOST
    assert "sleep_forever" in places[0]
    nursery.cancel_scope.cancel()
