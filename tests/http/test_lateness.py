"""One task ends the exchanges of a loop that are late, and outlives what goes wrong with one of them."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import httpx
import pytest
import trio

from trioworkers.http import pool
from trioworkers.http.lateness import lateness
from trioworkers.http.pool import ExchangeLimits, Http1Pool, _Exchange


class Exchange:
    """Notes when it was told that it is late, and with which error it was ended."""

    def __init__(self, seconds):
        self.deadline = trio.current_time() + seconds
        self.told = []
        self.failures = []

    def late(self):
        self.told.append(trio.current_time())

    def fail(self, error):
        self.failures.append(error)


class Broken(Exchange):
    """Raises when it is told that it is late."""

    def late(self):
        super().late()
        raise ZeroDivisionError


async def test_each_is_told_at_its_deadline(autojump_clock):
    """Also one that comes later and is over earlier; each once."""
    began = trio.current_time()
    slow, quick = Exchange(70), Exchange(3)
    lateness().begin(slow)
    await trio.sleep(1)
    lateness().begin(quick)
    await trio.sleep(200)
    assert (quick.told, slow.told) == ([began + 3], [began + 70])


async def test_a_deadline_may_move_and_who_has_ended_is_left_alone(autojump_clock):
    """The task finds out when it wakes."""
    began = trio.current_time()
    moved, ended = Exchange(5), Exchange(5)
    for one in (moved, ended):
        lateness().begin(one)
    await trio.sleep(4)
    moved.deadline += 10
    lateness().end(ended)
    lateness().end(ended)
    await trio.sleep(200)
    assert (moved.told, ended.told) == ([began + 15], [])


async def test_one_looks_after_all_of_a_loop(autojump_clock):
    """So that a thousand exchanges are one task."""
    began = trio.current_time()
    assert lateness() is lateness()
    exchanges = [Exchange(seconds) for seconds in (3, 1, 2)]
    for one in exchanges:
        lateness().begin(one)
    await trio.sleep(2.5)
    assert [one.told for one in exchanges] == [[], [began + 1], [began + 2]]


async def test_an_error_of_one_is_its_own_and_the_others_are_looked_after_in_the_same_round(autojump_clock):
    """Each is told once, whichever raises."""
    began = trio.current_time()
    exchanges = [kind(3) for kind in (Exchange, Broken, Exchange, Broken)]
    for one in exchanges:
        lateness().begin(one)
    later = Exchange(5)
    lateness().begin(later)
    await trio.sleep(200)
    assert [one.told for one in exchanges] == [[began + 3]] * 4
    failures = [[type(error) for error in one.failures] for one in exchanges]
    assert failures == [[], [ZeroDivisionError], [], [ZeroDivisionError]]
    assert later.told == [began + 5]


@dataclass
class Server:
    """A server that answers when it is told to, and how many requests it got; each ends with a full stop."""

    answers: trio.Event
    requests: int = 0

    async def handle(self, stream):
        with suppress(trio.BrokenResourceError):  # its client gave it up
            while data := await stream.receive_some():
                if not data.endswith(b"."):
                    continue
                self.requests += 1
                await self.answers.wait()
                await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")


async def until(condition):
    """Wait for it under a real deadline, while the mock clock stands still."""
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        await trio.lowlevel.checkpoint()


LIMITS = ExchangeLimits(connect=9, silence=9, total=9, body=9)


@pytest.mark.parametrize("while_sending", [False, True])
async def test_an_exchange_that_cannot_be_ended_fails_alone(mock_clock, monkeypatch, nursery, while_sending):
    """Its caller gets the error; another times out in the same round; a third, and the loop, go on."""
    servers = [Server(trio.Event()) for _ in range(3)]
    pools = []
    for server in servers:
        (listener,) = await nursery.start(partial(trio.serve_tcp, server.handle, 0, host="127.0.0.1"))
        pools.append(Http1Pool("127.0.0.1", listener.socket.getsockname()[1], None, connections=1))
    outcomes = {}
    broken = []
    first = replace(LIMITS, silence=5)

    class Stubborn(_Exchange):
        """An exchange that cannot be ended, if it is the first pool's."""

        def __init__(self, connection, limits, watch):
            super().__init__(connection, limits, watch)
            self.is_broken = limits is first

        def late(self):
            if self.is_broken:
                broken.append(self)
                raise ZeroDivisionError
            super().late()

    monkeypatch.setattr(pool, "_Exchange", Stubborn)

    async def exchange(number, limits):
        try:
            request, rest = (b"x", [b"."]) if while_sending else (b".", ())
            outcomes[number] = (await pools[number].exchange(request, limits, rest)).status
        except (ZeroDivisionError, httpx.ReadTimeout) as error:
            outcomes[number] = type(error)

    async with trio.open_nursery() as exchanges:
        for number, limits in enumerate((first, LIMITS, replace(LIMITS, silence=90, total=90))):
            exchanges.start_soon(exchange, number, limits)
        await until(lambda: all(server.requests for server in servers))
        mock_clock.jump(10)
        await until(lambda: len(outcomes) == 2)
        assert outcomes == {0: ZeroDivisionError, 1: httpx.ReadTimeout}
        assert len(broken) == 1
        servers[2].answers.set()
    assert outcomes[2] == 204
    assert [len(one._idle) for one in pools] == [0, 0, 1]  # what failed was closed
    servers[1].answers.set()
    assert (await pools[1].exchange(b".", LIMITS)).status == 204
    servers[2].answers = trio.Event()
    async with trio.open_nursery() as exchanges:
        exchanges.start_soon(exchange, 2, LIMITS)
        await until(lambda: servers[2].requests == 2)
        mock_clock.jump(10)
        await until(lambda: outcomes[2] != 204)
    assert outcomes[2] is httpx.ReadTimeout
    for one in pools:
        one.close()
    nursery.cancel_scope.cancel()
