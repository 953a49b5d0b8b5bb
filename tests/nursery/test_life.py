"""The life of a bot's workers: whatever happens in whatever order, what is promised of it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from life_limits import Limits  # type: ignore[import-not-found] # it lies beside

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
    SlotGranted,
    SlotWait,
    StartDue,
    StartSession,
    State,
    Surroundings,
    TakeSlot,
    TimeWait,
    TurnWait,
    WorkCame,
    WorkWait,
)
from trioworkers.nursery.restart import Crash
from trioworkers.protocol.frames import Unfit


@dataclass
class Played:
    """A session of the world around the machine. `why`: what it was asked to end for, also by itself."""

    began: int
    is_ready: bool = False
    why: str | None = None
    was_told: bool = False  # the machine asked it to end


class World:
    """What is around the machine: sessions, slots, other bots, time. It does what the machine says.

    `taken`: slots that are this bot's. `granted`: one of them of which the machine does not know yet.
    """

    def __init__(self) -> None:
        self.state = State()
        self.steps = 0
        self.now = 0.0
        self.on_demand = self.has_work = False
        self.limit, self.others, self.line = 2, 0, list[str]()
        self.taken = 0
        self.granted = False
        self.sessions: dict[int, Played] = {}
        self.asked: dict[int, tuple[int, bool]] = {}  # in which step, and whether by hand
        self.answers: dict[int, str | None] = {}
        self.emitted: list[str] = []
        self.effects: list[type] = []  # of the last step
        self.is_parked = False
        self.was_current, self.restarts, self.slept = 0, 0, False

    @property
    def spare(self) -> int:
        return self.limit - self.taken - self.others - len(self.line)

    def tell(self, event: LifeEvent) -> None:
        """One step, with all that has to hold of it."""
        before = self.state
        around = Surroundings(
            self.now, 1e9 + self.now, self.on_demand, self.has_work, self.spare, str(self.limit)
        )
        if isinstance(event, RestartAsked | ReplaceAsked):
            self.is_parked = False
        if isinstance(event, SessionEnded) and before.current and event.number == before.current.number:
            self.slept = event.why == "sleeping"
        self.steps += 1
        self.state, effects = step(before, event, around)
        self.effects = [type(effect) for effect in effects]
        for effect in effects:
            self.perform(effect)
        if not before.is_over and self.state.is_over:
            assert not self.sessions, "it is over when all sessions have ended"
        self.count_restarts(before)
        if isinstance(before.waits_for, SlotWait) and not self.state.is_in_line and "me" in self.line:
            self.line.remove("me")
        if self.state.is_in_line and not self.granted and "me" not in self.line:
            self.line.append("me")
            self.admit()

    def perform(self, effect: object) -> None:
        match effect:
            case TakeSlot():
                by_hand = any(hand for ticket, (_, hand) in self.asked.items() if ticket not in self.answers)
                assert self.spare > 0 or by_hand, "only a restart by hand goes beyond the limit"
                self.taken += 1
            case FreeSlot():
                assert self.taken > 0, "no slot is given back twice"
                self.taken -= 1
                self.admit()
            case StartSession(number):
                assert not self.is_parked, "a parked bot starts nothing"
                assert not self.state.is_leaving, "nothing is started during a drain"
                assert number == self.state.started, "numbers ascend"
                self.check_place(number)
                self.sessions[number] = Played(self.steps)
            case EndSession(number, why):
                session = self.sessions[number]
                assert not session.was_told, "nobody is asked to end twice"
                session.was_told = True
                session.why = session.why or why
            case EmitEvent(name):
                self.emitted.append(name)
            case RestartAnswer(ticket, problem):
                self.give(ticket, problem)

    def check_place(self, number: int) -> None:
        """A session begins alone, or to replace one that works, or after all others have been left."""
        left = [one for one in self.sessions.values() if not one.was_told]
        assert sum(one.is_ready for one in left) == len(left), "at most one starts"
        if self.state.current is not None and self.state.current.number == number:
            assert not self.sessions, "the next one begins when the others have ended"

    def give(self, ticket: int, problem: str | None) -> None:
        assert ticket in self.asked, "only those who asked are answered"
        assert ticket not in self.answers, "nobody is answered twice"
        self.answers[ticket] = problem
        if problem is None:
            assert self.state.current is not None
            session = self.sessions[self.state.current.number]
            assert session.is_ready
            assert session.began >= self.asked[ticket][0], "it may have read older code"

    def count_restarts(self, before: State) -> None:
        current = self.state.current
        if current is None or current.number == self.was_current:
            return
        took_its_place = before.successor is not None and before.successor.number == current.number
        self.restarts += self.was_current > 0 and (took_its_place or not self.slept)
        self.was_current = current.number

    def admit(self) -> None:
        while self.line and self.taken + self.others < self.limit:
            if self.line.pop(0) == "me":
                self.taken += 1
                self.granted = True
            else:
                self.others += 1

    def end(self, number: int, why: str | None, *, lived: float = 1.0, unfit: Unfit | None = None) -> None:
        del self.sessions[number]
        self.tell(SessionEnded(number, why, lived, unfit, Limits(), 0.5))

    def go_on(self) -> bool:
        """Let what the machine waits for happen, and sessions get ready or end; False when all is done."""
        for number, session in list(self.sessions.items()):
            if session.why is not None:
                self.end(number, session.why)
                return True
            if not session.is_ready:
                session.is_ready = True
                self.tell(SessionReady(number, "c0de"))
                return True
        match self.state.waits_for:
            case SlotWait():
                self.limit += not self.granted
                self.admit()
                if self.granted:
                    self.granted = False
                    self.tell(SlotGranted())
            case TurnWait():
                self.tell(StartDue())
            case TimeWait(until):
                self.now = max(self.now, until)
                self.tell(HoldOver())
            case _:
                return False
        return True


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @property
    def state(self) -> State:
        return self.world.state

    @property
    def numbers(self) -> list[int]:
        return sorted(self.world.sessions)

    @initialize(
        on_demand=st.booleans(), limit=st.integers(0, 4), others=st.integers(0, 1), far=st.integers(0, 4)
    )
    def open(self, on_demand: bool, limit: int, others: int, far: int) -> None:
        """Half of the lives begin where a worker works already."""
        self.world.on_demand = on_demand
        self.world.limit, self.world.others = limit, min(limit, others)
        if far > 1:
            self.world.has_work = True
            self.begin()
            self.all_goes_well(times=far)

    @precondition(lambda self: not self.state.has_begun)
    @rule()
    def begin(self) -> None:
        self.world.tell(Begun())

    @rule(times=st.integers(1, 4))
    def all_goes_well(self, times: int) -> None:
        """What is waited for happens, sessions get ready when they start, and end when they are asked."""
        for _ in range(times):
            self.world.go_on()

    @precondition(lambda self: self.state.current is not None and self.state.current.is_ready)
    @rule(is_ready=st.booleans(), fills_up=st.booleans(), tries=st.booleans())
    def a_replacement_begins(self, is_ready: bool, fills_up: bool, tries: bool) -> None:
        """Without it few lives would have two sessions. Slots may be gone when its turn comes."""
        world = self.world
        world.limit = max(world.limit, world.taken + world.others + len(world.line) + 1)
        self.replace(tries)
        if fills_up:
            world.limit = world.taken + world.others
        if isinstance(self.state.waits_for, TurnWait):
            self.turn_comes()
        successor = self.state.successor
        if is_ready and successor is not None and successor.why is None:
            world.sessions[successor.number].is_ready = True
            world.tell(SessionReady(successor.number, "c0de"))
            assert self.state.current is not None
            assert (self.state.current.number, self.state.current.is_ready) == (successor.number, True)

    @precondition(lambda self: isinstance(self.state.waits_for, TurnWait))
    @rule()
    def turn_comes(self) -> None:
        has_room = self.state.has_slot or self.world.spare > 0
        self.world.tell(StartDue())
        assert (StartSession in self.world.effects) == has_room

    @precondition(lambda self: isinstance(self.state.waits_for, TimeWait))
    @rule()
    def time_comes(self) -> None:
        assert isinstance(self.state.waits_for, TimeWait)
        self.world.now = max(self.world.now, self.state.waits_for.until)
        self.world.tell(HoldOver())

    @precondition(lambda self: self.world.granted)
    @rule()
    def slot_comes(self) -> None:
        """Also in the moment in which it is not wanted any more."""
        self.world.granted = False
        self.world.tell(SlotGranted())

    @rule(event=st.sampled_from([StartDue(), HoldOver(), SessionReady(10**6, None)]))
    def what_is_late_changes_nothing(self, event: LifeEvent) -> None:
        wait = self.state.waits_for
        if isinstance(wait, TurnWait | TimeWait):
            return
        before, steps = self.state, len(self.world.emitted)
        self.world.tell(event)
        assert (self.state, len(self.world.emitted)) == (before, steps)

    @rule(has_work=st.booleans())
    def work_changes(self, has_work: bool) -> None:
        self.world.has_work = has_work
        if isinstance(self.state.waits_for, WorkWait):
            self.world.tell(WorkCame())

    @rule(seconds=st.sampled_from([0.1, 10.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        limit = self.state.waits_for
        until = limit.until if isinstance(limit, TimeWait) else math.inf
        self.world.now = max(self.world.now, min(until, self.world.now + seconds))

    @rule(limit=st.integers(0, 4))
    def limit_changes(self, limit: int) -> None:
        self.world.limit = limit
        self.world.admit()

    @rule(comes=st.booleans())
    def another_bot_comes_or_goes(self, comes: bool) -> None:
        if comes and len(self.world.line) < 3:
            self.world.line.append("other")
        elif not comes and self.world.others:
            self.world.others -= 1
        self.world.admit()

    @precondition(lambda self: any(not one.is_ready for one in self.world.sessions.values()))
    @rule(data=st.data())
    def a_session_is_ready(self, data: st.DataObject) -> None:
        """Also one that was asked to end while its word was under way."""
        number = data.draw(st.sampled_from([n for n in self.numbers if not self.world.sessions[n].is_ready]))
        session, before = self.world.sessions[number], self.state.current
        was_told, session.is_ready = session.was_told, True
        self.world.tell(SessionReady(number, f"code {number}"))
        if was_told and before is not None and before.number != number:
            assert self.state.current == before, "it does not take another one's place any more"

    @precondition(lambda self: any(one.is_ready for one in self.world.sessions.values()))
    @rule(data=st.data(), why=st.sampled_from(["recycled", "sleeping"]))
    def a_session_asks_itself_to_end(self, data: st.DataObject, why: str) -> None:
        """The machine hears of it when it has ended."""
        number = data.draw(st.sampled_from([n for n in self.numbers if self.world.sessions[n].is_ready]))
        session = self.world.sessions[number]
        session.why = session.why or why

    @precondition(lambda self: self.world.sessions)
    @rule(data=st.data(), lived=st.sampled_from([0.0, 1.0, 700.0]), is_unfit=st.booleans())
    def a_session_ends(self, data: st.DataObject, lived: float, is_unfit: bool) -> None:
        number = data.draw(st.sampled_from(self.numbers))
        session, before = self.world.sessions[number], self.state
        unfit = Unfit("bad handler", "h:h") if is_unfit and not session.is_ready else None
        is_last = before.current is not None and before.current.number == number and not before.successor
        self.world.end(number, session.why, lived=lived, unfit=unfit)
        if is_last:
            self.check_slot(session.why)
        if is_last and session.why is None and unfit is None and not before.asking_later:
            self.check_crash(before, lived)
        if is_last and session.why in ("restarted", "replaced") and not before.is_leaving:
            assert self.state.failure == before.failure, "what the one before could not does not matter"
        if is_last and unfit is not None and session.why is None and not before.asking_later:
            assert (self.state.phase, self.state.failure) == ("failed", "bad handler")
            assert self.state.waits_for is None

    def check_slot(self, why: str | None) -> None:
        """Who is followed at once keeps its slot, however many wait for one; others give it back first."""
        effects = self.world.effects
        if why not in ("restarted", "replaced", "recycled"):
            assert FreeSlot in effects
            assert TakeSlot not in effects[: effects.index(FreeSlot)]
        elif isinstance(self.state.waits_for, TurnWait):
            assert FreeSlot not in effects

    def check_crash(self, before: State, lived: float) -> None:
        budget, start = before.budget.after(Crash(self.world.now, lived, 0.5), Limits())
        assert self.state.budget == budget
        assert self.state.waits_for == TimeWait(self.world.now + start.pause)
        assert self.state.next_start_at == 1e9 + self.world.now + start.pause
        expected = ("failed", SPENT) if start.spent else ("backoff", before.failure)
        assert (self.state.phase, self.state.failure) == expected
        for asker in before.asking:
            assert self.world.answers[asker.ticket] == (SPENT if start.spent else CRASHED_EARLY)

    @rule(by_hand=st.booleans())
    def restart(self, by_hand: bool) -> None:
        before = self.state
        ticket = len(self.world.asked)
        self.world.asked[ticket] = self.world.steps + 1, by_hand
        self.world.tell(RestartAsked(ticket, by_hand))
        if before.is_leaving:
            assert self.world.answers[ticket] == STOPPING
        elif before.is_over or not before.has_begun:
            assert self.world.answers[ticket] is not None
        elif not before.is_in_line:
            assert self.state.hold_until is None, "nothing stands in its way"

    @rule(tries=st.booleans())
    def replace(self, tries: bool) -> None:
        before = self.state
        self.world.tell(ReplaceAsked(tries))
        works = before.current is not None and before.current.is_ready and before.current.why is None
        if works and self.world.spare > 0 and not before.is_leaving:
            assert before.current is not None
            assert not self.world.sessions[before.current.number].was_told, "it works until the next is ready"

    @rule(differs=st.booleans(), on_demand=st.booleans())
    def settings_change(self, differs: bool, on_demand: bool) -> None:
        self.world.on_demand = on_demand
        self.world.tell(SettingsChanged(differs))

    @rule()
    def park(self) -> None:
        self.world.is_parked = True
        self.world.tell(Parked("token refused", {"error": "401"}))
        assert (self.state.phase, self.state.failure) == ("failed", "token refused")
        assert self.world.emitted[-1] == "bot.failed"
        assert self.state.asking == ()
        assert all(session.why is not None for session in self.world.sessions.values())

    @precondition(lambda self: self.world.steps > 8)
    @rule()
    def drain(self) -> None:
        self.world.tell(DrainAsked())
        assert all(session.why is not None for session in self.world.sessions.values())

    @precondition(lambda self: self.world.steps > 12 and self.state.has_begun)
    @rule()
    def break_(self) -> None:
        before = self.state
        self.world.sessions.clear()
        self.world.tell(Broke())
        if self.world.granted:  # what waits for a slot gives it back when it is cancelled with one
            self.slot_comes()
        assert self.state.is_over
        if not before.is_over and not before.is_leaving:
            assert (self.state.phase, self.state.failure) == ("failed", before.failure or BROKEN)

    @invariant()
    def at_most_one_works_and_one_starts(self) -> None:
        wanted = [session for session in self.world.sessions.values() if not session.was_told]
        assert sum(session.is_ready for session in wanted) <= 1
        assert sum(not session.is_ready for session in wanted) <= 1

    @invariant()
    def every_session_has_a_slot(self) -> None:
        state = self.state
        assert self.world.taken == len(self.world.sessions) + state.has_slot + self.world.granted
        if state.has_slot:
            assert isinstance(state.waits_for, TurnWait) or state.finishing, "it is needed soon"
            assert state.current is None

    @invariant()
    def who_was_not_answered_is_known(self) -> None:
        waiting = {asker.ticket for asker in (*self.state.asking, *self.state.asking_later)}
        assert waiting == self.world.asked.keys() - self.world.answers.keys()

    @invariant()
    def what_it_knows_of_sessions_is_true(self) -> None:
        state, sessions = self.state, self.world.sessions
        known = [one for one in (state.current, state.successor) if one is not None]
        assert {one.number for one in known} | state.finishing == sessions.keys()
        for one in known:
            assert (one.why is not None) == sessions[one.number].was_told
        assert all(sessions[number].was_told for number in state.finishing)
        if state.successor is not None:
            assert not isinstance(state.waits_for, TurnWait), "one replacement at a time"
        if state.current is not None and state.current.why is not None and state.successor is None:
            assert state.waits_for is None or state.phase in ("starting", "running")

    @invariant()
    def restarts_are_counted(self) -> None:
        assert self.state.restarts == self.world.restarts

    @invariant()
    def its_phase_is_true(self) -> None:
        state, current = self.state, self.state.current
        if state.phase == "running":
            assert current is not None
            assert current.is_ready
            assert current.why in (None, "restarted", "replaced")  # it works until it has ended
        if state.phase == "sleeping":
            assert self.world.on_demand
            assert not self.world.has_work
            assert current is None
            assert state.waits_for == WorkWait()
        if state.phase == "failed":
            assert state.failure is not None
        if state.phase == "stopped":
            assert state.is_over
        if state.is_over:
            assert state.phase in ("stopped", "failed")
        if state.is_in_line:
            assert state.phase == "backoff"
        assert state.is_judged or state.phase in ("starting", "draining")

    def teardown(self) -> None:
        """A worker gets ready if nothing is in its way; a drain ends all, and leaves nothing behind."""
        world = self.world
        if not self.state.has_begun:
            world.tell(Begun())
        for _ in range(100):
            if not world.go_on():
                break
        if not self.state.is_over:
            rests = self.state.phase == "sleeping" or self.state.hold_until == math.inf
            assert rests or self.state.phase == "running"
            assert world.asked.keys() == world.answers.keys()
        world.tell(DrainAsked())
        for _ in range(10):
            if not world.go_on():
                break
        if world.granted:
            self.slot_comes()
        assert self.state.is_over
        assert self.state.phase == ("stopped" if self.state.failure is None else "failed")
        assert world.taken == 0
        assert world.asked.keys() == world.answers.keys()


TestLife = Life.TestCase
TestLife.settings = settings(deadline=None, stateful_step_count=40, report_multiple_bugs=False)
