"""Which alerts fire, and when people are told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trioworkers_plugins.alerts.book import (
    CONFIRM,
    DAMAGE_LASTS,
    MOST_LISTED,
    AlertBook,
    BookState,
    Rules,
    Seen,
    restored,
    shown_time,
)
from trioworkers_plugins.alerts.kinds import HEARD, KINDS, NAMES

from trioworkers.events import EVENTS

RULES = Rules(
    on=frozenset(NAMES),
    gather=5.0,
    window=60.0,
    repeat=0.0,
    patience=30.0,
    dead_letters=3,
    dead_letters_window=600.0,
    recycled=2,
)


@dataclass
class Happened:
    event: str
    bot: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def event(name, bot=None, **fields):
    return Happened(name, bot, fields)


class Told:
    """A book, its state, and what was told so far, as short texts."""

    def __init__(self, **rules):
        self.rules = replace(RULES, **rules)
        self.state = BookState()
        self.now = 1000.0
        self.notices: list[Any] = []

    def at(self, now, *events):
        """Let it be so many seconds since the beginning; return what is told then."""
        self.now = 1000.0 + now
        self.state, notices = AlertBook(self.rules).step(self.state, events, self.now)
        self.notices += notices
        return [shown(notice) for notice in notices]

    def next_at(self):
        return AlertBook(self.rules).next_at(self.state) - 1000.0


def shown(notice):
    fired = [alert.subject for alert in notice.fired]
    resolved = [alert.subject for alert in notice.resolved]
    return (notice.kind, fired, resolved)


def failed(bot, reason="restart budget spent"):
    return event("bot.failed", bot, reason=reason)


READY = "worker.ready"

# -- each kind ---------------------------------------------------------------------------------------

BEGINS_AND_ENDS = [
    ("bot_failed", "a", [failed("a")], event(READY, "a", pid=1)),
    ("bot_failed", "a", [failed("a")], event("bot.removed", "a")),
    ("token_refused", "a", [event("transport.refused", "a")], event(READY, "a", pid=1)),
    (
        "another_poller",
        "a",
        [event("transport.conflict", "a", reason="x")],
        event("transport.recovered", "a"),
    ),
    ("another_poller", "a", [event("transport.conflict", "a", reason="x")], event("transport.switched", "a")),
    ("hears_nothing", "a", [event("transport.trouble", "a", reason="x")], event("transport.recovered", "a")),
    ("hears_nothing", "a", [event("webhook.refused", "a", reason="x")], event("webhook.registered", "a")),
    ("hears_nothing", "", [event("webhook.refused", None, reason="x")], event("webhook.registered", "a")),
    ("dead_letters", "a", [event("update.dead", "a")] * 3, None),
    ("worker_recycled", "a", [event("worker.recycled", "a")] * 2, None),
    ("inbox", "", [event("inbox.full", reason="x")], event("inbox.recovered")),
    ("inbox", "", [event("inbox.trouble", reason="x")], event("inbox.recovered")),
    ("inbox_damaged", "", [event("inbox.damaged", reason="x")], None),
    ("reload_refused", "", [event("reload.refused", problems=["x"])], event("reload.applied")),
    ("plugin_disabled", "p", [event("plugin.disabled", plugin="p", reason="x")], None),
]


@pytest.mark.parametrize(("kind", "subject", "begin", "end"), BEGINS_AND_ENDS)
def test_an_alert_fires_and_is_over(kind, subject, begin, end):
    """Each kind begins with its event and is told once; where an event ends it, that is told, too."""
    book = Told()
    assert book.at(0, *begin) == []
    assert book.at(50) == [(kind, [subject], [])]
    assert book.at(100) == []
    if end is not None:
        assert book.at(120, end) == []
        assert book.at(130) == [(kind, [], [subject])]
        assert book.state.alerts == {}


@pytest.mark.parametrize(("kind", "_subject", "begin", "_end"), BEGINS_AND_ENDS)
def test_an_alert_that_is_off_does_not_fire(kind, _subject, begin, _end):
    """What `alerts` in the settings does not name is neither told nor remembered."""
    book = Told(on=RULES.on - {kind, "bot_failed"})
    book.at(0, *begin)
    assert book.at(50) == []
    assert book.state.alerts == {}


def test_every_kind_is_tried():
    """The list above knows each kind; what is heard is declared by the daemon, but for plugins' events."""
    assert {kind for kind, *_ in BEGINS_AND_ENDS} == set(NAMES) == set(KINDS)
    assert HEARD - {"plugin.disabled"} <= EVENTS.keys()


def test_a_refused_token_is_one_alert():
    """The bot fails because of it; the reason decides which of the two alerts it is."""
    book = Told()
    book.at(0, event("transport.refused", "a"), failed("a", "token refused"))
    assert book.at(5) == [("token_refused", ["a"], [])]
    without = Told(on=frozenset({"bot_failed"}))
    without.at(0, event("transport.refused", "a"), failed("a", "token refused"))
    assert without.at(5) == [("bot_failed", ["a"], [])]


def test_a_worker_of_the_quarantine_ends_nothing():
    """The bot itself has still failed."""
    book = Told()
    book.at(0, failed("a"))
    book.at(5)
    book.at(10, event(READY, "a", quarantine=True))
    assert book.at(1000) == []


def test_a_short_trouble_is_no_alert():
    """A poll that fails is tried again; only a bot that hears nothing for some time is told."""
    book = Told()
    book.at(0, event("transport.trouble", "a", reason="x"))
    book.at(29, event("transport.recovered", "a"))
    assert book.at(100) == []
    book.at(200, event("transport.trouble", "a", reason="x"))
    assert book.next_at() == 235
    assert book.at(234) == []
    assert book.at(235) == [("hears_nothing", ["a"], [])]


def test_a_few_dead_letters_are_no_alert():
    """Only so many within the window; it is over once there was none for as long."""
    book = Told()
    for at in (0, 300, 601):
        assert book.at(at, event("update.dead", "a")) == []
    assert book.at(900, event("update.dead", "a"), event("update.dead", "b")) == []
    assert book.at(905) == [("dead_letters", ["a"], [])]
    assert book.at(1400, event("update.dead", "a")) == []
    assert book.at(1999) == []
    assert book.at(2000) == []
    assert book.at(2005) == [("dead_letters", [], ["a"])]
    assert book.state.counts == {}


# -- throttling --------------------------------------------------------------------------------------


def test_what_happens_together_is_told_together():
    """A thousand bots that fail within seconds are one notice."""
    book = Told()
    for number in range(1000):
        assert book.at(number / 1000, failed(f"b{number}")) == []
    assert book.at(5 - 0.001) == []
    ((kind, fired, resolved),) = book.at(5)
    assert (kind, len(fired), resolved) == ("bot_failed", MOST_LISTED, [])
    assert book.notices[0].counts == (1000, 0, 1000)


def test_a_kind_is_quiet_for_the_window():
    """What comes after a notice gathers until the window is over; other kinds do not wait for it."""
    book = Told()
    book.at(0, failed("a"))
    assert book.at(5) == [("bot_failed", ["a"], [])]
    book.at(6, failed("b"))
    book.at(30, failed("c"), event(READY, "a"))
    book.at(31, event("inbox.full", reason="x"))
    assert book.next_at() == 36
    assert book.at(36) == [("inbox", [""], [])]
    assert book.at(64) == []
    assert book.next_at() == 65
    assert book.at(65) == [("bot_failed", ["b", "c"], ["a"])]


def test_what_ends_before_it_is_told_is_never_told():
    """Neither that it began, nor that it is over."""
    book = Told()
    book.at(0, failed("a"))
    book.at(4, event(READY, "a"))
    assert book.at(500) == []
    assert (book.state.alerts, book.next_at()) == ({}, math.inf)


def test_what_comes_back_before_its_end_is_told_did_not_end():
    """A bot that fails again and again within the window is one alert."""
    book = Told()
    book.at(0, failed("a"))
    book.at(5)
    for at in range(10, 60, 10):
        assert book.at(at, event(READY, "a")) == []
        assert book.at(at + 5, failed("a", f"reason {at}")) == []
    assert book.at(600) == []
    assert book.state.alerts["bot_failed/a"].reason == "reason 50"


def test_what_goes_on_is_told_again():
    """After `repeat`, with all that goes on; with 0, never."""
    book = Told(repeat=3600.0)
    book.at(0, failed("a"))
    book.at(5)
    assert book.next_at() == 3605
    assert book.at(3604) == []
    assert book.at(3605) == [("bot_failed", [], [])]
    assert [alert.subject for alert in book.notices[-1].firing] == ["a"]
    assert book.next_at() == 7205


def test_a_bot_has_recovered_once_it_is_well_for_a_while():
    """Its worker is ready before Telegram refuses its token anew: it was never well."""
    book = Told(gather=0.0, window=0.0)
    assert book.at(0, failed("a", "token refused")) == [("token_refused", ["a"], [])]
    book.at(100, event(READY, "a"))
    assert book.at(109, failed("a", "token refused")) == []
    book.at(200, event(READY, "a"))
    assert book.at(209) == []
    assert book.at(210) == [("token_refused", [], ["a"])]


# -- what the status says ----------------------------------------------------------------------------


def test_the_status_finds_what_no_event_told():
    """Bots that failed before the plugin listened, a refused reload, plugins that are off."""
    seen = Seen(
        failed={"a": "token refused", "b": "x"}, bots=frozenset("ab"), refused="y", off=frozenset({"p"})
    )
    book = Told()
    book.at(0, seen)
    told = {kind: fired for kind, fired, _ in book.at(5)}
    assert told == {
        "token_refused": ["a"],
        "bot_failed": ["b"],
        "reload_refused": [""],
        "plugin_disabled": ["p"],
    }
    book.at(10, seen)
    assert book.at(100) == []
    book.at(110, Seen(well=frozenset("ab"), bots=frozenset("ab")))
    book.at(115)
    book.at(120)
    assert {one.kind: [alert.subject for alert in one.resolved] for one in book.notices[-4:]} == told


def test_a_bot_on_trial_has_not_recovered():
    """A failed bot is tried from time to time: while it starts it is neither failed nor well."""
    book = Told()
    book.at(0, failed("a"))
    book.at(5)
    book.at(10, Seen(bots=frozenset("a")))
    assert book.at(500) == []


def test_alerts_of_a_bot_that_is_gone_are_over():
    """Whatever kind they are; its removal may have been missed."""
    book = Told()
    book.at(0, event("transport.conflict", "a", reason="x"), event("inbox.full", reason="x"))
    book.at(5)
    book.at(70, Seen())
    assert book.at(75) == [("another_poller", [], ["a"])]


# -- restarts ----------------------------------------------------------------------------------------


def after_restart(book):
    """The same book in a new run of the daemon, by way of what is stored."""
    book.state = restored(msgspec.convert(msgspec.to_builtins(book.state), BookState), book.now)
    return book


def test_what_was_told_is_not_told_again_after_a_restart():
    """The new run finds the bot failed, too: nothing has changed."""
    book = Told()
    book.at(0, failed("a"))
    book.at(5)
    after_restart(book).at(100, Seen(failed={"a": "x"}, bots=frozenset("a")))
    assert book.at(1000) == []


def test_what_a_restart_ended_is_over():
    """The new run finds the bot well."""
    book = Told()
    book.at(0, failed("a"))
    book.at(5)
    after_restart(book).at(100, Seen(well=frozenset("a"), bots=frozenset("a")))
    assert book.at(109) == []
    assert book.at(110) == [("bot_failed", [], ["a"])]


def test_what_does_not_show_itself_after_a_restart_is_over():
    """No event ends it: the new run never saw it. Another poller that is still there shows itself at once."""
    book = Told()
    conflicts = [event("transport.conflict", bot, reason="x") for bot in "ab"]
    book.at(0, *conflicts, event("inbox.damaged", reason="x"))
    book.at(5)
    after_restart(book).at(20, conflicts[0])
    assert book.at(5 + CONFIRM - 1) == []
    book.at(5 + CONFIRM)
    assert book.at(5 + CONFIRM + 5) == [("another_poller", [], ["b"])]
    assert book.next_at() == DAMAGE_LASTS, "what ends by itself still does"


def test_what_was_not_told_before_a_restart_has_to_come_again():
    """A poll that failed shortly before says nothing of the new run."""
    book = Told()
    book.at(0, event("transport.trouble", "a", reason="x"), event("transport.conflict", "b", reason="x"))
    after_restart(book)
    assert book.at(1000) == []


def test_damage_ends_by_itself():
    """It is nothing that goes on; receivers of Alertmanager's format still want its end."""
    book = Told()
    book.at(0, event("inbox.damaged", reason="x"))
    book.at(5)
    assert book.next_at() == DAMAGE_LASTS
    book.at(DAMAGE_LASTS)
    assert book.at(DAMAGE_LASTS + 5) == [("inbox_damaged", [], [""])]


# -- properties --------------------------------------------------------------------------------------

BOTS = st.sampled_from(["a", "b", "c"])
EVENTS_OF_BOTS = [
    event(name, bot, reason=reason)
    for name in sorted(HEARD)
    for bot in ("a", "b")
    for reason in ("x", "token refused")
]
SIGHTS = [
    Seen(),
    Seen(failed={"a": "x"}, bots=frozenset("ab"), well=frozenset("b"), refused="y"),
    Seen(bots=frozenset("ab"), well=frozenset("ab"), off=frozenset({"p"})),
]
STEPS = st.lists(
    st.tuples(st.floats(0, 200), st.lists(st.sampled_from([*EVENTS_OF_BOTS, *SIGHTS]), max_size=3)),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([0.0, 300.0]), st.booleans())
def test_whatever_happens_notices_are_in_order_and_no_more_than_there_should_be(steps, repeat, restarts):
    """Begin and end of an alert are told by turns, a kind once a window; in the end nothing is owed."""
    book = Told(repeat=repeat)
    at, is_told = 0.0, set()
    last: dict[str, float] = {}
    moments = [(pause, events) for pause, events in steps] + [(50_000.0, ())] * 3
    for pause, events in moments:
        at += pause
        before = book.state
        copy = msgspec.to_builtins(before)
        book.at(at, *events)
        assert msgspec.to_builtins(before) == copy, "a step changes no state that it was given"
        for notice in book.notices:
            assert notice.at - last.get(notice.kind, -math.inf) >= RULES.window
            last[notice.kind] = notice.at
            assert notice.fired or notice.resolved or (repeat and notice.firing)
            for alert in notice.fired:
                assert (alert.kind, alert.subject) not in is_told
                is_told.add((alert.kind, alert.subject))
            for alert in notice.resolved:
                is_told.remove((alert.kind, alert.subject))
                assert alert.ended >= alert.since
            firing = {(alert.kind, alert.subject) for alert in notice.firing}
            assert firing == {one for one in is_told if one[0] == notice.kind}
        book.notices.clear()
        assert book.next_at() + 1000.0 > book.now, "what is due has been done"
        if restarts:
            after_restart(book)
    assert {(one.kind, one.subject) for one in book.state.alerts.values() if one.ended is None} == is_told
    assert msgspec.convert(msgspec.to_builtins(book.state), BookState) == book.state


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45, "45 s"),
        (60, "1 min"),
        (90, "90 s"),
        (600, "10 min"),
        (3600, "1 h"),
        (86400 * 3, "3 d"),
    ],
)
def test_times_for_people(seconds, text):
    """Rounded, in a unit that fits."""
    assert shown_time(seconds) == text
