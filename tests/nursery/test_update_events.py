"""The events of one update: by them its way can be shown with times, and they cost nothing unheard."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from desk import START, update  # type: ignore[import-not-found] # it lies beside
from msgspec.structs import replace

from trioworkers.config.settings import RetrySettings
from trioworkers.events import Event, Events
from trioworkers.inbox.settle import DeadLettered
from trioworkers.nursery import delivery as delivery_module
from trioworkers.nursery.delivery import MOST_TOLD, Activity, Delivery, Settling
from trioworkers.protocol.frames import Outcome
from trioworkers.records import trace_id

KEY = "sendMessage 5 c0ffee 1"


class Shelf:
    """A backlog with one update: it keeps what waits again, and nothing else."""

    def __init__(self, waiting):
        self.waiting = waiting

    def put_back(self, update, due=0.0):
        self.waiting = update

    def retry(self, update, failure):
        self.waiting = update

    def ignore(self, *_, **__):
        pass

    finish = dead_letter = calling = called = ignore


class Scene:
    """One delivery, at times that the test sets."""

    def __init__(self, waiting, *, least="debug", attempts=8):
        self.now = START
        self.heard: list[Event] = []
        settings = SimpleNamespace(
            retry=RetrySettings(initial=1, max=1, attempts=attempts), on_failure="block"
        )
        self.shelf = Shelf(waiting)
        self.events = Events(self.heard.append, least=least)
        self.settling = Settling(
            "b",
            self.shelf,  # type: ignore[arg-type]
            lambda: settings,
            self.events,
            random.Random(1),
            lambda: self.now,
            Activity(),
        )

    def begin(self, at=0.0):
        """Take the update and hand it out, so many seconds after it was accepted."""
        self.now = START + at
        delivery = Delivery(self.settling, self.shelf.waiting, None, ())
        delivery.delivered()
        return delivery

    def at(self, seconds):
        self.now = START + seconds

    def told(self, *names):
        return [(one.event, dict(one.fields)) for one in self.heard if one.event in names]


def test_a_delivery_says_since_when_it_waited():
    """From the commit on; of one that is tried again, from when it was due."""
    scene = Scene(replace(update(1), due=START + 10, attempt=2))
    scene.begin(10.5)
    assert scene.told("update.delivered") == [
        (
            "update.delivered",
            {"dialog": "b/1", "update_id": 1, "accepted_at": START, "waited": 0.5, "attempt": 2},
        )
    ]
    fresh = Scene(update(1))
    fresh.begin(0.25)
    assert fresh.told("update.delivered")[0][1]["waited"] == 0.25


def test_a_clock_that_was_set_back_gives_no_negative_times():
    """They would be drawn before what caused them."""
    scene = Scene(update(1))
    delivery = scene.begin(-5)
    scene.at(-7)
    delivery.settle(Outcome(1, "done"))
    ends = scene.told("update.delivered", "update.done")
    times = [fields[name] for _, fields in ends for name in ("waited", "took", "total") if name in fields]
    assert times == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("result", "event"), [("done", "update.done"), ("drop", "update.dropped")])
def test_the_end_says_how_long_the_handling_and_the_whole_way_took(result, event):
    """`took` is the handling's, `total` everything since the update was accepted."""
    scene = Scene(update(1))
    delivery = scene.begin(2)
    scene.at(2.75)
    delivery.settle(Outcome(1, result))
    ((_, fields),) = scene.told(event)
    assert (fields["took"], fields["total"], fields["attempt"]) == (0.75, 2.75, 0)


def test_failures_say_how_long_they_took():
    """A retry with its wait, then the death."""
    scene = Scene(update(1), attempts=2)
    first = scene.begin(1)
    scene.at(1.5)
    first.settle(Outcome(1, "retry", error="ValueError"))
    ((_, retried),) = scene.told("update.retried")
    assert (retried["took"], retried["total"], retried["attempt"]) == (0.5, 1.5, 1)
    assert "counted" not in retried
    second = scene.begin(20)
    scene.at(21)
    second.settle(Outcome(1, "retry", error="ValueError"))
    ((_, dead),) = scene.told("update.dead")
    assert (dead["took"], dead["total"], dead["attempts"]) == (1.0, 21.0, 2)


def test_what_counts_as_no_attempt_says_so():
    """Telegram asked for a wait."""
    scene = Scene(update(1))
    scene.begin(1).settle(Outcome(1, "retry", after=5.0, counted=False))
    ((_, retried),) = scene.told("update.retried")
    assert (retried["counted"], retried["attempt"]) == (False, 0)


def test_what_died_unhandled_took_no_handling():
    """It was damaged, say."""
    scene = Scene(update(1))
    scene.at(3)
    scene.settling.obey(scene.shelf.waiting, DeadLettered("damaged on disk", 0, "damaged on disk"))
    ((_, dead),) = scene.told("update.dead")
    assert "took" not in dead
    assert dead["total"] == 3.0


def test_each_calls_end_is_told_with_its_result_and_time():
    """Method and chat, as people read them; no digest of what was sent."""
    scene = Scene(update(1))
    delivery = scene.begin(1)
    delivery.calling(KEY)
    scene.at(1.5)
    delivery.called(KEY, b"{}")
    delivery.calling("setMyName - beef 1")
    scene.at(1.75)
    delivery.called("setMyName - beef 1", None)
    about = {"dialog": "b/1", "update_id": 1, "attempt": 0}
    assert scene.told("update.call") == [
        ("update.call", {**about, "call": "sendMessage 5", "result": "made", "took": 0.5}),
        ("update.call", {**about, "call": "setMyName -", "result": "not made", "took": 0.25}),
    ]


ENDS = {
    "unreported": lambda delivery: delivery.settle(Outcome(1, "done")),
    "unknown": lambda delivery: delivery.settle(Outcome(1, "retry")),
    "lost": lambda delivery: delivery.lose(alone=False),
    "put back": lambda delivery: delivery.put_back(),
}


@pytest.mark.parametrize("end", ENDS)
def test_calls_that_are_open_at_the_end_are_told_before_it(end):
    """A worker does not report the last answer of a handling that is done; of others it is not known."""
    scene = Scene(update(1))
    delivery = scene.begin(1)
    delivery.calling(KEY)
    scene.at(3)
    ENDS[end](delivery)
    names = [one.event for one in scene.heard if one.event != "update.delivered"]
    assert names[0] == "update.call"
    assert len(names) == 2
    ((_, call),) = scene.told("update.call")
    assert (call["result"], call["took"]) == ("unreported" if end == "unreported" else "unknown", 2.0)


def test_many_open_calls_are_cut_off():
    """A handler may have begun any number of them."""
    scene = Scene(update(1))
    delivery = scene.begin(1)
    for number in range(MOST_TOLD + 5):
        delivery.calling(f"sendMessage 5 c0ffee {number}")
    delivery.settle(Outcome(1, "done"))
    assert len(scene.told("update.call")) == MOST_TOLD


def test_what_is_put_back_is_told():
    """Its way would end nowhere otherwise."""
    scene = Scene(update(1))
    delivery = scene.begin(1)
    scene.at(4)
    delivery.put_back()
    ((_, returned),) = scene.told("update.returned")
    assert (returned["took"], returned["total"]) == (3.0, 4.0)


def test_every_event_of_an_update_has_its_trace_id():
    """Whatever happens to it."""
    scene = Scene(update(1), attempts=1)
    delivery = scene.begin(1)
    delivery.calling(KEY)
    delivery.calling(KEY)
    delivery.put_back()
    again = scene.begin(2)
    again.settle(Outcome(1, "retry", error="ValueError"))
    assert {one.event for one in scene.heard} == {
        "update.delivered", "update.repeated", "update.call", "update.returned", "update.dead"
    }  # fmt: skip
    assert {one.trace_id for one in scene.heard} == {trace_id(7, 1)}


def test_nothing_is_measured_or_made_while_nobody_listens(monkeypatch):
    """Neither a name of a call nor an event; the clock is read as often as without events."""
    made: list[str] = []
    monkeypatch.setattr(delivery_module, "shown_call", lambda key: made.append(key))
    monkeypatch.setattr("trioworkers.events.Event", lambda name, *rest: made.append(name))
    scene = Scene(update(1), least="info")
    delivery = scene.begin(1)
    delivery.calling(KEY)
    delivery.called(KEY, b"{}")
    delivery.settle(Outcome(1, "done"))
    assert made == []


def test_the_listener_of_one_update_hears_of_its_calls():
    """Those of updates that were handed out before it came are left out; nothing breaks."""
    scene = Scene(update(1), least="info")
    delivery = scene.begin(1)
    delivery.calling(KEY)
    scene.events.set_least("debug")
    delivery.called(KEY, b"{}")
    delivery.settle(Outcome(1, "done"))
    assert [one.event for one in scene.heard] == ["update.done"]
