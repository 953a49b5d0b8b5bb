"""One update in flight: what its executor reports of it, made durable and emitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from trioworkers.inbox.settle import DeadLettered, Finished, Lost, Moment, SettleLimits, settle
from trioworkers.protocol.frames import MOST_RECORDED, FrameError
from trioworkers.records import Attempt, shown_call
from trioworkers.records import trace_id as trace_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from trioworkers.events import Events
    from trioworkers.handling.bot import Bot
    from trioworkers.handling.update import Update
    from trioworkers.inbox.backlog import Backlog
    from trioworkers.inbox.settle import Decision
    from trioworkers.protocol.frames import Outcome
    from trioworkers.records import RecordedCall, Waiting

    Run = Callable[[Update, Bot], Awaitable[None]]

MOST_TOLD = 20  # calls that one attempt's log names, and repetitions that are reported of one handling


class SchedulerSettings(SettleLimits, Protocol):
    """What is read anew for each update, so that changes apply to the next one."""

    @property
    def concurrency(self) -> int: ...
    @property
    def handler_timeout(self) -> float: ...
    @property
    def replay_safe(self) -> bool: ...


class Activity:
    """What one bot's executors did in this run of the daemon."""

    def __init__(self) -> None:
        self.messages = 0
        self.errors = 0


@dataclass(frozen=True, slots=True)
class Settling:
    """What the deliveries of one bot need to be settled.

    Attributes:
        bot: its name.
        backlog: where updates end, or wait again.
        settings: those in force.
        events: where it is emitted what became of an update.
        rng: where jitter comes from.
        clock: Unix seconds.
        activity: counts the ends.
    """

    bot: str
    backlog: Backlog
    settings: Callable[[], SchedulerSettings]
    events: Events
    rng: Random
    clock: Callable[[], float]
    activity: Activity

    def emit(self, event: str, update: Waiting, trace_id: str | None = None, **fields: Any) -> None:
        """Emit an event about an update."""
        if self.events.hears(event):  # most updates have no listener: no event is built
            dialog = f"{self.bot}/{update.key}"
            trace_id = trace_id or trace_of(update.bot_id, update.update_id)
            self.events.emit(event, self.bot, trace_id=trace_id, dialog=dialog, **fields)

    def obey(self, update: Waiting, verdict: Decision, failure: Attempt | None = None) -> None:
        """Make a verdict durable, and emit it. `failure`: the handling that failed, if it was handled."""
        if isinstance(verdict, Finished):
            self.backlog.finish(update, verdict.outcome)
        elif isinstance(verdict, DeadLettered):
            self.backlog.dead_letter(update, verdict.reason, verdict.attempts, failure)
            self.emit("update.dead", update, attempts=verdict.attempts, reason=verdict.shown)
        else:
            assert failure is not None  # noqa: S101 - only what was handled and failed comes again
            again = verdict.update
            self.backlog.retry(again, failure)
            self.emit(
                "update.retried",
                again,
                attempt=again.attempt,
                error=failure.error,
                wait=round(max(0.0, again.due - failure.at), 3),
                unknown=list(failure.unknown) or None,
            )


class Delivery:
    """An update in flight; it ends in exactly one of `settle`, `lose` and `put_back`.

    Attributes:
        update: the update, as it is known now.
        run: the function of the daemon that handles it; None: a worker does.
        calls: its calls of earlier handlings; None where calls are not recorded.
        handed_at: since when it has been in flight, Unix seconds.
        trace_id: its trace id.
    """

    __slots__ = (
        "_open_calls",
        "_recorded",
        "_repeated",
        "_settling",
        "_unknown",
        "calls",
        "handed_at",
        "run",
        "trace_id",
        "update",
    )

    def __init__(
        self,
        settling: Settling,
        update: Waiting,
        run: Run | None,
        calls: Sequence[RecordedCall] | None,
    ) -> None:
        self.update = update
        self.run = run
        self.calls = calls
        self.handed_at = settling.clock()
        self.trace_id = trace_of(update.bot_id, update.update_id)
        self._settling = settling
        # those under way, or that may have been made although they failed: these are True
        self._open_calls: dict[str, bool] = {}
        self._unknown: frozenset[str] = frozenset()  # of earlier handlings
        self._recorded = self._repeated = 0
        if calls:
            self._unknown = frozenset(call.key for call in calls if call.answer is None)
            self._recorded = sum(len(call.key) + len(call.answer or b"") for call in calls)

    def delivered(self) -> None:
        """Its executor has it."""
        self._settling.emit("update.delivered", self.update, self.trace_id)

    def calling(self, key: str) -> None:
        """A call is about to be made.

        Raises:
            FrameError: more is recorded than an honest executor records.
        """
        if not self.update.called:
            self.update = replace(self.update, called=True)
        repeats = key in self._open_calls or key in self._unknown
        if key not in self._open_calls:
            self._count(len(key))
        self._open_calls[key] = repeats
        self._settling.backlog.calling(self.update, key)
        self._repeated += repeats
        if repeats and self._repeated <= MOST_TOLD:
            self._settling.emit("update.repeated", self.update, call=shown_call(key))

    def called(self, key: str, answer: bytes | None) -> None:
        """The call has this answer, or is known not to have been made (None).

        Raises:
            FrameError: more is recorded than an honest executor records.
        """
        known = key in self._open_calls
        if answer is not None or not self._open_calls.get(key):
            self._open_calls.pop(key, None)
        if answer is not None:
            self._count(len(answer) + (0 if known else len(key)))
        elif known and key not in self._open_calls:
            self._recorded -= len(key)
        self._settling.backlog.called(self.update, key, answer)

    async def wait_recorded(self) -> None:
        """Return once not too much of what was called waits for its commit: the disk holds callers back."""
        await self._settling.backlog.wait_recorded()

    def settle(self, outcome: Outcome) -> None:
        """Its handling ended so."""
        settling, update = self._settling, self.update
        if outcome.result in ("done", "drop"):
            settling.activity.messages += 1
        elif outcome.counted:
            settling.activity.errors += 1
        self._end(outcome)
        if outcome.result == "done":
            settling.emit("update.done", update, self.trace_id)
            if outcome.unmade:
                settling.emit("update.diverged", update, calls=outcome.unmade)
        elif outcome.result == "drop":
            settling.emit("update.dropped", update, reason=outcome.error)

    def lose(self, *, alone: bool) -> None:
        """Its executor ended; `alone`: with nothing else in flight."""
        self._settling.activity.errors += 1
        self._end(Lost(alone))

    def put_back(self) -> None:
        """It was not handled, or nobody will know: it waits again."""
        self._settling.backlog.put_back(self.update)

    def _end(self, end: Outcome | Lost) -> None:
        settling = self._settling
        now = settling.clock()
        verdict = settle(self.update, end, settling.settings(), Moment(self.handed_at, now, settling.rng))
        failure = None
        if not isinstance(verdict, Finished):
            unknown = tuple(shown_call(key) for key in list(self._open_calls)[:MOST_TOLD])
            failure = Attempt(now, verdict.error or "", unknown)
        settling.obey(self.update, verdict, failure)

    def _count(self, size: int) -> None:
        """So many bytes more are to be recorded; without a bound they would fill the disk, and no frame."""
        self._recorded += size
        if self._recorded > MOST_RECORDED:
            message = f"more than {MOST_RECORDED >> 20} MB of calls for one update"
            raise FrameError(message)
