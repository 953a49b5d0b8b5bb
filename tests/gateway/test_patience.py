"""Waits on connections are ended together when they have lasted for too long."""

from __future__ import annotations

import socket
from math import inf

import pytest
import trio

from trioworkers.http.patience import LOOKS, Patience
from trioworkers.http.stream import Stream


@pytest.fixture
def pair():
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


async def test_a_wait_ends_soon_after_its_time(pair, autojump_clock):
    """By the error of a closed connection, which says that it was late; the connection itself is open."""
    patience, stream = Patience(), Stream(pair[0])
    patience.watch(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patience.serve)
        began = trio.current_time()
        stream.until = began + 300
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive()
        assert 300 <= trio.current_time() - began <= 300 + LOOKS
        nursery.cancel_scope.cancel()
    assert stream.is_late
    assert not stream.is_closed


async def test_a_wait_that_begins_again_when_it_was_to_end_is_ended_later(pair, autojump_clock):
    """As when a part of a TLS record has just come, which is nothing to be read."""
    patience, stream = Patience(), Stream(pair[0])
    patience.watch(stream)
    stream.until = trio.current_time() - 1
    patience.look()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patience.serve)
        with trio.fail_after(2 * LOOKS), pytest.raises(trio.ClosedResourceError):
            await stream.receive()
        nursery.cancel_scope.cancel()


async def test_what_comes_in_time_is_received(pair, autojump_clock):
    """And a wait without a time lasts."""
    patience, stream = Patience(), Stream(pair[0])
    patience.watch(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patience.serve)
        nursery.start_soon(trio.sleep, 10 * LOOKS)
        stream.until = trio.current_time() + 2 * LOOKS
        pair[1].send(b"x")
        assert await stream.receive() == b"x"
        stream.until = inf
        with trio.move_on_after(100 * LOOKS) as limit:
            await stream.receive()
        assert limit.cancelled_caught
        nursery.cancel_scope.cancel()
    assert not stream.is_late


async def test_a_connection_that_is_closed_is_forgotten(pair, autojump_clock):
    """With the next look."""
    patience, stream = Patience(), Stream(pair[0])
    patience.watch(stream)
    stream.until = trio.current_time() - 1
    stream.close()
    patience.look()
    assert not stream.is_late
    patience.look()
    assert patience.count == 0
