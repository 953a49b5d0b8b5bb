"""Keeps one bot's worker running while one is wanted: does what :mod:`trioworkers.nursery.life` decides."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, assert_never

import trio

from trioworkers.nursery.canary import try_worker
from trioworkers.nursery.life import BROKEN, STOPPING, step
from trioworkers.nursery.life_records import (
    UNKNOWN,
    Begun,
    Broke,
    DrainAsked,
    EmitEvent,
    EndSession,
    FreeSlot,
    HoldOver,
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
    reason,
)
from trioworkers.nursery.session import ORDINARY, WorkerSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from trioworkers.nursery.ended import Ended
    from trioworkers.nursery.life_records import Effect, LifeEvent
    from trioworkers.nursery.session import MakesSessions, Session, SessionContext
    from trioworkers.nursery.slots import WorkerSlots
    from trioworkers.nursery.work import Work


@dataclass(frozen=True, slots=True)
class SupervisorContext:
    """What a supervisor needs besides what its sessions need."""

    work: Work
    is_paused: Callable[[], bool]
    """Returns whether the bot is given no updates; whoever changes that pokes `work`."""
    slots: WorkerSlots
    may_start: Callable[[], Awaitable[None]]
    """Waits for this bot's turn in the fleet's start rate."""
    rng: Random
    make_session: MakesSessions = WorkerSession
    touch: Callable[[], None] = lambda: None
    """Called when what the status shows of the workers may have changed."""
    is_alone: Callable[[], bool] = lambda: False
    """Returns whether no second worker may run beside the bot's own."""
    on_proven: Callable[[], None] = lambda: None
    """Called when a worker is ready for the first time."""


@dataclass(slots=True, eq=False)
class _Asker:
    """Somebody who waits for the verdict on a restart, or on a canary."""

    answered: trio.Event = field(default_factory=trio.Event)
    problem: str | None = None


class Supervisor:
    """One bot's ordinary workers, from start to start; :meth:`run` it once.

    Attributes:
        last_exit: as in the status document.
        judged: set at the first verdict: a worker was ready, ended or failed, sleeps, or waits for a slot.
        proven: set once a worker was ready.
    """

    def __init__(self, session_context: SessionContext, context: SupervisorContext) -> None:
        self.last_exit: dict[str, Any] | None = None
        self.judged = trio.Event()
        self.proven = trio.Event()
        self._session_context = session_context
        self._context = context
        self._life = State()
        self._sessions: dict[int, Session] = {}
        self._askers: dict[int, _Asker] = {}
        self._tickets = count()
        self._nursery: trio.Nursery | None = None
        self._waiting: trio.CancelScope | trio.Event = trio.Event()  # of `run`, which is cancelled or woken

    @property
    def state(self) -> str:
        """As in the status document."""
        return self._life.phase

    @property
    def reason(self) -> str | None:
        """Why the bot is `failed`, or what it waits for."""
        return reason(self._life, self._context.slots.words)

    @property
    def restarts(self) -> int:
        """How often a worker was started again."""
        return self._life.restarts

    @property
    def code(self) -> str | None:
        """A fingerprint of the bot's code that the last ready worker had."""
        return self._life.code

    @property
    def next_start_at(self) -> float | None:
        """When a start is due, Unix seconds."""
        return self._life.next_start_at

    @property
    def session(self) -> Session | None:
        """The current session."""
        current = self._life.current
        return None if current is None else self._sessions.get(current.number)

    @property
    def sessions(self) -> list[Session]:
        """The current session, and the one that is about to take its place."""
        known = (self._life.current, self._life.successor)
        return [
            self._sessions[one.number] for one in known if one is not None and one.number in self._sessions
        ]

    @property
    def all_sessions(self) -> list[Session]:
        """Each session whose process may still run, those that are ending included."""
        return list(self._sessions.values())

    @property
    def rests(self) -> bool:
        """Whether there is no worker, and the next one will be new without anybody's doing."""
        life = self._life
        return life.is_in_line or not life.has_begun or life.phase in ("sleeping", "stopped")

    async def run(self) -> None:
        """Supervise until drained. Cancelling it ends the workers' groups, and frees their slots."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._tell(Begun())
                while not self._life.is_over:
                    await self._wait()
                self._nursery.cancel_scope.cancel()  # a canary may be left
        finally:
            self._life, effects = step(self._life, Broke(), UNKNOWN)  # after a drain this changes nothing
            self._perform(effects)

    def drain(self) -> None:
        """Let the workers finish what they have, and end; `run` returns then."""
        self._ask(DrainAsked())

    def park(self, reason: str, **fields: object) -> None:
        """End the worker, and start none until :meth:`restart` or :meth:`replace`: it would fail again."""
        self._ask(Parked(reason, fields))

    async def restart(self, *, by_hand: bool = True) -> str | None:
        """End the worker and start the next, whatever stands in the way; return once that one is ready.

        Returns why there is none, or None. Several restarts that are asked for before the next session has
        begun are one; one that is asked for later is another, since the session may have read older code.
        Cancelling stops the waiting only. Before `run`, and when `run` has ended, it returns at once.

        Args:
            by_hand: this very bot is meant: neither the start rate nor the number of slots delays it.
        """
        ticket, asker = next(self._tickets), _Asker()
        self._askers[ticket] = asker
        try:
            self._ask(RestartAsked(ticket, by_hand))
            await asker.answered.wait()
        finally:
            del self._askers[ticket]
        return asker.problem

    async def try_worker(self) -> str | None:
        """Start a canary up to its handshake, and end it; return why it was not ready, or None.

        Whoever asks, what breaks in it breaks this bot. Where the supervisor does not run, nothing is
        tried, and the bot's own reason is returned. Cancelling ends the canary, and does not wait for that.
        """
        if self._nursery is None or self._life.is_over:
            return self.reason
        asker, scope = _Asker(), trio.CancelScope()
        self._nursery.start_soon(self._run_canary, asker, scope)
        try:
            await asker.answered.wait()
        finally:
            scope.cancel()
        return asker.problem

    def replace(self, *, tries: bool = False) -> None:
        """Start a worker with the settings in force, and end the present one when that one is ready.

        When it cannot become ready, or there is no second slot, the present one ends first. With `tries`, the
        present one stays when the other cannot become ready.
        """
        self._ask(ReplaceAsked(tries))

    def retune(self, *, differs: bool) -> None:
        """Look again at the settings in force: what is waited for may be there. No process is touched.

        `differs`: settings of this bot have changed, and may mend what its worker crashed for. They cannot
        mend a refused token, or a handler that cannot be imported.
        """
        self._ask(SettingsChanged(differs))

    async def _run_canary(self, asker: _Asker, scope: trio.CancelScope) -> None:
        asker.problem = BROKEN
        try:
            with scope:
                await self._context.may_start()
                asker.problem = await try_worker(self._session_context, self._context.make_session)
        finally:
            if self._life.is_over:
                asker.problem = self.reason or STOPPING
            asker.answered.set()

    async def _wait(self) -> None:
        """Wait for what the machine asks to wait for, until it asks for something else."""
        wait = self._life.waits_for
        if wait is None:
            self._waiting = woken = trio.Event()  # a scope costs four times as much, and most bots wait so
            await woken.wait()
            return
        event: LifeEvent
        with trio.CancelScope() as scope:
            self._waiting = scope
            match wait:
                case SlotWait():
                    await self._context.slots.take()
                    event = SlotGranted()
                case TurnWait():
                    await self._context.may_start()
                    event = StartDue()
                case TimeWait(until):
                    await trio.sleep_until(until)
                    event = HoldOver()
                case WorkWait():
                    is_paused, work = self._context.is_paused(), self._context.work
                    if is_paused or not work.has_work:  # it may have come since the machine looked
                        await work.wait_change(due=not is_paused)
                    event = WorkCame()
                case _:
                    assert_never(wait)
        if not scope.cancelled_caught:  # a slot that came in the last moment is told all the same
            self._tell(event)

    def _ask(self, event: LifeEvent) -> None:
        """Tell an event from another's task; an error that it causes breaks the supervisor, not the task."""
        try:
            self._tell(event)
        except Exception as error:
            if self._nursery is None or self._life.is_over:
                raise
            self._nursery.start_soon(_fail_with, error)

    def _tell(self, event: LifeEvent) -> None:
        """Tell the machine an event, and do what it says. Nothing of this waits, or tells another event."""
        before = self._life
        self._life, effects = step(before, event, self._surroundings())
        self._context.touch()
        figures = self._session_context.figures
        if figures is not None and self._life.restarts > before.restarts:
            figures.restarts[self._session_context.settings().bot_id] += self._life.restarts - before.restarts
        if self._life.is_over or self._life.waits_for != before.waits_for:
            self._stop_waiting()
        self._perform(effects)

    def _stop_waiting(self) -> None:
        if isinstance(self._waiting, trio.Event):
            self._waiting.set()
        else:
            self._waiting.cancel()

    def _surroundings(self) -> Surroundings:
        context = self._context
        on_demand = self._session_context.settings().worker == "on_demand"
        return Surroundings(
            now=trio.current_time(),
            unix=time.time(),
            on_demand=on_demand,
            has_work=on_demand and context.work.has_work and not context.is_paused(),
            spare_slots=context.slots.spare,
            slots=context.slots.words,
            is_alone=context.is_alone(),
        )

    def _perform(self, effects: Sequence[Effect]) -> None:
        """Perform all of them, also when one fails: else slots would be lost, and verdicts."""
        errors: list[Exception] = []
        for effect in effects:
            try:
                self._perform_one(effect)
            except Exception as error:
                errors.append(error)
        if self._life.is_judged:
            self.judged.set()
        if self._life.is_proven and not self.proven.is_set():
            self.proven.set()
            self._context.on_proven()
        if errors:
            raise errors[0]

    def _perform_one(self, effect: Effect) -> None:
        match effect:
            case TakeSlot():
                self._context.slots.take_beyond()
            case FreeSlot():
                self._context.slots.free()
            case StartSession(number):
                self._start(number)
            case EndSession(number, why):
                self._sessions[number].end(why)
            case EmitEvent(name, fields):
                self._session_context.emit(name, **fields)
            case RestartAnswer(ticket, problem):
                if ticket in self._askers:  # else nobody waits any more
                    self._askers[ticket].problem = problem
                    self._askers[ticket].answered.set()
            case _:
                assert_never(effect)

    def _start(self, number: int) -> None:
        on_ready = partial(self._note_ready, number)
        session = self._context.make_session(self._session_context, ORDINARY, on_ready)
        self._sessions[number] = session
        if self._session_context.settings().worker == "on_demand":
            self._context.slots.may_sleep(session)
        assert self._nursery is not None  # noqa: S101 - for mypy; the machine has begun
        self._nursery.start_soon(self._see_through, number, session)

    def _note_ready(self, number: int, code: str | None) -> None:
        self._tell(SessionReady(number, code))

    async def _see_through(self, number: int, session: Session) -> None:
        """Run a session from its start to its end, and tell the machine."""
        try:
            ended = await session.run()
        finally:
            self._context.slots.gone(session)
        self._note_exit(ended)
        limits, draw = self._session_context.settings().restart, self._context.rng.random()
        self._tell(SessionEnded(number, ended.why, ended.lived, ended.unfit, limits, draw, ended.starved))
        del self._sessions[number]

    def _note_exit(self, ended: Ended) -> None:
        if ended.exit is not None:
            self.last_exit = {
                "at": time.time(),
                "code": ended.exit.code,
                "signal": ended.exit.signal,
                "oom": ended.oom,
                "stderr": list(ended.last_lines),
            }


async def _fail_with(error: Exception) -> None:
    raise error
