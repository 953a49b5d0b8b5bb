"""What a handling writes for a plugin is committed with the end of its update, or not at all."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from desk import Desk, clock, update  # type: ignore[import-not-found] # it lies beside

from trioworkers.config.settings import RetrySettings
from trioworkers.events import Events
from trioworkers.inbox.store import StoreWrite
from trioworkers.nursery.delivery import Activity, Delivery, Settling
from trioworkers.protocol.frames import Outcome

WRITES = (StoreWrite("p", "a", b"1"), StoreWrite("p", "b", None))


def delivered():
    """A desk with one update in flight, and its delivery."""
    desk = Desk(update(1, "a"))
    settings = SimpleNamespace(retry=RetrySettings(initial=1, max=1), on_failure="block")
    settling = Settling("b", desk, lambda: settings, Events(), random.Random(1), clock, Activity())
    return desk, Delivery(settling, desk.ordinary.take(), None, None)


@pytest.mark.parametrize(
    ("outcome", "end"), [(Outcome(1, "done"), "done"), (Outcome(1, "drop", error="no"), "dropped")]
)
async def test_an_end_carries_the_writes_of_its_handling(outcome, end):
    """Of one that is done, and of one that the handling dropped."""
    desk, delivery = delivered()
    delivery.settle(outcome, WRITES)
    assert desk.ends == [(1, end)]
    assert tuple(desk.writes) == WRITES


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(1, "retry", error="ValueError"),
        Outcome(1, "retry", error="Retry", after=5.0, counted=False),
        Outcome(1, "dead", error="Dead"),
    ],
)
async def test_a_handling_that_fails_writes_nothing(outcome):
    """Whether it comes again or goes to the dead letters."""
    desk, delivery = delivered()
    delivery.settle(outcome, WRITES)
    assert len(desk.ends) == 1
    assert desk.writes == []
