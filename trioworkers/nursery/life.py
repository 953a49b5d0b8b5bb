"""The life of one bot's ordinary workers, from start to start, as a pure machine: :func:`step`.

A bot has at most one session that is given new updates. A second one exists beside it only while it gets
ready to replace the first, or while an older one finishes what it has in flight. What happens is told to
the machine as an event; the machine answers with its next state and with effects, which its caller has to
perform in order, before it calls again. `State.waits_for` says what the caller has to wait for meanwhile.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, assert_never

from msgspec.structs import replace

from trioworkers.nursery.life_records import (
    CRASHED_EARLY,
    Asker,
    Begun,
    Broke,
    DrainAsked,
    EmitEvent,
    EndSession,
    FreeSlot,
    HoldOver,
    LiveSession,
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
    TakeSlot,
    TimeWait,
    TurnWait,
    WorkCame,
    WorkWait,
    reason,
)
from trioworkers.nursery.restart import WHOLE_BUDGET, Crash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.nursery.life_records import Effect, LifeEvent, Phase, State, Surroundings, Why

SPENT = "restart budget spent"
BROKEN = "internal error"
STOPPING = "the daemon stops"
KEEPS_SLOT = ("restarted", "replaced", "recycled")  # a session that ends for these is followed at once
VERDICTS = ("running", "failed", "stopped", "backoff")  # the phases that answer those who asked for a restart


def step(state: State, event: LifeEvent, around: Surroundings) -> tuple[State, tuple[Effect, ...]]:
    """Return the state after an event, and the effects that it has."""
    one = _Step(state, around)
    one.take(event)
    one.answer()
    return one.state, tuple(one.effects)


class _Step:
    """The state and effects of one step while they are worked out."""

    __slots__ = ("_answers_all", "_around", "_has_verdict", "_spare_slots", "effects", "state")

    def __init__(self, state: State, around: Surroundings) -> None:
        self.state = state
        self.effects: list[Effect] = []
        self._around = around
        self._spare_slots = around.spare_slots
        self._has_verdict = False
        self._answers_all = False

    def take(self, event: LifeEvent) -> None:
        """Work out what follows from an event."""
        match event:
            case SessionReady():
                self._session_is_ready(event)
            case SessionEnded():
                self._session_has_ended(event)
            case StartDue():
                self._start_is_due()
            case SlotGranted():
                self._slot_is_granted()
            case RestartAsked():
                self._restart_is_asked(Asker(event.ticket, event.by_hand))
            case ReplaceAsked(tries):
                self._replace_is_asked(tries=tries)
            case SettingsChanged(differs):
                self._settings_have_changed(differs=differs)
            case Parked(reason, fields):
                self._park(reason, fields)
            case DrainAsked():
                self._drain_is_asked()
            case Broke():
                self._break()
            case Begun():
                self._set(has_begun=True)
                self._advance()
            case HoldOver():
                if isinstance(self.state.waits_for, TimeWait):  # else it was lifted in the same moment
                    self._set(hold_until=None)
                    self._advance()
            case WorkCame():
                self._advance()
            case _:
                assert_never(event)

    def answer(self) -> None:
        """Answer those who asked for a restart, if this step has a verdict for them."""
        state = self.state
        if not self._has_verdict:
            return
        self._has_verdict = False
        problem = self._problem()
        later = state.asking_later
        self._set(asking=(), asking_later=())
        self._verdict(state.asking, problem)
        if state.is_leaving or state.is_over:
            self._verdict(later, STOPPING if state.is_leaving else problem)
        elif self._answers_all:
            self._verdict(later, problem)
        elif later:
            self._set(asking=later)
            self._renew("restarted")
            self.answer()

    # --- what follows from each event ---

    def _session_is_ready(self, event: SessionReady) -> None:
        state = self.state
        current, successor = state.current, state.successor
        if current is None:
            return
        if successor is not None and successor.number == event.number and successor.why is None:
            if current.why is None:
                self.effects.append(EndSession(current.number, "replaced"))
            self._set(
                finishing=state.finishing | {current.number}, successor=None, restarts=state.restarts + 1
            )
            current = successor
        elif current.number != event.number:
            return  # it was asked to end while it said so
        self._set(current=replace(current, is_ready=True), code=event.code, is_proven=True)
        if current.why is None:
            self._set(failure=None)
            self._come_to("running")

    def _session_has_ended(self, event: SessionEnded) -> None:
        state = self.state
        current, successor = state.current, state.successor
        if event.number in state.finishing:
            self._set(finishing=state.finishing - {event.number})
            self._free_slot()
            self._advance()
        elif successor is not None and successor.number == event.number:
            self._set(successor=None)
            self._free_slot()
            if successor.is_tried and successor.why is None:
                self.effects.append(EmitEvent("code.refused", event.refusal))
            else:  # it was never ready: the usual way then, one after the other
                self._end("replaced")
        elif current is None or current.number != event.number:
            return
        elif successor is not None:
            self._set(current=successor, successor=None, restarts=state.restarts + 1)
            self._free_slot()
            if successor.why is None or state.phase == "running":
                self._come_to("starting")
        else:
            self._set(current=None, waits_for=None, has_slot=True, follows=event.why != "sleeping")
            if event.why not in KEEPS_SLOT:
                self._free_slot(unused=True)
            self._judge(event)
            self._advance()

    def _judge(self, event: SessionEnded) -> None:
        """Decide what the end of the last session means for the bot."""
        if event.unfit is not None and event.why not in KEEPS_SLOT:  # else the one before was
            self._set(hold_until=math.inf)
            self._fail(event.unfit.reason, {"detail": event.unfit.detail})
        elif event.why == "sleeping":
            self.effects.append(EmitEvent("worker.sleeping"))
        elif event.why is None and not self.state.is_leaving:
            crash = Crash(self._around.now, event.lived, event.draw, event.starved)
            budget, start = self.state.budget.after(crash, event.limits)
            self._set(budget=budget, hold_until=crash.at + start.pause)
            if start.spent:
                self._fail(SPENT, {})
            else:
                self._come_to("backoff")
            self._set(next_start_at=self._around.unix + start.pause)

    def _start_is_due(self) -> None:
        if not isinstance(turn := self.state.waits_for, TurnWait):
            return  # it was asked for something else in the same moment
        if self.state.current is None:
            self._start_current()
        elif self._spare_slots <= 0:
            self._end("replaced")
        else:
            self._take_slot()
            self._set(waits_for=None, successor=replace(self._start_session(), is_tried=turn.tries))

    def _slot_is_granted(self) -> None:
        if self.state.is_in_line:
            self._set(waits_for=None, has_slot=True)
            self._advance()
        else:  # it is not wanted any more, or one was taken by hand meanwhile
            self._free_slot()

    def _restart_is_asked(self, asker: Asker) -> None:
        state = self.state
        if state.is_over or state.is_leaving or not state.has_begun:
            self._verdict((asker,), self._refusal())
        elif state.asking and state.next_has_begun:
            self._set(asking_later=(*state.asking_later, asker))
        else:
            self._set(asking=(*state.asking, asker))
            if not state.asking:
                self._renew("restarted")
            elif asker.by_hand:
                self._advance()  # what the others wait for does not delay this one

    def _replace_is_asked(self, *, tries: bool) -> None:
        state = self.state
        if state.is_leaving or state.is_over:
            return
        beside = self._spare_slots > 0 and not self._around.is_alone
        if state.current is None or not state.current.is_ready or not beside:
            self._renew("replaced")
            return
        self._forgive()
        if state.current.why is not None:  # it was parked, and finishes what it has
            self._come_to("starting")
        if state.successor is not None:  # it has older settings
            if state.successor.why is None:
                self.effects.append(EndSession(state.successor.number, "replaced"))
            self._set(successor=None, finishing=state.finishing | {state.successor.number})
        self._set(waits_for=TurnWait(tries and not state.is_retuning))

    def _settings_have_changed(self, *, differs: bool) -> None:
        state = self.state
        if state.is_leaving or state.is_over:
            return
        if differs and state.current is None and state.hold_until != math.inf:
            self._forgive()  # they may mend what it crashed for, but no bad token or handler
        self._advance()

    def _park(self, reason: str, fields: Mapping[str, object]) -> None:
        self._set(hold_until=math.inf)
        self._answers_all = True
        self._fail(reason, fields)
        self._end("parked")
        self._advance()

    def _drain_is_asked(self) -> None:
        state = self.state
        if state.is_leaving or state.is_over:
            return
        if state.current is not None and state.failure is None:
            self._come_to("draining")
        self._set(is_leaving=True)
        self._end("leaving")
        self._advance()

    def _break(self) -> None:
        state = self.state
        if state.is_over:
            return
        sessions = [one for one in (state.current, state.successor) if one is not None]
        for _ in range(len(sessions) + len(state.finishing) + state.has_slot):
            self._free_slot()
        self._set(current=None, successor=None, finishing=frozenset(), has_slot=False)
        if state.failure is None and not state.is_leaving:
            self._set(failure=BROKEN)
        self._finish()

    # --- what they have in common ---

    def _advance(self) -> None:
        """Decide what to wait for, or start, while there is no current session."""
        state = self.state
        if not state.has_begun or state.is_over or state.current is not None:
            return
        by_hand = any(asker.by_hand for asker in state.asking)
        if state.is_leaving:
            self._free_slot(unused=True)
            self._set(waits_for=None)
            if not state.finishing:
                self._finish()
        elif state.hold_until is not None:
            self._free_slot(unused=True)
            self._set(waits_for=TimeWait(state.hold_until) if state.hold_until < math.inf else None)
        elif self._around.on_demand and not state.asking and not self._around.has_work:
            self._free_slot(unused=True)
            self._come_to("sleeping")
            self._set(waits_for=WorkWait())
        elif state.finishing:  # what replaced it has ended first
            self._come_to("starting")
            self._set(waits_for=None)
        elif not state.has_slot and not by_hand and self._spare_slots <= 0:
            self._come_to("backoff")
            self._set(waits_for=SlotWait())
        else:
            if not state.has_slot:
                self._take_slot()
                self._set(has_slot=True)
            self._come_to("starting")
            if by_hand:
                self._start_current()
            else:
                self._set(waits_for=TurnWait())

    def _renew(self, why: Why) -> None:
        """End what there is, and start the next session then, whatever stood in the way of it."""
        self._forgive()
        self._end(why)
        self._advance()

    def _forgive(self) -> None:
        """Forget why the bot failed, and what it waits for because of that."""
        self._set(budget=WHOLE_BUDGET, failure=None, hold_until=None)
        if self.state.phase == "failed":
            self._come_to("starting")

    def _end(self, why: Why) -> None:
        """Ask the current session and its successor to end, unless they were asked already."""
        state = self.state
        for session in (state.current, state.successor):
            if session is not None and session.why is None:
                self.effects.append(EndSession(session.number, why))
        if state.current is not None:
            self._set(current=state.current.asked_to_end(why), waits_for=None)
        if state.successor is not None:
            self._set(successor=state.successor.asked_to_end(why))

    def _start_current(self) -> None:
        restarts = self.state.restarts + self.state.follows
        self._set(current=self._start_session(), has_slot=False, waits_for=None, restarts=restarts)

    def _start_session(self) -> LiveSession:
        number = self.state.started + 1
        self._set(started=number)
        self.effects.append(StartSession(number))
        return LiveSession(number)

    def _take_slot(self) -> None:
        self._spare_slots -= 1
        self.effects.append(TakeSlot())

    def _free_slot(self, *, unused: bool = False) -> None:
        """Give a slot back: that of a session which has ended, or the one `unused`, if there is one."""
        if unused:
            if not self.state.has_slot:
                return
            self._set(has_slot=False)
        self._spare_slots += 1
        self.effects.append(FreeSlot())

    def _fail(self, reason: str, fields: Mapping[str, object]) -> None:
        self._set(failure=reason)
        self._come_to("failed")
        self.effects.append(EmitEvent("bot.failed", {"reason": reason, **fields}))

    def _finish(self) -> None:
        self._set(is_over=True, waits_for=None)
        self._come_to("stopped" if self.state.failure is None else "failed")

    def _come_to(self, phase: Phase) -> None:
        is_judged = self.state.is_judged or phase not in ("starting", "draining")
        self._set(phase=phase, next_start_at=None, is_judged=is_judged)
        self._has_verdict |= phase in VERDICTS

    def _set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def _verdict(self, askers: tuple[Asker, ...], problem: str | None) -> None:
        self.effects += [RestartAnswer(asker.ticket, problem) for asker in askers]

    def _problem(self) -> str | None:
        """Why there is no new worker now; None when there is one."""
        state = self.state
        if state.phase == "running":
            return None
        if state.phase == "backoff" and state.failure is None and not state.is_in_line:
            return CRASHED_EARLY
        return reason(state, self._around.slots) or f"the bot is {state.phase}"

    def _refusal(self) -> str:
        """Why a restart cannot even be asked for."""
        if self.state.is_leaving:
            return STOPPING
        return self.state.failure or f"the bot is {self.state.phase}"
