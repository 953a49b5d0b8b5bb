"""When a failed update comes again, and when never: properties of the pure policy."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.inbox.policy import (
    MOST_CRASHES,
    Again,
    Never,
    after_crash,
    after_failure,
    backoff,
    in_time,
    is_query,
    is_urgent,
)

seconds = st.floats(0, 1e9)
NOW = 1_700_000_000.0


@dataclass(frozen=True)
class Limits:
    attempts: int = 8
    initial: float = 1.0
    factor: float = 2.0
    max: float = 60.0
    deadline: float = 600.0


class Most(Random):
    """Chance at its worst: the whole of what may be waited."""

    def uniform(self, a, b):
        return b


@given(
    attempt=st.integers(1, 10**9),
    initial=seconds,
    factor=st.floats(1, 1e6),
    ceiling=seconds,
    rng=st.randoms(use_true_random=False),
)
def test_a_back_off_is_between_nothing_and_its_bounds(attempt, initial, factor, ceiling, rng):
    """Never negative, never above the ceiling, nor above the first step the first time; no overflow."""
    pause = backoff(attempt, initial=initial, factor=factor, ceiling=ceiling, rng=rng)
    assert 0 <= pause <= ceiling
    if attempt == 1:
        assert pause <= initial


def test_the_bound_doubles_up_to_the_ceiling():
    """1, 2, 4, … 60, 60: full jitter is drawn below these."""
    pauses = [backoff(n, initial=1.0, factor=2.0, ceiling=60.0, rng=Most()) for n in (1, 2, 3, 6, 7, 9999)]
    assert pauses == [1, 2, 4, 32, 60, 60]


def test_jitter_uses_the_whole_range():
    """A thousand failures of one cause come back spread, not at one moment."""
    rng = Random(1)
    pauses = [backoff(4, initial=1.0, factor=2.0, ceiling=60.0, rng=rng) for _ in range(1000)]
    assert min(pauses) < 0.2
    assert max(pauses) > 7.8
    assert 3.6 < sum(pauses) / 1000 < 4.4


@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.floats(0, 1000),
    st.one_of(st.none(), st.floats(-1e6, 1e6)),
    st.randoms(use_true_random=False),
)
def test_again_is_within_attempts_and_deadline(handled, attempts, age, wait, rng):
    """Again means: attempts are left, not in the past, and not past the deadline since the first handling."""
    limits = Limits(attempts=attempts)
    verdict = after_failure(handled, NOW - age, NOW, limits, rng, wait=wait)
    if isinstance(verdict, Again):
        assert handled < attempts
        assert NOW <= verdict.due <= NOW - age + limits.deadline
        if wait is not None:
            assert verdict.due == NOW + max(0.0, wait)
    else:
        assert handled >= attempts or age + max(wait or 0.0, 0.0) + 60 > limits.deadline


@pytest.mark.parametrize(("handled", "verdict"), [(7, Again(NOW)), (8, Never("failed 8 times"))])
def test_the_last_attempt_is_the_last(handled, verdict):
    """Eight attempts are eight handlings, not nine."""
    assert after_failure(handled, NOW, NOW, Limits(), Random(1), wait=0.0) == verdict


@pytest.mark.parametrize("wait", [600.0, 600.5])
def test_the_deadline_counts_from_the_first_handling(wait):
    """Exactly at it is in time; half a second later is dead, and says why."""
    verdict = after_failure(1, NOW, NOW, Limits(), Random(1), wait=wait)
    assert verdict == (Again(NOW + 600) if wait == 600 else Never("failed 1 times, past its deadline"))


def test_a_wait_that_was_asked_for_replaces_the_back_off():
    """Also a negative one, which is now."""
    assert after_failure(1, NOW, NOW, Limits(), Most(), wait=7.5) == Again(NOW + 7.5)
    assert after_failure(1, NOW, NOW, Limits(), Most(), wait=-3.0) == Again(NOW)
    assert after_failure(3, NOW, NOW, Limits(), Most()) == Again(NOW + 4)


@pytest.mark.parametrize("wait", [float("inf"), 1e308])
def test_a_wait_without_end_is_dead(wait):
    """It could never come in time."""
    assert isinstance(after_failure(1, NOW, NOW, Limits(), Random(1), wait=wait), Never)


@pytest.mark.parametrize(
    ("due", "asked", "expected"),
    [
        (102.0, False, Again(102.0)),
        (160.0, False, Again(105.0)),
        (109.0, True, Again(109.0)),
        (110.0, True, Never("failed, too late for an answer")),
        (160.0, True, Never("failed, too late for an answer")),
    ],
)
def test_a_failed_query_comes_again_before_it_is_too_late(due, asked, expected):
    """After half of the time that is left at most; what was asked for is kept, or is too long."""
    assert in_time(Again(due), 100.0, 110.0, asked=asked) == expected


@pytest.mark.parametrize("now", [110.0, 111.0])
@pytest.mark.parametrize("asked", [False, True])
def test_a_query_whose_time_is_over_does_not_come_again(now, asked):
    """Whatever the back-off is."""
    too_late = Never("failed, too late for an answer")
    assert in_time(Again(now), now, 110.0, asked=asked) == too_late
    assert in_time(Again(now + 60), now, 110.0, asked=asked) == too_late


def test_a_query_that_is_dead_for_another_reason_keeps_it():
    """Time has no say in it."""
    dead = Never("failed 8 times")
    assert in_time(dead, 100.0, 110.0, asked=False) is dead


@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_what_ended_a_worker_comes_again_after_a_back_off_a_few_times(crashes, rng):
    """Never earlier than now; the last time it is dead."""
    limits = Limits(max=3.0)
    verdict = after_crash(crashes, 100.0, limits, rng)
    if crashes < MOST_CRASHES:
        assert isinstance(verdict, Again)
        assert 100.0 <= verdict.due <= 100.0 + min(3, 2 ** (crashes - 1))
    else:
        assert verdict == Never(f"its worker died {crashes} times")


@pytest.mark.parametrize(
    ("key", "urgent", "own"),
    [
        ("pre_checkout_query/5", True, True),
        ("chat_join_request/5", True, True),
        ("shipping_query/5", False, True),
        ("inline_query/5", False, True),
        ("5", False, False),
        ("", False, False),
    ],
)
def test_a_key_says_how_soon_an_answer_is_due(key, urgent, own):
    """Ten seconds are urgent; no query waits for another one."""
    assert is_urgent(key) is urgent
    assert is_query(key) is own
