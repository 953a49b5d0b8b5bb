"""When a worker that ended is started again."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from trioworkers.nursery.restart import LONGEST_TRIAL, Crash, RestartBudget


@dataclass(frozen=True)
class Limits:
    initial: float = 0.5
    factor: float = 2.0
    max: float = 30.0
    per_hour: int = 1000
    healthy_after: float = 60.0


class Budget:
    """A bot's budget from crash to crash. `draw`: 1.0 is the whole of what may be waited."""

    def __init__(self):
        self.left = RestartBudget()

    def crashed(self, now, lived, limits, draw=1.0):
        self.left, start = self.left.after(Crash(now, lived, draw), limits)
        return start


def crash(policy, lived, limits=Limits(), now=0.0, draw=1.0):
    return policy.crashed(now, lived, limits, draw).pause


def test_each_short_life_doubles_the_pause_up_to_its_bound():
    """0.5, 1, 2, … 30, and it stays there."""
    policy = Budget()
    assert [crash(policy, 1.0) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_healthy_life_starts_anew():
    """A worker that lived long enough has its first pause again; one just short of it has not."""
    policy = Budget()
    sessions = [1, 1, 1, 59.9, 60, 1]
    assert [crash(policy, lived) for lived in sessions] == [0.5, 1, 2, 4, 0.5, 1]


def test_the_limits_in_force_count():
    """A reload that changes them applies to the next start."""
    policy = Budget()
    crash(policy, 1.0)
    assert crash(policy, 1.0, Limits(initial=10, max=100)) == 20


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), max_size=200))
def test_a_pause_is_never_negative_nor_above_its_bound(sessions):
    """Whatever the lives were, also hundreds in a row."""
    policy = Budget()
    for lived, draw in sessions:
        assert 0 <= crash(policy, lived, draw=draw) <= 30


def test_a_pause_is_the_drawn_part_of_the_longest_one():
    """Of two bots that crashed for one cause, each waits for a time of its own."""
    assert [crash(Budget(), 1.0, draw=draw) for draw in (0.0, 0.25, 1.0)] == [0, 0.125, 0.5]


def test_a_healthy_life_ends_the_trials():
    """The crashes before it do not count any more; without trials, those of the last hour still do."""
    limits = Limits(per_hour=2)
    policy = Budget()
    assert [policy.crashed(now, 1.0, limits).spent for now in (1.0, 2.0, 3.0)] == [False, False, True]
    assert [policy.crashed(now, 60.0, limits).spent for now in (100.0, 200.0)] == [False, False]
    assert policy.left.crashes == (100.0, 200.0)
    assert policy.crashed(300.0, 60.0, limits).spent


def test_trials_go_on_for_years():
    """The pause between them stays an hour, and is a number still."""
    policy = Budget()
    pauses = [crash(policy, 1.0, Limits(per_hour=0), now=3600.0 * hour) for hour in range(3 * 365 * 24)]
    assert pauses[-1] == LONGEST_TRIAL
    assert policy.left.crashes == (3600.0 * (3 * 365 * 24 - 1),)


def test_the_budget_is_a_rolling_hour():
    """Five crashes in an hour are borne, the sixth spends the budget; an hour after the first is room."""
    limits = Limits(per_hour=5)

    def spent(*times):
        policy = Budget()
        return [policy.crashed(now, 1.0, limits).spent for now in times]

    assert spent(0, 600, 1200, 1800, 2400, 3599) == [False] * 5 + [True]
    assert spent(0, 600, 1200, 1800, 2400, 3600) == [False] * 6
    assert spent(0, 0, 0, 0, 0, 0) == [False] * 5 + [True]


def test_a_healthy_life_does_not_refill_the_budget():
    """A bot that crashes every ten minutes for ever is not a healthy one."""
    policy = Budget()
    verdicts = [policy.crashed(now, 600.0, Limits(per_hour=5)) for now in range(0, 3600, 600)]
    assert [verdict.spent for verdict in verdicts] == [False] * 5 + [True]


def test_trials_come_later_each_time_until_one_is_healthy():
    """5, 10, 20, 40, 60 and 60 minutes after each other; a healthy trial begins anew."""
    policy = Budget()
    limits = Limits(per_hour=0)
    now = 0.0
    pauses = []
    for _ in range(6):
        verdict = policy.crashed(now, 1.0, limits)
        assert verdict.spent
        pauses.append(verdict.pause)
        now += verdict.pause
    assert pauses == [300, 600, 1200, 2400, 3600, 3600]
    healthy = policy.crashed(now, 60.0, Limits(per_hour=1))
    assert (healthy.pause, healthy.spent) == (0.5, False)


def test_a_trial_that_fails_is_followed_by_another_though_the_hour_is_over():
    """Half open: only a healthy life closes it, not the crashes' being long ago."""
    policy = Budget()
    limits = Limits(per_hour=1)
    assert [policy.crashed(now, 1.0, limits).spent for now in (0, 0, 7200)] == [False, True, True]
    assert not policy.crashed(14400, 60.0, limits).spent


def test_who_asks_for_a_start_is_not_held_to_what_was_before():
    """After a restart by hand there is a whole budget, and the first pause."""
    policy = Budget()
    limits = Limits(per_hour=2)
    assert [policy.crashed(0, 1.0, limits).spent for _ in range(3)] == [False, False, True]
    policy.left = RestartBudget()
    assert [policy.crashed(0, 1.0, limits).spent for _ in range(3)] == [False, False, True]


@given(st.lists(st.tuples(st.floats(0, 4000), st.floats(0, 59)), max_size=60), st.integers(0, 6))
def test_no_hour_has_more_restarts_than_its_budget_but_for_trials(steps, per_hour):
    """Whenever the crashes come."""
    policy = Budget()
    now, borne = 0.0, []
    for gap, lived in steps:
        now += gap
        if not policy.crashed(now, lived, Limits(per_hour=per_hour)).spent:
            borne.append(now)
    for first in borne:
        assert sum(first <= crash < first + 3600 for crash in borne) <= per_hour
