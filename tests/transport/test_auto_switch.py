"""When `auto` leaves the webhook and when it returns: the thresholds that are promised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.transport.auto import AutoSwitch


@pytest.fixture
def switch() -> AutoSwitch:
    return AutoSwitch()


def leave(switch: AutoSwitch, now: float) -> None:
    for _ in range(3):
        switch.registration_failed(now)
    assert switch.polling


def test_the_third_failed_registration_is_the_last(switch):
    """In a row: one that succeeds begins the count anew."""
    assert switch.registration_failed(0) is None
    assert switch.registration_failed(10) is None
    switch.registered(20)
    assert switch.registration_failed(30) is None
    assert switch.registration_failed(40) is None
    assert switch.registration_failed(50) == "registration failed 3 times"
    assert switch.polling


def test_growth_for_a_minute_with_a_fresh_error(switch):
    """Growth alone is a busy bot, an error alone a passing one; both leave."""
    switch.registered(0)
    assert switch.observed(30, 5, 10) is None
    assert switch.observed(59, 6, 10) is None
    assert switch.observed(60, 7, 10) == "delivery errors while pending updates grew"


def test_growth_without_an_error_stays(switch):
    """However long."""
    switch.registered(0)
    assert all(switch.observed(now, now, None) is None for now in range(30, 3600, 30))
    assert all(switch.observed(now, now, 120) is None for now in range(3600, 7200, 30))
    assert switch.observed(7200, 7200, 119) is not None


def test_pending_that_comes_down_is_a_webhook_that_works(switch):
    """Growth begins anew after it."""
    switch.registered(0)
    assert switch.observed(30, 9, 1) is None
    assert switch.observed(60, 8, 1) is None
    assert switch.observed(90, 9, 1) is None
    assert switch.observed(119, 10, 1) is None
    assert switch.observed(120, 10, 1) is not None


def test_one_update_that_stays_is_growth_too(switch):
    """A quiet bot's only update must not wait for a second one."""
    switch.registered(0)
    assert switch.observed(30, 1, 1) is None
    assert switch.observed(60, 1, 1) is not None


def test_the_webhook_is_tried_again_after_doubled_times(switch):
    """Ten minutes, twenty, …, two hours at most."""
    now, pauses = 0.0, []
    for _ in range(7):
        leave(switch, now)
        pauses.append(switch.seconds_of_polling(now))
        now += pauses[-1]
        assert switch.seconds_of_polling(now) == 0
        switch.try_webhook()
        assert not switch.polling
    assert pauses == [600, 1200, 2400, 4800, 7200, 7200, 7200]


def test_a_webhook_that_held_begins_at_ten_minutes_again(switch):
    """Longer than polling had to go on before it; one that held for less goes on doubling."""
    leave(switch, 0)
    switch.try_webhook()
    switch.registered(600)
    leave(switch, 1200)
    assert switch.seconds_of_polling(1200) == 1200
    switch.try_webhook()
    switch.registered(2400)
    leave(switch, 3601)
    assert switch.seconds_of_polling(3601) == 600


EVENT = st.one_of(
    st.just(("failed",)),
    st.just(("registered",)),
    st.tuples(st.just("observed"), st.integers(0, 50), st.none() | st.integers(0, 300)),
)


@given(st.lists(st.tuples(st.integers(0, 700), EVENT)))
def test_it_leaves_only_for_one_of_the_two_reasons(steps):
    """Whatever happens when: a reason means polling, for ten minutes to two hours; none without cause."""
    switch, now = AutoSwitch(), 0.0
    failures = 0
    seen: list[tuple[float, int]] = []  # of this webhook, beginning with nothing pending
    for pause, event in steps:
        now += pause
        if switch.polling:
            if switch.seconds_of_polling(now):
                continue
            switch.try_webhook()
            failures, seen = 0, []
        if event[0] == "failed":
            failures += 1
            reason = switch.registration_failed(now)
            assert (reason is not None) == (failures == 3)
        elif event[0] == "registered":
            failures = 0
            seen = seen or [(now, 0)]
            switch.registered(now)
            reason = None
        else:
            reason = switch.observed(now, event[1], event[2])
            if seen:
                seen.append((now, event[1]))
            expected = bool(seen) and event[2] is not None and event[2] < 120 and grew_for_a_minute(seen)
            assert (reason is not None) == expected
        assert switch.polling == (reason is not None)
        if reason is not None:
            assert 600 <= switch.seconds_of_polling(now) <= 7200


def grew_for_a_minute(seen: list[tuple[float, int]]) -> bool:
    """Whether some sample at least a minute old is less than the last, and none in between came down."""
    latest = len(seen) - 1
    start = latest
    while start > 0 and seen[start - 1][1] <= seen[start][1]:
        start -= 1
    values = [pending for _, pending in seen[start:]]
    rises = [start + index for index in range(len(values) - 1) if values[index + 1] > values[index]]
    return bool(rises) and seen[latest][0] - seen[rises[0]][0] >= 60


def test_failures_before_polling_do_not_count_after_it(switch):
    """Each stint of the webhook has its three registrations, whatever the one before ended with."""
    switch.registered(0)
    switch.registration_failed(10)
    switch.registration_failed(20)
    assert switch.observed(60, 1, 1) is not None
    switch.try_webhook()
    assert switch.registration_failed(800) is None
    assert switch.registration_failed(810) is None
    assert switch.registration_failed(820) is not None


def test_a_new_webhook_begins_with_no_growth(switch):
    """What was pending, and since when it grew, was said of the webhook before."""
    switch.registered(0)
    switch.observed(30, 5, 1)
    assert switch.observed(60, 9, 1) is not None
    switch.try_webhook()
    switch.registered(700)
    assert switch.observed(730, 9, 1) is None
    assert switch.observed(759, 9, 1) is None
    assert switch.observed(760, 9, 1) is not None


def test_what_is_said_of_no_webhook_is_not_heard(switch):
    """Before the first registration, and after it was left."""
    assert switch.observed(100, 5, 1) is None
    assert switch.observed(500, 6, 1) is None
    leave(switch, 600)
    assert switch.observed(700, 7, 1) is None
    assert switch.observed(900, 8, 1) is None
    assert switch.seconds_of_polling(900) == 300


def test_no_polling_is_due_while_the_webhook_is_tried(switch):
    """Nor before it was ever left."""
    assert switch.seconds_of_polling(5) == 0
    leave(switch, 10)
    switch.try_webhook()
    assert switch.seconds_of_polling(11) == 0
