"""When a plugin is switched off is a pure decision."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioworkers.plugins.breaker import MOST_FAILURES, WINDOW, Breaker


def test_repeated_failures_open_it():
    """The last of so many within the window does, and only that one says so."""
    breaker = Breaker()
    assert [breaker.fail(float(at)) for at in range(MOST_FAILURES + 1)] == [False] * 4 + [True, False]
    assert breaker.is_open
    assert breaker.reason == "5 failures within 4 s"


def test_failures_at_once_came_within_a_second():
    """Nobody reads that five of them came within 0 s."""
    breaker = Breaker()
    assert [breaker.fail(7.0 + at / 100) for at in range(MOST_FAILURES)][-1]
    assert breaker.reason == "5 failures within 1 s"


def test_rare_failures_do_not():
    """Failures that lie further apart are forgiven."""
    breaker = Breaker()
    apart = WINDOW / (MOST_FAILURES - 1) + 1
    assert not any(breaker.fail(apart * number) for number in range(100))


def test_it_opens_at_once_when_told_and_closes_on_a_reset():
    """Only the first reason counts; a reset forgets the failures before it."""
    breaker = Breaker()
    assert breaker.open("it held the loop")
    assert not breaker.open("again")
    assert breaker.reason == "it held the loop"
    breaker.reset()
    assert not breaker.is_open
    assert not any(breaker.fail(float(at)) for at in range(MOST_FAILURES - 1))
    breaker.reset()
    assert not any(breaker.fail(float(at)) for at in range(MOST_FAILURES - 1))


@given(st.lists(st.floats(0, 5000), max_size=60).map(sorted))
def test_it_is_open_exactly_after_so_many_failures_in_one_window(times):
    """Against the definition: some five failures in a row lie within the window."""
    breaker = Breaker()
    for at in times:
        breaker.fail(at)
    rows = zip(times, times[MOST_FAILURES - 1 :], strict=False)
    assert breaker.is_open == any(last - first <= WINDOW for first, last in rows)
