"""The records of the life of a bot's workers: its events, its effects, what it waits for, and its state.

:mod:`trioworkers.nursery.life` says what follows from which. Times are seconds of the caller's clock, which
never goes back, unless they are said to be Unix seconds. The records are msgspec's, because a thousand bots
start at once: they are made and replaced in a fifth of the time that dataclasses take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from trioworkers.config.worker_places import WAITS
from trioworkers.nursery.restart import WHOLE_BUDGET, RestartBudget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.nursery.restart import RestartLimits
    from trioworkers.protocol.frames import Unfit

CRASHED_EARLY = "its worker ended before it was ready"

Phase = Literal["starting", "running", "sleeping", "draining", "backoff", "failed", "stopped"]
Why = Literal["restarted", "replaced", "recycled", "sleeping", "parked", "leaving"]
"""Why a session was asked to end. It ends itself when it is `recycled` or `sleeping`."""

# --- events ---------------------------------------------------------------------------------------------


class Begun(msgspec.Struct, frozen=True):
    """The caller is ready to perform effects."""


class SlotGranted(msgspec.Struct, frozen=True):
    """A slot was taken, as :class:`SlotWait` asks."""


class StartDue(msgspec.Struct, frozen=True):
    """The bot's turn in the fleet's start rate has come, as :class:`TurnWait` asks."""


class HoldOver(msgspec.Struct, frozen=True):
    """The time of :class:`TimeWait` has come."""


class WorkCame(msgspec.Struct, frozen=True):
    """The bot's work has changed, as :class:`WorkWait` asks."""


class SessionReady(msgspec.Struct, frozen=True):
    """The worker of session `number` is ready. `code` is a fingerprint of the bot's code."""

    number: int
    code: str | None


class SessionEnded(msgspec.Struct, frozen=True):
    """Session `number` has ended.

    Attributes:
        why: what it was asked to end for; None when it was not, and crashed.
        lived: seconds from its start.
        unfit: it said that it can never work with these settings.
        limits: the restart limits in force.
        draw: a random number from 0 to 1, for the pause after a crash.
        starved: the system had no room for it.
    """

    number: int
    why: str | None
    lived: float
    unfit: Unfit | None
    limits: RestartLimits
    draw: float
    starved: bool = False

    @property
    def refusal(self) -> dict[str, object]:
        """Why its worker was never ready, as fields of an event."""
        if self.unfit is None:
            return {"reason": CRASHED_EARLY}
        return {"reason": self.unfit.reason, "detail": self.unfit.detail}


class RestartAsked(msgspec.Struct, frozen=True):
    """Somebody asks for a worker with the code as it is now, and waits for the verdict on `ticket`.

    `by_hand`: this bot was meant, so that neither the start rate nor the number of slots delays it.
    """

    ticket: int
    by_hand: bool


class ReplaceAsked(msgspec.Struct, frozen=True):
    """Settings have changed that need a new process; or, with `tries`, the code, which may be broken."""

    tries: bool = False


class SettingsChanged(msgspec.Struct, frozen=True):
    """Settings have changed that need no new process. `differs`: some of this bot have."""

    differs: bool


class Parked(msgspec.Struct, frozen=True):
    """No worker can work, for `reason`, until somebody asks for a restart or a replacement."""

    reason: str
    fields: Mapping[str, object] = msgspec.field(default_factory=dict)


class DrainAsked(msgspec.Struct, frozen=True):
    """The sessions finish what they have in flight, and no other is started."""


class Broke(msgspec.Struct, frozen=True):
    """The caller was cancelled or failed; all sessions have ended without a word."""


LifeEvent = (
    Begun | SlotGranted | StartDue | HoldOver | WorkCame | SessionReady | SessionEnded
    | RestartAsked | ReplaceAsked | SettingsChanged | Parked | DrainAsked | Broke
)  # fmt: skip


class Surroundings(msgspec.Struct, frozen=True, gc=False):
    """What the machine has to know of everything else at the moment of an event.

    Attributes:
        now: the time.
        unix: the same in Unix seconds.
        on_demand: workers are started for work only, and sleep without.
        has_work: there is an update that a worker could be given now; it matters on demand only.
        spare_slots: how many slots are left for those who are not in line yet; it may be negative.
        slots: what says how many slots there are, in words.
        is_alone: no second worker runs beside the bot's own: it may have a port, or files, of its own.
    """

    now: float
    unix: float
    on_demand: bool
    has_work: bool
    spare_slots: int
    slots: str
    is_alone: bool = False


UNKNOWN = Surroundings(0.0, 0.0, on_demand=False, has_work=False, spare_slots=0, slots="")
"""For :class:`Broke`, which asks after nothing: what would have to be asked may be what broke."""


# --- effects --------------------------------------------------------------------------------------------


class TakeSlot(msgspec.Struct, frozen=True):
    """Take a slot at once, beyond the limit if need be."""


class FreeSlot(msgspec.Struct, frozen=True):
    """Give one slot back."""


class StartSession(msgspec.Struct, frozen=True):
    """Start session `number`; its readiness and its end are told as events."""

    number: int


class EndSession(msgspec.Struct, frozen=True):
    """Let session `number` finish what it has in flight, and end."""

    number: int
    why: Why


class EmitEvent(msgspec.Struct, frozen=True):
    """Emit an event of the fleet."""

    name: str
    fields: Mapping[str, object] = msgspec.field(default_factory=dict)


class RestartAnswer(msgspec.Struct, frozen=True):
    """Answer whoever holds `ticket`. `problem` is why there is no new worker, None when it is ready."""

    ticket: int
    problem: str | None


Effect = TakeSlot | FreeSlot | StartSession | EndSession | EmitEvent | RestartAnswer


class SlotWait(msgspec.Struct, frozen=True):
    """Wait in line for a slot."""


class TurnWait(msgspec.Struct, frozen=True):
    """Wait for the bot's turn in the fleet's start rate. `tries`: the session that starts then is tried."""

    tries: bool = False


class TimeWait(msgspec.Struct, frozen=True):
    """Wait until `until`."""

    until: float


class WorkWait(msgspec.Struct, frozen=True):
    """Wait until there may be work for the bot."""


Wait = SlotWait | TurnWait | TimeWait | WorkWait


# --- state ------------------------------------------------------------------------------------------


class LiveSession(msgspec.Struct, frozen=True):
    """A session as far as the machine knows it. `why`: what the machine asked it to end for; `is_tried`: the
    one that it is to replace stays when this one cannot become ready."""

    number: int
    is_ready: bool = False
    why: Why | None = None
    is_tried: bool = False

    def asked_to_end(self, why: Why) -> LiveSession:
        """Return it as it is once it is asked to end; the first reason stands."""
        return self if self.why is not None else msgspec.structs.replace(self, why=why)


class Asker(msgspec.Struct, frozen=True):
    """Somebody who waits for the verdict on a restart."""

    ticket: int
    by_hand: bool


class State(msgspec.Struct, frozen=True):
    """One bot's ordinary workers. A new one has not begun.

    Attributes:
        phase: as in the status document.
        current: the session that is given new updates once it is ready.
        successor: the session that takes its place once it is ready.
        finishing: the numbers of sessions that were replaced, and finish what they have in flight.
        waits_for: what the caller has to wait for; None is for nothing but events.
        has_slot: a slot was taken that no session has yet. Every session has one of its own.
        started: how many sessions were started; the last one has this number.
        restarts: how many of them took the place of one before, without the bot having slept.
        follows: the next start is such a restart.
        failure: why the bot is `failed`; it stands until a worker is ready.
        hold_until: no session is started before; infinite is until somebody asks, None is no hold.
        next_start_at: when a start is due, Unix seconds.
        budget: what is left of the restart budget.
        asking: those who wait for the verdict on the next session.
        asking_later: those who asked when that one had begun, and wait for the one after it.
        code: a fingerprint of the bot's code that the last ready worker had.
        is_judged: there was a first verdict: a worker was ready, ended or failed, sleeps, or is in line.
        is_proven: a worker was ready.
        has_begun, is_leaving, is_over: the caller performs effects; a drain was asked for; all has ended.
    """

    phase: Phase = "starting"
    current: LiveSession | None = None
    successor: LiveSession | None = None
    finishing: frozenset[int] = frozenset()
    waits_for: Wait | None = None
    has_slot: bool = False
    started: int = 0
    restarts: int = 0
    follows: bool = False
    failure: str | None = None
    hold_until: float | None = None
    next_start_at: float | None = None
    budget: RestartBudget = WHOLE_BUDGET
    asking: tuple[Asker, ...] = ()
    asking_later: tuple[Asker, ...] = ()
    code: str | None = None
    is_judged: bool = False
    is_proven: bool = False
    has_begun: bool = False
    is_leaving: bool = False
    is_over: bool = False

    @property
    def is_in_line(self) -> bool:
        """Whether it waits for a slot that somebody else has to free."""
        return isinstance(self.waits_for, SlotWait)

    @property
    def is_retuning(self) -> bool:
        """Whether a worker that is no trial is to replace a ready one: the settings of that one are old."""
        if self.successor is not None:
            return not self.successor.is_tried
        return isinstance(self.waits_for, TurnWait) and not self.waits_for.tries

    @property
    def next_has_begun(self) -> bool:
        """Whether the session has begun whose verdict those who ask wait for."""
        return self.successor is not None or (self.current is not None and self.current.why is None)


def reason(state: State, slots: str) -> str | None:
    """Return why the bot is `failed`, or what it waits for, as in the status document.

    `slots`: what says how many slots there are.
    """
    if state.is_in_line:
        return WAITS + slots
    return state.failure
