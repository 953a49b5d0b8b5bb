"""When a worker that ended is started again."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from trioworkers.nursery.restart import RestartPolicy


@dataclass(frozen=True)
class Limits:
    initial: float = 0.5
    factor: float = 2.0
    max: float = 30.0
    healthy_after: float = 60.0


class Most(Random):
    """Chance at its worst: the whole of what may be waited."""

    def uniform(self, a, b):
        return b


def test_each_short_life_doubles_the_pause_up_to_its_bound():
    """0.5, 1, 2, … 30, and it stays there."""
    policy = RestartPolicy(Most())
    assert [policy.next_start(1.0, Limits()) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_healthy_life_starts_anew():
    """A worker that lived long enough has its first pause again; one just short of it has not."""
    policy = RestartPolicy(Most())
    lives = [1, 1, 1, 59.9, 60, 1]
    assert [policy.next_start(lived, Limits()) for lived in lives] == [0.5, 1, 2, 4, 0.5, 1]


def test_the_limits_in_force_count():
    """A reload that changes them applies to the next start."""
    policy = RestartPolicy(Most())
    policy.next_start(1.0, Limits())
    assert policy.next_start(1.0, Limits(initial=10, max=100)) == 20


@given(st.lists(st.floats(0, 100), max_size=200), st.randoms(use_true_random=False))
def test_a_pause_is_never_negative_nor_above_its_bound(lives, chance):
    """Whatever the lives were, also hundreds in a row."""
    policy = RestartPolicy(chance)
    for lived in lives:
        assert 0 <= policy.next_start(lived, Limits()) <= 30
