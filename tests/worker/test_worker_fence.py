"""A worker that is told to cut deliveries off: what it answers, and when."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from test_worker_process import Daemon, deliver  # type: ignore[import-not-found] # it lies beside

from trioworkers.protocol.frames import Called, Calling, Fence, Fenced, Outcome


@pytest.fixture
async def daemon(nursery):
    daemon = Daemon(nursery)
    yield daemon
    nursery.cancel_scope.cancel()
    daemon.channel.close()
    daemon.theirs.close()


def ends(daemon: Any) -> list[Any]:
    """What the worker said about ends and fences, in order."""
    return [
        ("fenced", frame.number) if isinstance(frame, Fenced) else (frame.result, frame.delivery)
        for frame in daemon.frames
        if isinstance(frame, Outcome | Fenced)
    ]


async def test_the_named_deliveries_end_before_the_answer_and_no_other_one(daemon, autojump_clock):
    """So the daemon has put all of them back when it hears that the fence is done."""

    async def handle(update, bot):
        await trio.sleep(8)

    daemon.start(handle, *[deliver(number) for number in (1, 2, 3)])
    await trio.sleep(1)
    daemon.channel.send(Fence(7, [1, 3, 99]))
    await trio.sleep(1)
    assert sorted(ends(daemon)[:2]) == [("fenced", 1), ("fenced", 3)]
    assert ends(daemon)[2:] == [("fenced", 7)]
    await daemon.end()
    assert ends(daemon)[3:] == [("done", 2)]


async def test_a_fence_that_comes_with_its_delivery_finds_it(daemon, autojump_clock):
    """The handler does not even begin."""
    begun: list[int] = []

    async def handle(update, bot):
        begun.append(update.update_id)

    daemon.start(handle, deliver(1), Fence(7, [1]), deliver(2))
    await trio.sleep(1)
    assert sorted(ends(daemon)) == [("done", 2), ("fenced", 1), ("fenced", 7)]
    assert begun == [2]


async def test_a_fence_for_what_has_ended_is_answered(daemon, autojump_clock):
    """Its outcome may be on its way while the daemon asks."""

    async def handle(update, bot): ...

    daemon.start(handle, deliver(1))
    await trio.sleep(1)
    daemon.channel.send(Fence(7, [1]))
    await trio.sleep(1)
    assert ends(daemon) == [("done", 1), ("fenced", 7)]


async def test_a_handler_that_swallows_its_cancellation_keeps_the_answer_back(daemon, autojump_clock):
    """Other deliveries and other fences go on."""

    async def handle(update, bot):
        if update.text != "stubborn":
            await trio.sleep(30)
        try:
            await trio.sleep(30)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(20)

    daemon.start(handle, deliver(1, "stubborn"), deliver(2))
    await trio.sleep(1)
    daemon.channel.send(Fence(1, [1]))
    daemon.channel.send(Fence(2, [2]))
    await trio.sleep(10)
    assert ends(daemon) == [("fenced", 2), ("fenced", 2)]
    await trio.sleep(15)
    assert ends(daemon)[2:] == [("fenced", 1), ("fenced", 1)]


async def test_calls_are_reported_up_to_the_fence(daemon, autojump_clock):
    """Those that were made stay recorded, for whoever has the update next."""

    async def handle(update, bot):
        await bot.wait(seconds=0)
        await trio.sleep(5)
        await bot.wait(seconds=0)

    daemon.start(handle, msgspec.structs.replace(deliver(1), calls=[]))
    await trio.sleep(1)
    daemon.channel.send(Fence(7, [1]))
    await trio.sleep(10)
    kinds = [type(frame) for frame in daemon.frames if not isinstance(frame, Outcome | Fenced)]
    assert kinds[2:4] == [Calling, Called]
    assert Calling not in kinds[4:]
    assert ends(daemon) == [("fenced", 1), ("fenced", 7)]
