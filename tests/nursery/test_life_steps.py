"""The life of a bot's workers, step by step: who is answered when, and what an end leads to."""

from __future__ import annotations

from typing import Any

import pytest
from life_limits import Limits  # type: ignore[import-not-found] # it lies beside
from msgspec.structs import replace

from trioworkers.nursery.life import BROKEN, SPENT, STOPPING, step
from trioworkers.nursery.life_records import (
    CRASHED_EARLY,
    Begun,
    Broke,
    DrainAsked,
    EmitEvent,
    EndSession,
    FreeSlot,
    HoldOver,
    LifeEvent,
    Parked,
    ReplaceAsked,
    RestartAnswer,
    RestartAsked,
    SessionEnded,
    SessionReady,
    SettingsChanged,
    SlotWait,
    StartDue,
    StartSession,
    State,
    Surroundings,
    TimeWait,
    TurnWait,
    reason,
)

AROUND = Surroundings(100.0, 1e9, on_demand=False, has_work=False, spare_slots=5, slots="5 slots")
REFUSED = Parked("token refused", {})


class Bot:
    """One bot; `effects` are those of the last step."""

    def __init__(self) -> None:
        self.state = State()
        self.effects: tuple[Any, ...] = ()

    def tell(self, *events: LifeEvent, **around: Any) -> None:
        for event in events:
            self.state, self.effects = step(self.state, event, replace(AROUND, **around))

    def ended(self, number: int, why: str | None = None, **around: Any) -> None:
        self.tell(SessionEnded(number, why, 1.0, None, Limits(), 0.5), **around)

    @property
    def answers(self) -> dict[int, str | None]:
        return {one.ticket: one.problem for one in self.effects if isinstance(one, RestartAnswer)}

    @property
    def asked_to_end(self) -> list[int]:
        return [one.number for one in self.effects if isinstance(one, EndSession)]

    @property
    def freed(self) -> int:
        return sum(isinstance(one, FreeSlot) for one in self.effects)


@pytest.fixture
def bot() -> Bot:
    """One whose first worker is ready."""
    bot = Bot()
    bot.tell(Begun(), StartDue())
    assert not bot.state.is_proven
    bot.tell(SessionReady(1, "code 1"))
    return bot


@pytest.fixture
def asked_twice(bot: Bot) -> Bot:
    """Its second worker starts; somebody asked for it before it began, and somebody else after that."""
    bot.tell(RestartAsked(1, by_hand=False))
    assert bot.asked_to_end == [1]
    bot.ended(1, "restarted")
    bot.tell(StartDue(), RestartAsked(2, by_hand=False))
    assert not bot.answers
    return bot


def test_a_ready_worker_is_what_was_waited_for(bot: Bot) -> None:
    """It is proven, has its code, and can be replaced by another one beside it."""
    assert (bot.state.phase, bot.state.code, bot.state.is_proven) == ("running", "code 1", True)
    bot.tell(ReplaceAsked())
    assert (bot.asked_to_end, bot.state.waits_for) == ([], TurnWait())


def test_who_asked_when_the_next_one_had_begun_gets_the_one_after_it(asked_twice: Bot) -> None:
    """It may have read older code; the first one is answered, and the other one is started at once."""
    bot = asked_twice
    bot.tell(SessionReady(2, "code 2"))
    assert (bot.answers, bot.asked_to_end) == ({1: None}, [2])
    bot.ended(2, "restarted")
    bot.tell(StartDue(), SessionReady(3, "code 3"))
    assert bot.answers == {2: None}


def test_a_crash_answers_the_first_and_starts_another_for_the_second(asked_twice: Bot) -> None:
    """Without a pause: somebody asked for it. Where there is no slot, that is the second one's answer."""
    bot = asked_twice
    alone = Bot()
    alone.state = bot.state
    alone.ended(2, spare_slots=-1)
    assert alone.answers == {1: CRASHED_EARLY, 2: reason(alone.state, AROUND.slots)}
    assert alone.state.waits_for == SlotWait()
    bot.ended(2)
    assert (bot.answers, bot.state.waits_for) == ({1: CRASHED_EARLY}, TurnWait())


def test_a_refused_token_is_everybodys_answer(asked_twice: Bot) -> None:
    """Another worker would be refused as well."""
    asked_twice.tell(REFUSED)
    assert asked_twice.answers == {1: "token refused", 2: "token refused"}


def test_a_stop_is_the_answer_of_who_waits_for_a_later_worker(asked_twice: Bot) -> None:
    """Also where its token is refused meanwhile."""
    asked_twice.tell(DrainAsked())
    refused = Bot()
    refused.state = asked_twice.state
    refused.tell(REFUSED)
    assert refused.answers == {1: "token refused", 2: STOPPING}
    asked_twice.ended(2, "leaving")
    assert asked_twice.state.is_over
    assert asked_twice.answers == {1: "the bot is stopped", 2: STOPPING}


def test_a_parked_worker_that_is_replaced_is_not_asked_to_end_again(bot: Bot) -> None:
    """It finishes what it has; the bot runs when the other one is ready."""
    bot.tell(REFUSED)
    assert (bot.asked_to_end, bot.state.phase) == ([1], "failed")
    bot.tell(ReplaceAsked(), StartDue())
    assert bot.effects[-1] == StartSession(2)
    bot.tell(SessionReady(2, "code 2"))
    assert (bot.asked_to_end, bot.state.phase, bot.state.failure) == ([], "running", None)
    assert bot.state.finishing == {1}
    bot.ended(1, "parked")
    assert (bot.freed, bot.state.phase) == (1, "running")


def test_a_worker_that_dies_while_the_next_one_starts_is_followed_by_it(bot: Bot) -> None:
    """Its slot is given back, its end is no crash, and the bot starts."""
    bot.tell(ReplaceAsked(), StartDue())
    bot.ended(1)
    assert (bot.freed, bot.state.phase, bot.state.restarts) == (1, "starting", 1)
    assert bot.state.current is not None
    assert bot.state.current.number == 2
    assert bot.state.budget.crashes == ()
    bot.tell(SessionReady(2, "code 2"))
    assert bot.state.phase == "running"


def test_a_bot_that_failed_stays_failed_while_its_workers_end(bot: Bot) -> None:
    """Whichever of the two ends first."""
    bot.tell(ReplaceAsked(), StartDue(), REFUSED)
    bot.ended(1, "parked")
    assert (bot.freed, bot.state.phase, bot.state.failure) == (1, "failed", "token refused")
    bot.ended(2, "parked")
    assert (bot.freed, bot.state.phase, bot.state.waits_for) == (1, "failed", None)


def test_new_code_that_cannot_start_changes_nothing_but_what_is_reported(bot: Bot) -> None:
    """The worker that there is goes on; settings are another matter: it is replaced the usual way then."""
    settings = Bot()
    settings.state = bot.state
    bot.tell(ReplaceAsked(tries=True), StartDue())
    bot.ended(2)
    assert bot.effects == (FreeSlot(), EmitEvent("code.refused", {"reason": CRASHED_EARLY}))
    assert bot.state.phase == "running"
    settings.tell(ReplaceAsked(), StartDue())
    settings.ended(2)
    assert (settings.freed, settings.asked_to_end) == (1, [1])


@pytest.mark.parametrize(("why", "kept"), [("restarted", 1), ("recycled", 1), ("sleeping", 0), (None, 0)])
def test_who_is_followed_at_once_keeps_its_slot(bot: Bot, why: str | None, kept: int) -> None:
    """All others give it back, to take one again later."""
    bot.ended(1, why, on_demand=why == "sleeping")
    assert bot.freed == 1 - kept
    assert bot.state.has_slot == bool(kept)


def test_what_is_over_or_unknown_changes_nothing(bot: Bot) -> None:
    """An end, a readiness or a time that comes late."""
    before = bot.state
    bot.ended(99)
    bot.tell(SessionReady(99, "c"), HoldOver(), StartDue())
    assert (bot.state, bot.effects) == (before, ())
    bot.ended(1)
    assert isinstance(bot.state.waits_for, TimeWait)
    before = bot.state
    bot.ended(1)
    bot.tell(SessionReady(1, "c"))
    assert (bot.state, bot.effects) == (before, ())


def test_a_pause_that_was_lifted_does_not_end_a_second_time(bot: Bot) -> None:
    """Whoever asked by hand did not wait for it; the next crash has a pause of its own."""
    bot.ended(1)
    bot.tell(RestartAsked(1, by_hand=True))
    assert bot.effects[-1] == StartSession(2)
    before = bot.state
    bot.tell(HoldOver())
    assert bot.state == before
    bot.ended(2)
    assert bot.answers == {1: CRASHED_EARLY}
    for number in (3, 4, 5):
        bot.tell(HoldOver(), StartDue())
        bot.ended(number)
    assert (bot.state.phase, bot.state.failure) == ("failed", SPENT)


def test_a_break_is_everybodys_answer(asked_twice: Bot) -> None:
    """It is over, for the reason that the status shows."""
    asked_twice.tell(Broke())
    assert asked_twice.answers == {1: BROKEN, 2: BROKEN}
    assert (asked_twice.state.is_over, asked_twice.state.phase, asked_twice.freed) == (True, "failed", 1)


@pytest.mark.parametrize("end", [DrainAsked(), Broke()])
def test_what_leaves_or_is_over_takes_no_orders(bot: Bot, end: LifeEvent) -> None:
    """Whoever asks for a worker is refused, and nothing else changes."""
    bot.tell(end)
    before = bot.state
    for order in (ReplaceAsked(), ReplaceAsked(tries=True), SettingsChanged(differs=True), end):
        bot.tell(order)
        assert (bot.state, bot.effects) == (before, ())
    bot.tell(RestartAsked(7, by_hand=True))
    assert bot.answers == {7: STOPPING if end == DrainAsked() else BROKEN}
    assert bot.state == before


def test_a_bot_that_failed_is_not_shown_as_draining(bot: Bot) -> None:
    """Why it failed matters more; one that works is."""
    bot.tell(REFUSED, DrainAsked())
    assert (bot.state.phase, bot.state.failure) == ("failed", "token refused")
    other = Bot()
    other.tell(Begun(), StartDue(), DrainAsked())
    assert other.state.phase == "draining"


@pytest.mark.parametrize("around", [{"is_alone": True}, {"spare_slots": 0}], ids=["alone", "no slot"])
def test_without_room_beside_it_a_worker_is_replaced_by_ending_it_first(bot: Bot, around: Any) -> None:
    """It may have a port of its own."""
    bot.tell(ReplaceAsked(), **around)
    assert bot.asked_to_end == [1]
    bot.ended(1, "replaced", **around)
    assert (bot.state.waits_for, bot.freed) == (TurnWait(), 0)
