"""Wrong attempts: how late they are answered, and what is not judged at all."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trioworkers.web.attempts import AT_ONCE, FORGET, MOST_ADDRESSES, MOST_HELD, Attempts, Verdict, delay


class Judge:
    """Attempts whose right answer is `right`; what was reported, and how many were judged."""

    def __init__(self) -> None:
        self.ends = trio.Event()
        self.reported: list[tuple[str, str]] = []
        self.judged = 0
        self.attempts = Attempts(
            self.ends, lambda source, what: self.reported.append((source, what)), trio.current_time
        )

    async def __call__(self, given: str, source: str = "10.0.0.1") -> Verdict:
        return await self.attempts.judge(source, "wrong token", lambda: self._is_right(given))

    def _is_right(self, given: str) -> bool:
        self.judged += 1
        return given == "right"


def test_the_delay_doubles_up_to_a_limit() -> None:
    """From a tenth of a second to two, also after a very large number."""
    assert [delay(number) for number in (1, 2, 3, 5)] == [0.1, 0.2, 0.4, 1.6]
    assert delay(6) == delay(10**6) == 2.0


async def test_each_wrong_attempt_is_answered_later(autojump_clock: trio.abc.Clock) -> None:
    """From one address; another address begins anew. Each is reported with where it came from."""
    judge = Judge()
    for number in range(1, 8):
        began = trio.current_time()
        assert await judge("guess") == "wrong"
        assert trio.current_time() - began == pytest.approx(delay(number))
    began = trio.current_time()
    assert await judge("guess", "10.0.0.2") == "wrong"
    assert trio.current_time() - began == pytest.approx(delay(1))
    assert judge.reported == [("10.0.0.1", "wrong token")] * 7 + [("10.0.0.2", "wrong token")]


async def test_the_right_one_is_never_delayed(autojump_clock: trio.abc.Clock) -> None:
    """Not even after many wrong ones from its address: a script with an old token locks nobody out."""
    judge = Judge()
    for _ in range(20):
        await judge("guess")
    began = trio.current_time()
    assert await judge("right") == "right"
    assert trio.current_time() == began


async def test_parallel_attempts_are_not_judged(autojump_clock: trio.abc.Clock) -> None:
    """While enough answers to an address are held back; then nothing is compared, the right one neither."""
    judge = Judge()
    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(judge, "guess")
        await wait_all_tasks_blocked()
        assert await judge("right") == "not judged"
        assert judge.judged == AT_ONCE
        assert await judge("right", "10.0.0.2") == "right"
    assert await judge("right") == "right"


async def test_few_answers_are_held_for_all_addresses(autojump_clock: trio.abc.Clock) -> None:
    """Each holds a connection of the listener."""
    judge = Judge()
    async with trio.open_nursery() as nursery:
        for number in range(MOST_HELD):
            nursery.start_soon(judge, "guess", f"10.0.1.{number}")
        await wait_all_tasks_blocked()
        assert await judge("guess", "10.0.2.1") == "not judged"
        assert judge.judged == MOST_HELD


async def test_an_ipv6_network_is_one_address(autojump_clock: trio.abc.Clock) -> None:
    """Who has one address of it has 2^64; an IPv4 address in IPv6 clothes is that IPv4 address."""
    judge = Judge()
    for number in range(1, 5):
        await judge("guess", f"2001:db8:1:2::{number:x}")
    began = trio.current_time()
    await judge("guess", "2001:db8:1:2:ffff::1")
    assert trio.current_time() - began == pytest.approx(delay(5))
    await judge("guess", "::ffff:10.0.0.9")
    began = trio.current_time()
    await judge("guess", "10.0.0.9")
    assert trio.current_time() - began == pytest.approx(delay(2))


async def test_an_address_is_forgotten_in_time(autojump_clock: trio.abc.Clock) -> None:
    """After ten minutes without a wrong attempt."""
    judge = Judge()
    for _ in range(6):
        await judge("guess")
    await trio.sleep(FORGET)
    began = trio.current_time()
    await judge("guess")
    assert trio.current_time() - began == pytest.approx(delay(1))


async def test_few_addresses_are_remembered(autojump_clock: trio.abc.Clock) -> None:
    """However many there are, memory is bounded."""
    judge = Judge()
    for number in range(MOST_ADDRESSES + 50):
        await judge("guess", f"10.1.{number // 256}.{number % 256}")
        if number > MOST_ADDRESSES:
            assert len(judge.attempts._addresses) == MOST_ADDRESSES


async def test_a_stop_waits_for_no_delay(autojump_clock: trio.abc.Clock) -> None:
    """What is held is answered at once; and what guesses on meanwhile is not judged for long."""
    judge = Judge()
    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(judge, "guess")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        judge.ends.set()
    assert trio.current_time() == began
    assert await judge("guess") == "not judged"
    assert await judge("right", "10.0.0.2") == "right"
