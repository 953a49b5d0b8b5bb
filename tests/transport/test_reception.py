"""Whether a bot's updates reach us: told by whoever polls, judged on a clock of the test's."""

from __future__ import annotations

from trioworkers.transport.reception import (
    BETTER,
    BRIEF,
    INBOX,
    NOT_REACHED,
    OTHER_POLLER,
    RATE,
    RETURNS,
    UNDELIVERED,
    Deafness,
    Reception,
    remedy_for,
)

BEGAN = 1_000_000.0


class Scene:
    """A reception, and its time."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.reception = Reception(lambda: self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds

    @property
    def deafness(self) -> Deafness | None:
        return self.reception.deafness()

    def fail(self, problem: str, took: float = 0.1, pause: float = 1.0) -> None:
        """One poll that fails, and the pause behind it."""
        self.reception.tries()
        self.passes(took)
        self.reception.failed(problem)
        self.passes(pause)


def test_what_has_told_nothing_is_well() -> None:
    """A bot that has just begun."""
    assert Scene().deafness is None


def test_polls_that_fail_are_told_after_a_while_with_the_time_of_the_first() -> None:
    """A passing trouble is nobody's business."""
    scene = Scene()
    scene.reception.failed("HTTP 502")
    scene.passes(BRIEF - 1)
    assert scene.deafness is None
    scene.fail("connection refused")
    assert scene.deafness == Deafness("connection refused", BEGAN)
    scene.reception.recovered()
    assert scene.deafness is None


def test_a_poll_that_waits_longer_than_the_one_that_failed_is_taken_to_be_heard() -> None:
    """A long poll answers only after its time, so that its success is known late."""
    scene = Scene()
    for _ in range(12):
        scene.fail("HTTP 502")
    scene.reception.tries()
    assert scene.deafness is not None
    scene.passes(BETTER + 1)
    assert scene.deafness is None
    scene.reception.failed("HTTP 502")
    assert scene.deafness == Deafness("HTTP 502", BEGAN + 0.1)


def test_polls_that_fail_by_waiting_stay_told() -> None:
    """Where nothing answers, each poll fails only after its time."""
    scene = Scene()
    scene.fail("no answer", took=60)
    scene.reception.tries()
    scene.passes(59)
    assert scene.deafness == Deafness("no answer", BEGAN + 60)


def test_one_conflict_is_no_other_poller() -> None:
    """It may have been the last poll of a daemon that has just ended."""
    scene = Scene()
    scene.reception.conflicted(OTHER_POLLER)
    scene.passes(60)
    assert scene.deafness is None


def test_another_poller_is_told_although_polls_succeed_now_and_then() -> None:
    """Both get updates: a success says nothing. It is gone when no conflict came for two minutes."""
    scene = Scene()
    for _ in range(5):
        scene.reception.conflicted(OTHER_POLLER)
        scene.passes(30)
        scene.reception.recovered()
        scene.passes(30)
    assert scene.deafness == Deafness(OTHER_POLLER, BEGAN)
    scene.passes(RETURNS)
    assert scene.deafness is None
    scene.reception.conflicted(OTHER_POLLER)
    assert scene.deafness is None, "a new one begins to count"


def test_a_webhook_that_is_not_reached_is_told_while_updates_wait() -> None:
    """Since the first error that Telegram told; an old error, or one with nothing waiting, says nothing."""
    scene = Scene()
    scene.reception.observed(0, BEGAN - 5, "Connection refused")
    assert scene.deafness is None
    scene.reception.observed(7, BEGAN - 5, "Connection refused")
    scene.passes(60)
    scene.reception.observed(9, BEGAN + 50, "Connection timed out")
    assert scene.deafness == Deafness(f"{NOT_REACHED}: Connection timed out", BEGAN - 5)
    scene.passes(UNDELIVERED)
    scene.reception.observed(9, BEGAN + 50, "Connection timed out")
    assert scene.deafness is None


def test_another_way_in_begins_anew() -> None:
    """What was wrong with the webhook is nothing to a bot that polls."""
    scene = Scene()
    scene.reception.observed(7, BEGAN, "")
    assert scene.deafness == Deafness(NOT_REACHED, BEGAN)
    scene.reception.left()
    assert scene.deafness is None


def test_what_to_do_is_said_for_every_problem() -> None:
    """By its beginning; what nobody foresaw is mostly the network."""
    said = {remedy_for(problem) for problem in (OTHER_POLLER, NOT_REACHED, INBOX, RATE, "HTTP 502", "x")}
    assert len(said) == 6
    assert remedy_for("HTTP 504") == remedy_for("HTTP 502")
    assert Deafness("x", 7.0).document() == {"problem": "x", "since": 7.0, "remedy": remedy_for("x")}
