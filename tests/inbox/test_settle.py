"""What becomes of an update: by its past, how its handling ended, the limits and the clock."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from trioworkers.arrivals import is_broken
from trioworkers.config.settings import RetrySettings
from trioworkers.inbox.policy import MOST_CRASHES
from trioworkers.inbox.settle import (
    BROKEN,
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


def test_a_failure_that_used_up_its_attempts_has_telegrams_words_in_the_dead_letter_only():
    """What is shown in logs is the failure's class and place."""
    end = Outcome(1, "retry", error="Conflict sendMessage 409", words="sendMessage: 409 Conflict: x")
    verdict = settled(end, replace(UPDATE, attempt=7))
    assert verdict == DeadLettered(
        "failed 8 times, last: sendMessage: 409 Conflict: x",
        8,
        "failed 8 times, last: Conflict sendMessage 409",
        "Conflict sendMessage 409",
    )


@pytest.mark.parametrize(
    ("took", "attempt", "longest"),
    [(2.0, 0, 1.0), (40.0, 0, 10.0), (40.0, 2, 40.0), (90.0, 3, 60.0)],
    ids=["short", "quarter", "grows", "max"],
)
def test_what_took_too_long_is_left_alone_for_longer(took, attempt, longest):
    """Its pauses begin at a quarter of the time that it took, and are no longer than the longest one."""

    class Most(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    limits = Limits(initial=1, max=60, deadline=600)
    update = replace(UPDATE, attempt=attempt, started_at=NOW - took)
    moment = Moment(NOW - took, NOW, Most())
    verdict = settle(update, Outcome(1, "retry", error="late", late=True), limits, moment)
    assert isinstance(verdict, Rescheduled)
    assert verdict.update.due == NOW + longest
    quick = settle(update, Outcome(1, "retry", error="E"), limits, moment)
    assert isinstance(quick, Rescheduled)
    assert quick.update.due == NOW + 2**attempt


def test_the_time_for_which_a_late_handling_stood_still_makes_no_pause_longer():
    """It waited for its turn to send, by the bot's own limit."""

    class Most(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    end = Outcome(1, "retry", error="late", late=True, stood=36.0)
    verdict = settle(UPDATE, end, Limits(max=60), Moment(NOW - 44, NOW, Most()))
    assert isinstance(verdict, Rescheduled)
    assert verdict.update.due == NOW + 2


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


@pytest.mark.parametrize("alone", [False, True])
def test_a_chat_goes_on_past_an_update_that_ended_its_worker(alone):
    """Where the settings say so, or where it is a query; and the way the worker ended is told."""
    lost = Lost(alone=alone, how="SIGKILL")
    for update, limits, skipped in ((UPDATE, "skip", True), (QUERY, "block", True), (UPDATE, "block", False)):
        verdict = settled(lost, update, Limits(limits))
        assert isinstance(verdict, Rescheduled)
        assert verdict.update.skipped is skipped
        assert verdict.error == f"{ENDED}: SIGKILL"


@pytest.mark.parametrize("end", [Outcome(1, "retry"), Lost(alone=False)])
def test_no_chat_goes_on_past_an_album(end):
    """Its other parts would be left behind, and be handled as an album of their own."""
    album = replace(UPDATE, parts=(replace(UPDATE, id=2, update_id=2),))
    for was in (False, True):
        verdict = settled(end, replace(album, skipped=was), Limits("skip"))
        assert isinstance(verdict, Rescheduled)
        assert verdict.update.skipped is was


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
        (replace(UPDATE, body=b'{"text":"\xff"}'), DeadLettered(BROKEN, 0, BROKEN)),
        (replace(UPDATE, body=b'{"n":1e999}', attempt=2), DeadLettered(BROKEN, 2, BROKEN)),
    ],
)
def test_what_is_damaged_or_too_old_is_not_handled(update, verdict):
    """A message never is too old."""
    assert judge_before(update, NOW, broken=is_broken(update)) == verdict


QUERY = replace(UPDATE, kind="pre_checkout_query", key="pre_checkout_query/5", accepted_at=NOW - 4)


@pytest.mark.parametrize("waited", [0.0, 4.0, 9.0])
def test_a_query_that_failed_is_tried_again_while_it_can_be_answered(waited):
    """After half of the time that is left at most, and beside its lane: others do not wait for it."""
    query = replace(QUERY, accepted_at=NOW - waited)
    verdict = settled(Outcome(1, "retry", error="E"), query, Limits(initial=60, max=60))
    assert isinstance(verdict, Rescheduled)
    assert verdict.update.due <= NOW + (10 - waited) / 2
    assert verdict.update.skipped


@pytest.mark.parametrize(("waited", "after"), [(10.0, None), (4.0, 6.5), (11.0, 0.0)])
def test_a_query_for_which_no_answer_can_be_in_time_is_dead(waited, after):
    """Its time is over, or the handler asked for a wait that ends after it."""
    query = replace(QUERY, accepted_at=NOW - waited)
    verdict = settled(Outcome(1, "retry", error="E", after=after), query)
    assert isinstance(verdict, DeadLettered)
    assert verdict.reason == "failed, too late for an answer, last: E"


def test_a_query_that_waits_for_telegram_holds_up_no_other_one():
    """A pause that Telegram asked for counts as no attempt, and is waited beside the lane."""
    verdict = settled(Outcome(1, "retry", error="429", after=3.0, counted=False), QUERY)
    assert isinstance(verdict, Rescheduled)
    assert (verdict.update.skipped, verdict.counted) == (True, False)
    waits = settled(Outcome(1, "retry", error="429", after=3.0, counted=False))
    assert isinstance(waits, Rescheduled)
    assert not waits.update.skipped


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


def test_time_for_which_the_daemon_did_not_run_is_not_the_handlers():
    """A frozen or suspended machine uses up no deadline; attempts count as ever."""
    update = replace(UPDATE, attempt=1, started_at=NOW - 3600)
    failure, limits = Outcome(1, "retry", error="E"), Limits(deadline=10)
    slept = Moment(NOW - 1, NOW, random.Random(1), away=3595)
    assert isinstance(settle(update, failure, limits, slept), Rescheduled)
    assert isinstance(settle(update, failure, limits, Moment(NOW - 1, NOW, random.Random(1))), DeadLettered)
    last = replace(update, attempt=limits.retry.attempts - 1)
    assert isinstance(settle(last, failure, limits, slept), DeadLettered)


def test_what_a_handling_waited_to_send_does_not_use_its_deadline_up():
    """Nine of ten minutes were waits for a turn, or for Telegram: it is tried again, with one minute gone."""
    limits = Limits(deadline=300)
    failed = Outcome(1, "retry", error="E")
    late = settled(failed, limits=limits, handed_at=NOW - 600)
    assert isinstance(late, DeadLettered)
    in_time = settled(replace(failed, stood=540.0), limits=limits, handed_at=NOW - 600)
    assert isinstance(in_time, Rescheduled)
    assert in_time.update.started_at == NOW - 60
    again = settled(
        replace(failed, stood=540.0), replace(UPDATE, started_at=NOW - 800, attempt=1), limits, NOW - 600
    )
    assert isinstance(again, Rescheduled)
    assert again.update.started_at == NOW - 260


def test_no_worker_puts_a_deadline_off_for_ever():
    """It cannot have waited longer than it had the update."""
    verdict = settled(
        Outcome(1, "retry", error="E", stood=1e6), limits=Limits(deadline=300), handed_at=NOW - 5
    )
    assert isinstance(verdict, Rescheduled)
    assert verdict.update.started_at == NOW


@pytest.mark.parametrize("handed_at", [NOW, NOW + 5])
def test_a_handling_that_took_no_time_puts_no_deadline_off(handed_at):
    """Nor one that began in the future, by a clock that was set back since."""
    verdict = settled(Outcome(1, "retry", error="E", stood=1e6), handed_at=handed_at)
    assert isinstance(verdict, Rescheduled)
    assert verdict.update.started_at == handed_at
