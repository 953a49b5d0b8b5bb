"""What becomes of an update: by its past, how its handling ended, the limits and the clock."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from trioworkers.config.settings import RetrySettings
from trioworkers.inbox.policy import MOST_CRASHES
from trioworkers.inbox.settle import (
    ENDED,
    SHORTEST_WAIT,
    DeadLettered,
    Finished,
    Lost,
    Moment,
    Rescheduled,
    judge_before,
    settle,
)
from trioworkers.protocol.frames import Outcome
from trioworkers.records import Waiting

NOW = 1_700_000_000.0
UPDATE = Waiting(1, 7, 1, "5", b"{}", NOW - 3)


class Limits:
    def __init__(self, on_failure: str = "block", **retry: Any) -> None:
        self.on_failure = on_failure
        self.retry = RetrySettings(**{"initial": 1, "max": 1, **retry})


def settled(end, update=UPDATE, limits=None, handed_at=NOW - 1):
    return settle(update, end, limits or Limits(), Moment(handed_at, NOW, random.Random(1)))


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        ("done", Finished("done")),
        ("drop", Finished("dropped")),
        ("dead", DeadLettered("no use", 1, "the handler said so", "the handler said so")),
    ],
)
def test_a_handler_has_the_last_word(result, verdict):
    """Done, dropped and dead are what it says; its own words are for the dead letter, not for logs."""
    assert settled(Outcome(1, result, error="the handler said so", words="no use")) == verdict


def test_a_dead_letter_without_words_has_the_error_for_its_reason():
    """Telegram's refusal, for one."""
    refusal = "sendMessage: 403 Forbidden"
    verdict = settled(Outcome(1, "dead", error=refusal), replace(UPDATE, attempt=2))
    assert verdict == DeadLettered(refusal, 3, refusal, refusal)


def test_a_failure_is_tried_again_within_its_bounds():
    """The attempt counts, the first handling is remembered, a suspect is cleared."""
    verdict = settled(Outcome(1, "retry", error="E"), replace(UPDATE, suspect=True, crashes=1))
    assert isinstance(verdict, Rescheduled)
    assert NOW <= verdict.update.due <= NOW + 1
    assert verdict == Rescheduled(
        replace(UPDATE, attempt=1, due=verdict.update.due, started_at=NOW - 1, crashes=1), "E"
    )


def test_what_the_handler_asks_for_stands_for_the_back_off():
    """From now on, and bounded by attempts and deadline all the same."""
    verdict = settled(Outcome(1, "retry", after=20.0), limits=Limits(max=60))
    assert isinstance(verdict, Rescheduled)
    assert verdict.update.due == NOW + 20
    late = settled(Outcome(1, "retry", after=20.0, error="E"), limits=Limits(deadline=10))
    reason = "failed 1 times, past its deadline, last: E"
    assert late == DeadLettered(reason, 1, reason, "E")


@pytest.mark.parametrize("after", [None, 0.0, 30.0])
def test_a_wait_of_telegrams_counts_as_no_attempt(after):
    """It moves the deadline along, and is never nothing."""
    wait = after or SHORTEST_WAIT
    began = NOW - 100
    verdict = settled(
        Outcome(1, "retry", after=after, counted=False), replace(UPDATE, started_at=began, attempt=4)
    )
    assert verdict == Rescheduled(
        replace(UPDATE, attempt=4, due=NOW + wait, started_at=began + wait), "", counted=False
    )


def test_on_failure_skip_lets_the_chat_go_on():
    """Once skipped it stays so, whatever the settings become."""
    verdict = settled(Outcome(1, "retry"), limits=Limits("skip"))
    assert isinstance(verdict, Rescheduled)
    assert verdict.update.skipped
    again = settled(Outcome(1, "retry"), verdict.update)
    assert isinstance(again, Rescheduled)
    assert again.update.skipped


def test_an_update_whose_worker_ended_among_others_is_only_a_suspect():
    """It is handled alone, at once; the crash does not count against it yet."""
    assert settled(Lost(alone=False)) == Rescheduled(
        replace(UPDATE, attempt=1, suspect=True, started_at=NOW - 1), ENDED
    )


def test_an_update_that_ends_workers_alone_is_dead_in_the_end():
    """After as many as are allowed; until then it stays a suspect."""
    update = replace(UPDATE, suspect=True)
    for crashes in range(1, MOST_CRASHES):
        verdict = settled(Lost(alone=True), update)
        assert isinstance(verdict, Rescheduled)
        assert (verdict.update.crashes, verdict.update.suspect) == (crashes, True)
        update = verdict.update
    verdict = settled(Lost(alone=True), update)
    assert isinstance(verdict, DeadLettered)
    assert verdict.reason == f"its worker died {MOST_CRASHES} times, last: {ENDED}"


@pytest.mark.parametrize(
    ("update", "verdict"),
    [
        (UPDATE, None),
        (replace(UPDATE, damaged=True, attempt=2), DeadLettered("damaged on disk", 2, "damaged on disk")),
        (replace(UPDATE, kind="inline_query", accepted_at=NOW - 31), Finished("expired")),
        (replace(UPDATE, kind="inline_query", accepted_at=NOW - 29), None),
        (replace(UPDATE, accepted_at=NOW - 1e6), None),
    ],
)
def test_what_is_damaged_or_too_old_is_not_handled(update, verdict):
    """A message never is too old."""
    assert judge_before(update, NOW) == verdict


@given(
    result=st.sampled_from(["done", "drop", "dead", "retry", "lost", "lost alone"]),
    attempt=st.integers(0, 20),
    crashes=st.integers(0, 5),
    attempts=st.integers(1, 10),
    counted=st.booleans(),
    after=st.none() | st.floats(0, 1e5),
)
def test_every_end_leads_somewhere_and_none_goes_back(result, attempt, crashes, attempts, counted, after):
    """An update ends, or comes again with as many attempts or one more, and within its bounds."""
    update = replace(UPDATE, attempt=attempt, crashes=crashes, suspect=result == "lost alone")
    end = (
        Lost(result == "lost alone") if "lost" in result else Outcome(1, result, after=after, counted=counted)
    )
    verdict = settled(end, update, Limits(attempts=attempts))
    if isinstance(verdict, Rescheduled):
        again = verdict.update
        assert again.attempt == attempt + verdict.counted
        assert again.due >= NOW or again.suspect
        assert again.crashes in (crashes, crashes + 1)
        if result == "retry" and verdict.counted:
            assert again.attempt < attempts
    else:
        assert isinstance(verdict, Finished | DeadLettered)
