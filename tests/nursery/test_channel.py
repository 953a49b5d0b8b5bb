"""The channel between daemon and worker: what leaves together, who waits for what, and how it ends."""

from __future__ import annotations

import socket
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import Deliver, Drain, FromWorker, Heartbeat, Outcome, ToWorker

BIG = Deliver(1, 0, False, msgspec.Raw(b'"' + b"x" * 8_000_000 + b'"'))


class Counted:
    """A socket that notes how long each write was."""

    def __init__(self, end):
        self._end = end
        self.writes = []

    def send(self, data):
        self.writes.append(len(data))
        return self._end.send(data)

    def __getattr__(self, name):
        return getattr(self._end, name)


@pytest.fixture
async def pair():
    """Both ends; what is written on the first is counted."""
    ours, theirs = socket.socketpair()
    counted: Any = Counted(ours)
    ends = Channel(counted, FromWorker | ToWorker), Channel(theirs, FromWorker | ToWorker), counted.writes
    yield ends
    for end in ends[:2]:
        end.close()


async def test_frames_of_one_turn_leave_in_one_write(pair, nursery):
    """Batching is what makes them cheap."""
    sender, receiver, writes = pair
    nursery.start_soon(sender.serve_writes)
    await trio.testing.wait_all_tasks_blocked()
    for number in range(50):
        sender.send(Heartbeat(number))
    await trio.testing.wait_all_tasks_blocked()
    assert len(writes) == 1
    sender.send(Drain())
    await trio.testing.wait_all_tasks_blocked()
    assert len(writes) == 2
    assert await receiver.receive() == [*[Heartbeat(number) for number in range(50)], Drain()]
    nursery.cancel_scope.cancel()


async def test_what_is_in_a_hurry_leaves_before_the_turn_ends(pair, nursery):
    """With what was sent before it; what follows leaves at the end, and nothing twice."""
    sender, receiver, writes = pair
    nursery.start_soon(sender.serve_writes)
    await trio.testing.wait_all_tasks_blocked()
    sender.hurry()
    assert writes == []
    sender.send(Heartbeat(1))
    sender.send(Heartbeat(2))
    sender.hurry()
    assert (len(writes), sender.left) == (1, sender.sent)
    sender.hurry()
    sender.send(Drain())
    await trio.testing.wait_all_tasks_blocked()
    assert len(writes) == 2
    assert await receiver.receive() == [Heartbeat(1), Heartbeat(2), Drain()]
    nursery.cancel_scope.cancel()


async def test_what_is_in_a_hurry_does_not_overtake_what_is_being_written(pair, nursery):
    """The system takes no more at the moment: all of it leaves in order, once it does."""
    sender, receiver, _ = pair
    nursery.start_soon(sender.serve_writes)
    sender.send(BIG)
    await trio.testing.wait_all_tasks_blocked()
    sender.send(Drain())
    sender.hurry()
    frames: list[Any] = []
    while len(frames) < 2:
        frames += await receiver.receive()
    assert frames == [BIG, Drain()]
    nursery.cancel_scope.cancel()


async def test_what_is_in_a_hurry_for_nobody_breaks_nothing(pair, nursery):
    """The other side is gone: whoever reads hears of it."""
    sender, receiver, _ = pair
    nursery.start_soon(sender.serve_writes)
    receiver.close()
    sender.send(Drain())
    sender.hurry()
    assert await sender.receive() == []
    nursery.cancel_scope.cancel()


async def test_whoever_writes_ends_when_it_is_closed(pair, nursery):
    """A worker's end waits for it."""
    sender, _, _ = pair
    with trio.fail_after(5):
        async with trio.open_nursery() as writers:
            writers.start_soon(sender.serve_writes)
            await trio.testing.wait_all_tasks_blocked()
            sender.close()


async def test_waiting_until_it_is_sent_shares_a_write_with_its_turn_of_the_loop(pair, nursery):
    """Twenty tasks that send and wait leave in one write; what was written is there to be read."""
    sender, receiver, writes = pair
    nursery.start_soon(sender.serve_writes)
    await trio.testing.wait_all_tasks_blocked()

    async def say():
        sender.send(Drain())
        await sender.wait_sent()

    async with trio.open_nursery() as sayers:
        for _ in range(20):
            sayers.start_soon(say)
    assert len(writes) == 1
    await sender.wait_sent()
    assert len(await receiver.receive()) == 20
    nursery.cancel_scope.cancel()


async def test_waiting_until_it_is_sent_waits_for_a_reader_that_is_slow(pair, nursery):
    """Not for what others send later."""
    sender, receiver, _ = pair
    nursery.start_soon(sender.serve_writes)
    sender.send(BIG)
    waited = []

    async def wait():
        await sender.wait_sent()
        waited.append(True)
        sender.send(BIG)  # which nobody reads

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert waited == []
    with trio.fail_after(10):
        assert await receiver.receive() == [BIG]
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert waited == [True]
    nursery.cancel_scope.cancel()


async def test_who_is_alone_writes_at_once(pair, nursery):
    """In the same turn of the loop; and when the system takes no more, the rest leaves all the same."""
    sender, receiver, writes = pair
    sender.send(Drain())
    await sender.wait_sent(at_once=True)
    sender.send(Drain())
    await sender.wait_sent(at_once=True)
    assert len(writes) == 2
    assert await receiver.receive() == [Drain(), Drain()]
    nursery.start_soon(sender.serve_writes)
    sender.send(BIG)
    with trio.fail_after(10):
        assert await receiver.receive() == [BIG]
    nursery.cancel_scope.cancel()


async def test_what_was_sent_last_may_be_taken_back(pair, nursery):
    """Until it has left, or something else was sent after it."""
    sender, receiver, writes = pair
    first = sender.send(Heartbeat(1))
    sender.take_back(sender.send(Heartbeat(2)))
    sender.send(Heartbeat(3))
    sender.take_back(first)
    await sender.wait_sent()
    sender.take_back(first)
    sender.take_back(sender.send(Heartbeat(4)))
    await sender.wait_sent()
    await trio.lowlevel.checkpoint()
    assert len(writes) == 1
    assert await receiver.receive() == [Heartbeat(1), Heartbeat(3)]


async def test_what_was_put_leaves_also_when_its_sender_is_cancelled(pair, nursery):
    """It was said; what comes after it may not be."""
    sender, receiver, _ = pair
    nursery.start_soon(sender.serve_writes)
    await trio.testing.wait_all_tasks_blocked()
    with trio.CancelScope() as scope:
        scope.cancel()
        sender.send(Drain())
        await sender.wait_sent()
    assert scope.cancelled_caught
    with trio.fail_after(5):
        assert await receiver.receive() == [Drain()]
    nursery.cancel_scope.cancel()


async def test_flush_waits_for_what_is_being_written(pair, nursery):
    """A worker that ends after it must not cut a frame in two, nor write across another task."""
    sender, receiver, _ = pair
    got: list[Any] = []

    async def read():
        while frames := await receiver.receive():
            got.extend(frames)

    with trio.fail_after(10):
        async with trio.open_nursery() as writers:
            writers.start_soon(sender.serve_writes)
            sender.send(BIG)
            await trio.testing.wait_all_tasks_blocked(0.01)  # the pipe is full, nobody reads yet
            nursery.start_soon(read)
            await sender.flush()
            sender.send(Heartbeat(1))
            await sender.flush()
            writers.cancel_scope.cancel()
        sender.close()
        while len(got) < 2:  # noqa: ASYNC110 - what the reader has read
            await trio.sleep(0.001)
    assert got == [BIG, Heartbeat(1)]


async def test_a_write_that_is_cancelled_cuts_no_frame_in_two(pair, nursery):
    """The next one goes on where it was."""
    sender, receiver, _ = pair
    sender.send(BIG)
    with trio.move_on_after(0.01) as scope:
        await sender.flush()
    assert scope.cancelled_caught
    sender.send(Heartbeat(1))
    nursery.start_soon(sender.flush)
    got: list[Any] = []
    with trio.fail_after(10):
        while len(got) < 2:
            got += await receiver.receive()
    assert got == [BIG, Heartbeat(1)]


@pytest.mark.parametrize("turn", range(6))
async def test_two_tasks_may_flush_in_the_same_turn(pair, nursery, turn):
    """The last outcome of a drained worker comes while the one before it is being written."""
    sender, receiver, _ = pair
    nursery.start_soon(sender.serve_writes)
    await trio.testing.wait_all_tasks_blocked()
    sender.send(Outcome(1, "done"))
    for _ in range(turn):
        await trio.lowlevel.checkpoint()
    sender.send(Outcome(2, "done"))
    await sender.flush()
    sender.close()
    got: list[Any] = []
    while frames := await receiver.receive():
        got += frames
    assert got == [Outcome(1, "done"), Outcome(2, "done")]
    nursery.cancel_scope.cancel()


async def test_the_other_side_that_vanishes_is_an_end(pair):
    """Reading sees it as an end, the writing task ends, flush says so."""
    sender, receiver, _ = pair
    receiver.close()
    assert await sender.receive() == []
    sender.send(Drain())
    with trio.fail_after(5):
        await sender.serve_writes()
    sender.send(Drain())
    with pytest.raises(trio.BrokenResourceError):
        await sender.flush()


async def test_waiting_until_it_is_sent_ends_when_the_other_side_is_gone(pair, nursery):
    """Whoever waits then, and whoever comes later, hears that it did not leave."""
    sender, receiver, _ = pair
    nursery.start_soon(sender.serve_writes)
    sender.send(BIG)
    waiting = []

    async def wait():
        with pytest.raises(trio.BrokenResourceError):
            await sender.wait_sent()
        waiting.append(True)

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked(0.01)
    receiver.close()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert waiting == [True]
    for _ in range(2):
        sender.send(Drain())
        with pytest.raises(trio.BrokenResourceError):
            await sender.wait_sent()


async def test_closing_it_ends_whoever_reads_and_writes(pair, nursery):
    """Also those that wait at this moment, or have nothing to write; and it may be closed twice."""
    sender, receiver, _ = pair
    ended = []

    async def read():
        assert await sender.receive() == []
        ended.append("read")

    async def write():
        sender.send(BIG)
        await sender.serve_writes()
        ended.append("write")

    async def idle():
        await receiver.serve_writes()
        ended.append("idle")

    for task in (read, write, idle):
        nursery.start_soon(task)
    await trio.testing.wait_all_tasks_blocked(0.01)
    sender.close()
    sender.close()
    receiver.close()
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(ended) == ["idle", "read", "write"]
    assert await sender.receive() == []
