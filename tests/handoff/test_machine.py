"""What may become of a dialog, against a model that is simple enough to be believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from trioworkers_plugins.handoff.machine import resume, step, turn
from trioworkers_plugins.handoff.state import (
    WITH_BOT,
    Ban,
    Close,
    Dialog,
    Fence,
    Fenced,
    GiveBack,
    Limits,
    Report,
    Request,
    Reroute,
    Returned,
    TakeOver,
    TellUser,
    Tick,
    Unban,
)

LIMITS = Limits(queue=60, idle=300)
NOW = 1000.0
QUEUED = Dialog("queued", epoch=1, reason="handler", began=NOW, since=NOW)
ASSIGNED = replace(QUEUED, state="assigned", operator="tg:1", fenced=1)


def after(dialog: Dialog, *happenings: Any, now: float = NOW) -> Dialog:
    """The state after several things have happened."""
    for happening in happenings:
        dialog, _ = step(dialog, happening, LIMITS, now)
    return dialog


def follows(dialog: Dialog, happening: Any, now: float = NOW) -> tuple[Any, ...]:
    """What follows from one thing that happens."""
    return step(dialog, happening, LIMITS, now)[1]


class Dialogs(RuleBasedStateMachine):
    """One dialog, and a model of it: who has it, and which of the bot's handlers may still speak."""

    def __init__(self) -> None:
        super().__init__()
        self.dialog = WITH_BOT
        self.now = NOW
        self.active_at = NOW
        self.epochs = 0
        self.bot_may_speak = True  # a handler that was begun while the bot had the dialog has not ended
        self.fences: set[int] = set()
        self.given_back: set[int] = set()

    def happens(self, happening: Any) -> tuple[Any, ...]:
        before = self.dialog
        self.dialog, effects = step(before, happening, LIMITS, self.now)
        for effect in effects:
            if isinstance(effect, Fence):
                self.fences.add(effect.epoch)
            if isinstance(effect, GiveBack):
                self.given_back.add(effect.epoch)
        if before.state == "bot" and self.dialog.state != "bot":
            self.epochs += 1
            assert self.dialog.epoch == before.epoch + 1, "the epoch rises at each take-over"
            assert Reroute() in effects, "else the bot gets what waits for room"
        elif before.state != "bot":
            assert self.dialog.epoch == before.epoch
        if self.dialog == before and not isinstance(happening, TakeOver):
            assert effects == ()
        return effects

    @rule(reason=st.sampled_from(["handler", "command", "api", "failure"]))
    def request(self, reason: str) -> None:
        self.happens(Request(reason))
        assert self.dialog.state != "bot"

    @rule(operator=st.sampled_from(["tg:1", "tg:2", "api:x"]))
    def take(self, operator: str) -> None:
        was = self.dialog.state
        effects = self.happens(TakeOver(operator))
        if was in ("bot", "queued"):
            assert self.dialog.state == "assigned"
            assert self.dialog.operator == operator
            assert self.dialog.is_fenced or Fence(self.dialog.epoch) in effects

    @rule(lag=st.integers(0, 2))
    def fence_is_acknowledged(self, lag: int) -> None:
        """The present fence, or one of an earlier epoch that comes late."""
        epoch = self.dialog.epoch - lag
        if epoch not in self.fences:
            return
        if epoch == self.dialog.epoch and self.dialog.state != "bot":
            self.bot_may_speak = False
        self.happens(Fenced(epoch))

    @rule(why=st.sampled_from(["closed", "cancelled", "released"]))
    def close(self, why: str) -> None:
        was = self.dialog.state
        self.happens(Close(why))
        assert (self.dialog.state == "closing") == (was in ("queued", "assigned", "closing"))

    @rule(lag=st.integers(0, 2))
    def the_bot_is_told(self, lag: int) -> None:
        epoch = self.dialog.epoch - lag
        if epoch not in self.given_back:
            return
        was = self.dialog
        self.happens(Returned(epoch))
        if was.state == "closing" and epoch == was.epoch:
            assert self.dialog.state == "bot"
            self.bot_may_speak = True
        else:
            assert self.dialog == was

    @rule(seconds=st.integers(1, 400), spoken=st.booleans())
    def time_passes(self, seconds: int, spoken: bool) -> None:
        self.now += seconds
        if spoken:
            self.active_at = self.now
        was = self.dialog
        self.happens(Tick(self.active_at))
        late = {
            "queued": self.now - was.since >= LIMITS.queue,
            "assigned": self.now - max(was.since, self.active_at) >= LIMITS.idle,
        }.get(was.state, False)
        assert (self.dialog.state == "closing" and was.state != "closing") == late

    @rule(operator=st.sampled_from(["tg:1", "api:x"]))
    def ban(self, operator: str) -> None:
        was = self.dialog.state
        effects = self.happens(Ban(operator))
        assert self.dialog.state == "banned"
        assert not any(isinstance(effect, TellUser) for effect in effects), "banned users get nothing"
        if was == "bot":
            assert Fence(self.dialog.epoch) in effects, "not even from a handler that is under way"

    @rule()
    def unban(self) -> None:
        was = self.dialog.state
        self.happens(Unban("tg:1"))
        if was == "banned":
            assert self.dialog.state == "closing"

    @rule()
    def the_daemon_is_killed(self) -> None:
        """What is durable is the dialog alone; the next run does what may be outstanding."""
        for effect in resume(self.dialog):
            if isinstance(effect, Fence):
                self.fences.add(effect.epoch)
            if isinstance(effect, GiveBack):
                self.given_back.add(effect.epoch)

    @invariant()
    def the_bot_gets_nothing_while_others_have_the_dialog(self) -> None:
        assert (turn(self.dialog) == "bot") == (self.dialog.state == "bot")

    @invariant()
    def an_operator_speaks_only_after_the_fence(self) -> None:
        if self.dialog.may_speak:
            assert not self.bot_may_speak
            assert self.dialog.state in ("assigned", "closing")

    @invariant()
    def what_is_under_way_can_end(self) -> None:
        if self.dialog.state == "assigned" and not self.dialog.is_fenced:
            assert self.dialog.epoch in self.fences
        if self.dialog.state == "closing":
            assert self.dialog.epoch in self.given_back

    def teardown(self) -> None:
        """Every dialog goes back to the bot when nobody does anything: by time, or after an unban."""
        self.happens(Unban("tg:1"))
        self.now += LIMITS.queue + LIMITS.idle
        self.happens(Tick(self.active_at))
        self.happens(Returned(self.dialog.epoch))
        assert self.dialog.state == "bot"


TestDialogs = Dialogs.TestCase


def test_a_handoff_from_beginning_to_end():
    """Request, take, fence, close, back: each state with its epoch and its operator."""
    dialog = after(WITH_BOT, Request("handler"))
    assert (dialog.state, dialog.epoch, dialog.reason) == ("queued", 1, "handler")
    dialog = after(dialog, TakeOver("tg:1", "Anna"))
    assert (dialog.state, dialog.operator, dialog.name) == ("assigned", "tg:1", "Anna")
    assert not dialog.may_speak
    dialog = after(dialog, Fenced(1))
    assert dialog.may_speak
    dialog = after(dialog, Close("closed"))
    assert (dialog.state, dialog.ends, dialog.may_speak) == ("closing", "closed", True)
    dialog = after(dialog, Returned(1))
    assert (dialog.state, dialog.epoch) == ("bot", 1)
    assert after(dialog, TakeOver("tg:2")).epoch == 2


@pytest.mark.parametrize(
    ("happening", "events"),
    [
        (Request("api"), ["handoff.requested"]),
        (TakeOver("tg:1"), ["handoff.requested"]),
        (Ban("tg:1"), []),
    ],
)
def test_what_takes_a_dialog_from_the_bot_is_reported(happening, events):
    """A ban is not a handoff."""
    assert [one.event for one in follows(WITH_BOT, happening) if isinstance(one, Report)] == events


def test_an_operator_is_reported_as_assigned_once_the_bot_is_silent():
    """Not before: the event says that the operator may speak."""
    waiting = after(QUEUED, TakeOver("tg:1"))
    assert Report("handoff.assigned") not in follows(QUEUED, TakeOver("tg:1"))
    assert follows(waiting, Fenced(1)) == (TellUser("assigned"), Report("handoff.assigned"))
    assert follows(ASSIGNED, Fenced(1)) == ()


def test_a_take_of_a_dialog_whose_fence_is_outstanding_fences_again():
    """Whoever takes it waits for the fence, too; it may be asked for twice."""
    waiting = after(QUEUED, TakeOver("tg:1"))
    assert follows(waiting, TakeOver("tg:1")) == (Fence(1),)
    assert Fence(1) in follows(waiting, TakeOver("tg:2"))
    assert follows(ASSIGNED, TakeOver("tg:1")) == ()


@pytest.mark.parametrize(
    ("dialog", "due", "notice"),
    [(QUEUED, 60, TellUser("timed_out")), (ASSIGNED, 300, TellUser("released"))],
)
def test_a_dialog_times_out_to_the_second(dialog, due, notice):
    """A second earlier nothing happens."""
    tick = Tick(NOW)
    assert step(dialog, tick, LIMITS, NOW + due - 1) == (dialog, ())
    closing, effects = step(dialog, tick, LIMITS, NOW + due)
    assert closing.state == "closing"
    assert notice in effects
    assert GiveBack(1) in effects


def test_a_dialog_in_which_somebody_speaks_stays():
    """The idle time counts from what was said last."""
    assert follows(ASSIGNED, Tick(NOW + 200), now=NOW + 400) == ()


@pytest.mark.parametrize(
    ("dialog", "outstanding"),
    [
        (WITH_BOT, ()),
        (after(QUEUED, TakeOver("tg:1")), (Fence(1),)),
        (ASSIGNED, ()),
        (after(ASSIGNED, Close("closed")), (GiveBack(1),)),
        (after(WITH_BOT, Ban("tg:1")), (Fence(1),)),
        (after(ASSIGNED, Ban("tg:1")), ()),
    ],
)
def test_a_new_run_does_what_the_last_one_may_not_have_done(dialog, outstanding):
    """A fence that was not acknowledged, a dialog that was going back."""
    assert resume(dialog) == outstanding
