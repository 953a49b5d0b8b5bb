"""One update in flight: what its executor reports of it, made durable and emitted."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from trioworkers.awake import away_between
from trioworkers.inbox.settle import DeadLettered, Finished, Lost, Moment, SettleLimits, settle
from trioworkers.protocol.frames import MOST_RECORDED, FrameError
from trioworkers.records import ANY_CALL, Attempt, shown_call
from trioworkers.records import trace_id as trace_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from trioworkers.call_marks import Mark
    from trioworkers.events import Events
    from trioworkers.figures import Figures
    from trioworkers.handling.bot import Bot
    from trioworkers.handling.update import Update
    from trioworkers.inbox.backlog import Backlog
    from trioworkers.inbox.settle import Decision
    from trioworkers.inbox.store import StoreWrite
    from trioworkers.protocol.frames import HookCount, Outcome
    from trioworkers.records import RecordedCall, Waiting

    Run = Callable[[Update, Bot], Awaitable[None]]

LATEST = 15  # updates of which the latency is the median
RECENT = 10.0  # seconds; of those that ended before, none
MOST_TOLD = 20  # calls that one attempt's log names, and repetitions that are reported of one handling


class SchedulerSettings(SettleLimits, Protocol):
    """What is read anew for each update, so that changes apply to the next one."""

    @property
    def concurrency(self) -> int: ...
    @property
    def handler_timeout(self) -> float: ...
    @property
    def replay_safe(self) -> bool: ...
    @property
    def albums(self) -> float: ...


class Activity:
    """What one bot's executors did in this run of the daemon."""

    def __init__(self) -> None:
        self.messages = 0
        self.errors = 0
        self._latest: deque[tuple[float, float]] = deque(maxlen=LATEST)  # when each ended, and after how long

    def ended(self, at: float, total: float) -> None:
        """An update was done or dropped, `total` seconds after it was accepted. `at`: Unix seconds."""
        self._latest.append((at, total))

    def latency(self, now: float) -> float | None:
        """The median of these times over the latest updates of the last seconds, in milliseconds."""
        totals = sorted(total for at, total in self._latest if at > now - RECENT)
        return round(max(0.0, totals[len(totals) // 2]) * 1000, 1) if totals else None


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
        figures: counts for metrics; None: nobody wants them.
        count_hooks: counts what workers report of their calls of plugins.
        touch: called when the bot's row of the status may have changed.
    """

    bot: str
    backlog: Backlog
    settings: Callable[[], SchedulerSettings]
    events: Events
    rng: Random
    clock: Callable[[], float]
    activity: Activity
    figures: Figures | None = None
    count_hooks: Callable[[Sequence[HookCount]], None] = lambda _counts: None
    touch: Callable[[], None] = lambda: None

    def emit(self, event: str, update: Waiting, trace_id: str | None = None, **fields: Any) -> None:
        """Emit an event about an update."""
        if event in self.events.heard:  # most updates have no listener: no event is built
            self.events.emit(
                event,
                self.bot,
                trace_id=trace_id or trace_of(update.bot_id, update.update_id),
                dialog=f"{self.bot}/{update.key}",
                update_id=update.update_id,
                **fields,
            )

    def obey(
        self,
        update: Waiting,
        verdict: Decision,
        failure: Attempt | None = None,
        writes: tuple[StoreWrite, ...] = (),
        took: float | None = None,
    ) -> None:
        """Make a verdict durable, and emit it.

        Args:
            update: what it is about.
            verdict: what becomes of it.
            failure: the handling that failed, if it was handled.
            writes: what a handling that succeeded writes for a plugin; other verdicts than an end leave it
                out.
            took: the seconds of the handling, if it was handled.
        """
        if isinstance(verdict, Finished):
            self.backlog.finish(update, verdict.outcome, writes)
        elif isinstance(verdict, DeadLettered):
            self.backlog.dead_letter(update, verdict.reason, verdict.attempts, failure)
            for one in (update, *(update.parts or ())):
                self.emit(
                    "update.dead",
                    one,
                    attempts=verdict.attempts,
                    reason=verdict.shown,
                    took=None if took is None else seconds(took),
                    total=self.total(one),
                )
            if self.figures is not None:
                self.figures.deaths[update.bot_id] += 1 + len(update.parts or ())
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
                counted=None if verdict.counted else False,
                took=None if took is None else seconds(took),
                total=self.total(again),
            )

    def total(self, update: Waiting) -> float:
        """The seconds since the update was accepted."""
        return seconds(self.clock() - update.accepted_at)


def seconds(span: float) -> float:
    """A span of time as events show it: whole microseconds, and not below 0 when the clock was set back."""
    return int(span * 1e6 + 0.5) / 1e6 if span > 0 else 0.0  # `round` takes four times as long


class Delivery:
    """An update in flight; it ends in exactly one of `settle`, `lose` and `put_back`.

    Attributes:
        update: the update, as it is known now.
        run: the function of the daemon that handles it; None: a worker does.
        calls: its calls of earlier handlings; None where calls are not recorded.
        handed_at: since when it has been in flight, Unix seconds.
    """

    __slots__ = (
        "_begun",
        "_called",
        "_open_calls",
        "_recorded",
        "_repeated",
        "_settling",
        "_trace_id",
        "_unknown",
        "calls",
        "handed_at",
        "run",
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
        self._trace_id = ""
        self._settling = settling
        # those under way, or that may have been made although they failed: these are True
        self._open_calls: dict[str, bool] = {}
        # when those began that have no end yet; None: nobody wants to hear of calls
        self._begun: dict[str, float] | None = {} if "update.call" in settling.events.heard else None
        self._unknown: frozenset[str] = frozenset()  # of earlier handlings
        self._recorded = self._repeated = self._called = 0
        if calls:
            self._unknown = frozenset(call.key for call in calls if call.answer is None)
            self._recorded = sum(len(call.key) + len(call.answer or b"") for call in calls)

    @property
    def trace_id(self) -> str:
        """Its trace id."""
        if not self._trace_id:  # worked out where somebody wants it: most updates have no listener
            self._trace_id = trace_of(self.update.bot_id, self.update.update_id)
        return self._trace_id

    @property
    def backlog(self) -> Backlog:
        """Where it is from, and its calls are recorded."""
        return self._settling.backlog

    @property
    def tells_calls(self) -> bool:
        """Whether somebody wants to hear of its calls."""
        return self._begun is not None

    def delivered(self) -> None:
        """Its executor has it."""
        settling, update = self._settling, self.update
        if "update.delivered" in settling.events.heard:
            due, accepted_at = update.due, update.accepted_at
            settling.events.post(
                "update.delivered",
                settling.bot,
                self.trace_id,
                dialog=f"{settling.bot}/{update.key}",
                update_id=update.update_id,
                accepted_at=accepted_at,
                waited=seconds(self.handed_at - (due if due > accepted_at else accepted_at)),
                attempt=update.attempt,
            )

    def begun(self) -> None:
        """Its executor had others before it, and handles it now."""
        self.handed_at = self._settling.clock()

    def calling(self, key: str) -> None:
        """A call is about to be made.

        Raises:
            FrameError: more is recorded than an honest executor records.
        """
        self._called += 1
        if not self.update.called:
            self.update = replace(self.update, called=True)
        repeats = key in self._open_calls or key in self._unknown or ANY_CALL in self._unknown
        if key not in self._open_calls:
            self._count(len(key))
        self._open_calls[key] = repeats
        if self._begun is not None:
            self._begun.setdefault(key, self._settling.clock())
        self._settling.backlog.calling(self.update, key)
        self._repeated += repeats
        if repeats and self._repeated <= MOST_TOLD:
            self._settling.emit("update.repeated", self.update, call=shown_call(key))

    def marked(self, mark: Mark) -> None:
        """Its executor has ended, and had marked a call; it counts as begun, unless it was reported.

        Raises:
            FrameError: more is recorded than an honest executor records.
        """
        if mark.reported >= self._called:  # more, where its channel had been closed
            self.calling(mark.key)

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
        if self._begun is not None and key in self._begun:
            took = self._settling.clock() - self._begun.pop(key)
            self._emit_call(key, "not made" if answer is None else "made", took)

    async def wait_recorded(self) -> None:
        """Return once not too much of what was called waits for its commit: the disk holds callers back."""
        await self._settling.backlog.wait_recorded()

    def settle(self, outcome: Outcome, writes: tuple[StoreWrite, ...] = ()) -> None:
        """Its handling ended so; `writes` are committed with the end of one that is done or dropped."""
        settling, update = self._settling, self.update
        if self._begun:
            self._end_calls("unreported" if outcome.result == "done" else "unknown")
        if self._begun is not None and (call := outcome.call) is not None:
            self._emit_call(call.key, "unreported" if call.took is None else "made", took=call.took)
        if outcome.result in ("done", "drop"):
            settling.activity.messages += 1 + len(update.parts or ())
        elif outcome.counted:
            settling.activity.errors += 1
        self._end(outcome, writes)
        if outcome.result == "done":
            self._emit_end("update.done")
            if outcome.unmade:
                settling.emit("update.diverged", update, calls=outcome.unmade)
        elif outcome.result == "drop":
            self._emit_end("update.dropped", reason=outcome.error)

    def lose(self, *, alone: bool, how: str = "") -> None:
        """Its executor ended; `alone`: with nothing else in flight. `how`: its signal or exit code."""
        self._settling.activity.errors += 1
        if self._begun:
            self._end_calls("unknown")
        self._end(Lost(alone, how))

    def put_back(self) -> None:
        """It was not handled, or nobody will know: it waits again."""
        settling, update = self._settling, self.update
        if self._begun:
            self._end_calls("unknown")
        self._emit_end("update.returned")
        settling.backlog.put_back(update)

    def _end(self, end: Outcome | Lost, writes: tuple[StoreWrite, ...] = ()) -> None:
        settling = self._settling
        now = settling.clock()
        is_over = not isinstance(end, Lost) and end.result in ("done", "drop")
        if is_over:
            settling.activity.ended(now, now - self.update.accepted_at)
        if settling.figures is not None:
            settling.figures.handling.observe(now - self.handed_at)
            if is_over:
                settling.figures.end_to_end.observe(now - self.update.accepted_at)
        began = self.handed_at if self.update.started_at is None else self.update.started_at
        moment = Moment(self.handed_at, now, settling.rng, 0.0 if is_over else away_between(began, now))
        verdict = settle(self.update, end, settling.settings(), moment)
        failure = None
        if not isinstance(verdict, Finished):
            unknown = tuple(shown_call(key) for key in list(self._open_calls)[:MOST_TOLD])
            failure = Attempt(now, verdict.error or "", unknown)
        settling.obey(self.update, verdict, failure, writes, now - self.handed_at)

    def _emit_end(self, event: str, **fields: Any) -> None:
        settling, update = self._settling, self.update
        if event in settling.events.heard:
            now = settling.clock()
            settling.events.post(
                event,
                settling.bot,
                self.trace_id,
                dialog=f"{settling.bot}/{update.key}",
                update_id=update.update_id,
                attempt=update.attempt,
                took=seconds(now - self.handed_at),
                total=seconds(now - update.accepted_at),
                **fields,
            )
            if event != "update.returned":
                for part in update.parts or ():
                    settling.emit(event, part, album=update.update_id, total=settling.total(part), **fields)

    def _end_calls(self, result: str) -> None:
        """Emit the ends of calls that are still open when the handling ends."""
        begun, self._begun = self._begun or {}, {}
        now = self._settling.clock()
        for key in list(begun)[:MOST_TOLD]:
            self._emit_call(key, result, now - begun[key])

    def _emit_call(self, key: str, result: str, took: float | None) -> None:
        self._settling.emit(
            "update.call",
            self.update,
            self.trace_id,
            call=shown_call(key),
            result=result,
            took=None if took is None else seconds(took),
            attempt=self.update.attempt,
        )

    def _count(self, size: int) -> None:
        """So many bytes more are to be recorded; without a bound they would fill the disk, and no frame."""
        self._recorded += size
        if self._recorded > MOST_RECORDED:
            message = f"more than {MOST_RECORDED >> 20} MB of calls for one update"
            raise FrameError(message)
