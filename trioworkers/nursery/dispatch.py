"""From a bot's backlog to a worker, and the outcomes back: one for each worker's life."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import trio
from msgspec.structs import replace

from trioworkers.inbox.policy import Never, after_crash, after_failure, has_expired
from trioworkers.inbox.store import StoreError
from trioworkers.protocol.frames import (
    MOST_RECORDED,
    Called,
    Calling,
    Deliver,
    FrameError,
    Heartbeat,
    Outcome,
    Recorded,
)
from trioworkers.records import Attempt, Waiting, shown_call, trace_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from trioworkers.events import Events
    from trioworkers.inbox.backlog import Backlog
    from trioworkers.inbox.policy import Again, RetryLimits
    from trioworkers.nursery.worker import ConnectedWorker
    from trioworkers.records import RecordedCall

UNREAD_PAUSE = 1.0  # seconds until an update whose calls could not be read is tried again
SHORTEST_WAIT = 1.0  # seconds; what counts as no attempt has no other bound, whatever a worker says
MOST_TOLD = 20  # calls that one attempt's log names, and repetitions that are told of one handling


class DispatchSettings(Protocol):
    """What is read anew for each update, so that changes apply to the next one."""

    @property
    def concurrency(self) -> int: ...
    @property
    def retry(self) -> RetryLimits: ...
    @property
    def on_failure(self) -> str: ...
    @property
    def replay_safe(self) -> bool: ...


class Activity:
    """What one bot's workers did in this run of the daemon."""

    def __init__(self) -> None:
        self.messages = 0
        self.errors = 0


@dataclass(slots=True, eq=False)
class _InFlight:
    """An update that the worker has, since `handed_at` (Unix seconds).

    `open_calls` are those that are under way, or may have been made although they failed: those are True.
    `unknown` are calls of earlier handlings that may have been made. `recorded`: bytes of keys and answers.
    """

    update: Waiting
    handed_at: float
    trace_id: str
    delivered: bool = False
    open_calls: dict[str, bool] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    recorded: int = 0
    repeated: int = 0


class Dispatch:
    """Keeps a worker busy with its bot's updates until one of them ends.

    An update in flight whose outcome never comes is put back, by whoever is cancelled or drained too
    late; when the worker itself ended, each update that it had becomes a suspect, which is handled alone.

    Args:
        alone: this worker is the quarantine: it has the suspects, one at a time.
        is_paused: nothing is handed out while it says so; whoever changes that pokes the feeds.
    """

    def __init__(
        self,
        bot: str,
        backlog: Backlog,
        worker: ConnectedWorker,
        settings: Callable[[], DispatchSettings],
        events: Events,
        activity: Activity,
        rng: Random,
        *,
        alone: bool = False,
        is_paused: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bot = bot
        self._backlog = backlog
        self._feed = backlog.suspects if alone else backlog.ordinary
        self._worker = worker
        self._settings = settings
        self._events = events
        self._activity = activity
        self._rng = rng
        self._alone = alone
        self._is_paused = is_paused
        self._clock = clock
        self._hand: dict[int, _InFlight] = {}
        self._idle_since = trio.current_time()
        self._last_delivery = 0
        self._draining = False
        self._full = False  # the feed is not listened to

    def drain(self) -> None:
        """Hand out nothing more; once nothing is in flight, let the worker stop."""
        self._draining = True
        self._feed.poke()

    @property
    def idle_since(self) -> float:
        """Since when the worker has had nothing in flight, trio time; infinite while it has."""
        return math.inf if self._hand else self._idle_since

    @property
    def held_for(self) -> float:
        """Seconds for which the worker has had the oldest of what it has in flight; 0 when there is none."""
        oldest = next(iter(self._hand.values()), None)  # deliveries ascend
        return 0.0 if oldest is None else self._clock() - oldest.handed_at

    async def run(self) -> None:
        """Work until the worker has closed its channel, or sent something that is no frame."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hand_out, nursery)
                with self._feed.told(partial(self._fill, nursery)):
                    await self._listen(nursery)
                nursery.cancel_scope.cancel()
            if not self._draining:
                for delivery in [number for number, one in self._hand.items() if one.delivered]:
                    self._crashed(self._hand.pop(delivery))
        finally:
            for in_flight in self._hand.values():
                self._backlog.put_back(in_flight.update)

    async def _listen(self, nursery: trio.Nursery) -> None:
        try:
            while frames := await self._worker.receive():
                for frame in frames:
                    self._take_in(frame)
                self._refill(nursery)
                await self._backlog.wait_recorded()
        except FrameError as error:
            self._events.emit("worker.refused", self._bot, reason=str(error))

    async def _hand_out(self, nursery: trio.Nursery) -> None:
        while not self._draining:
            self._full = not self._fill(nursery)
            await self._feed.wait_change(due=not self._full)
        while self._hand:
            await self._feed.wait_change(due=False)
        self._worker.drain()

    def _refill(self, nursery: trio.Nursery) -> None:
        """Outcomes came: hand out more at once, which spares a turn of the loop."""
        if self._draining:
            if not self._hand:
                self._feed.poke()
        elif self._fill(nursery) and self._full:
            self._feed.poke()  # what is due later concerns this worker again

    def _fill(self, nursery: trio.Nursery) -> bool:
        """Hand out what there is as far as there is room; whether some room is left."""
        if self._is_paused() or self._draining:
            return False
        room = 1 if self._alone else self._settings().concurrency
        while len(self._hand) < room:
            if (update := self._feed.take()) is None:
                return True
            self._begin(update, nursery)
        return False

    def _begin(self, update: Waiting, nursery: trio.Nursery) -> None:
        if update.damaged:
            self._dead_letter(update, "damaged on disk", update.attempt)
            return
        if has_expired(update.kind, update.accepted_at, self._clock()):
            self._backlog.finish(update, "expired")
            self._emit("update.expired", update, kind=update.kind)
            return
        self._last_delivery += 1
        self._hand[self._last_delivery] = _InFlight(update, self._clock(), trace(update))
        if not self._settings().replay_safe:
            self._deliver(self._last_delivery, update, None)
        elif update.called:
            nursery.start_soon(self._deliver_with_calls, self._last_delivery, update)
        else:
            self._deliver(self._last_delivery, update, ())

    async def _deliver_with_calls(self, delivery: int, update: Waiting) -> None:
        try:
            calls = await self._backlog.calls(update)
        except StoreError:  # told as the store's trouble
            del self._hand[delivery]
            self._backlog.put_back(update, self._clock() + UNREAD_PAUSE)
            return
        in_flight = self._hand[delivery]
        in_flight.unknown = frozenset(call.key for call in calls if call.answer is None)
        in_flight.recorded = sum(len(call.key) + len(call.answer or b"") for call in calls)
        self._deliver(delivery, update, calls)

    def _deliver(self, delivery: int, update: Waiting, calls: Sequence[RecordedCall] | None) -> None:
        in_flight = self._hand[delivery]
        in_flight.delivered = True
        self._worker.send(
            Deliver(
                delivery,
                update.attempt,
                update.after_gap,
                in_flight.trace_id,
                msgspec.Raw(update.body),
                calls if calls is None else [_recorded(call) for call in calls],
            )
        )
        self._emit("update.delivered", update, in_flight.trace_id)

    def _take_in(self, frame: object) -> None:
        if isinstance(frame, Heartbeat):
            self._worker.heartbeat_at = trio.current_time()
            self._worker.memory = frame.memory
            self._worker.lag = frame.lag
        elif isinstance(frame, (Calling, Called, Outcome)):  # a union would be made anew each time
            in_flight = self._hand.get(frame.delivery)
            if in_flight is None or not in_flight.delivered:  # it is stale or made up, and changes nothing
                return
            if isinstance(frame, Calling):
                self._calling(frame.key, in_flight)
            elif isinstance(frame, Called):
                self._called(frame, in_flight)
            else:
                del self._hand[frame.delivery]
                self._idle_since = trio.current_time()
                self._settle(frame, in_flight)

    def _calling(self, key: str, in_flight: _InFlight) -> None:
        if not in_flight.update.called:
            in_flight.update = replace(in_flight.update, called=True)
        repeats = key in in_flight.open_calls or key in in_flight.unknown
        if key not in in_flight.open_calls:
            self._count(in_flight, len(key))
        in_flight.open_calls[key] = repeats
        self._backlog.calling(in_flight.update, key)
        in_flight.repeated += repeats
        if repeats and in_flight.repeated <= MOST_TOLD:
            self._emit("update.repeated", in_flight.update, call=shown_call(key))

    def _called(self, frame: Called, in_flight: _InFlight) -> None:
        known = frame.key in in_flight.open_calls
        if frame.made or not in_flight.open_calls.get(frame.key):
            in_flight.open_calls.pop(frame.key, None)
        answer = bytes(frame.answer) if frame.made else None
        if answer is not None:
            self._count(in_flight, len(answer) + (0 if known else len(frame.key)))
        elif known and frame.key not in in_flight.open_calls:
            in_flight.recorded -= len(frame.key)
        self._backlog.called(in_flight.update, frame.key, answer)

    def _count(self, in_flight: _InFlight, size: int) -> None:
        """So many bytes more are to be recorded for the update.

        Raises:
            FrameError: it is more than an honest worker records; it would fill the disk, and no frame.
        """
        in_flight.recorded += size
        if in_flight.recorded > MOST_RECORDED:
            message = f"more than {MOST_RECORDED >> 20} MB of calls for one update"
            raise FrameError(message)

    def _settle(self, outcome: Outcome, in_flight: _InFlight) -> None:
        update = in_flight.update
        if outcome.result == "done":
            self._activity.messages += 1
            self._backlog.finish(update, "done")
            self._emit("update.done", update, in_flight.trace_id)
            if outcome.unmade:
                self._emit("update.diverged", update, calls=outcome.unmade)
        elif outcome.result == "drop":
            self._activity.messages += 1
            self._backlog.finish(update, "dropped")
            self._emit("update.dropped", update, reason=outcome.error)
        elif outcome.result == "dead":
            self._activity.errors += 1
            failure = self._failure(in_flight, outcome.error)
            reason = outcome.words or outcome.error
            self._dead_letter(update, reason, update.attempt + 1, failure, told=outcome.error)
        elif outcome.counted:
            self._failed(in_flight, outcome.error, wait=outcome.after)
        else:
            wait = max(SHORTEST_WAIT, outcome.after or 0.0)
            waits = replace(
                update, due=self._clock() + wait, started_at=_started(in_flight) + wait, suspect=False
            )
            self._retry(waits, self._failure(in_flight, outcome.error))

    def _failed(self, in_flight: _InFlight, error: str, *, wait: float | None = None) -> None:
        update, retry = in_flight.update, self._settings().retry
        attempt = update.attempt + 1
        verdict = after_failure(attempt, _started(in_flight), self._clock(), retry, self._rng, wait=wait)
        skipped = update.skipped or self._settings().on_failure == "skip"
        self._judge(in_flight, error, verdict, replace(update, suspect=False, skipped=skipped))

    def _crashed(self, in_flight: _InFlight) -> None:
        """The worker ended with the update in flight: alone it is to blame, among others only a suspect."""
        update = in_flight.update
        skipped = update.skipped or self._settings().on_failure == "skip"
        if not self._alone:
            suspect = replace(update, suspect=True, skipped=skipped)
            self._judge(in_flight, "the worker ended", None, suspect)
            return
        crashes = update.crashes + 1
        verdict = after_crash(crashes, self._clock(), self._settings().retry, self._rng)
        self._judge(in_flight, "the worker ended", verdict, replace(update, crashes=crashes, skipped=skipped))

    def _judge(
        self, in_flight: _InFlight, error: str, verdict: Again | Never | None, update: Waiting
    ) -> None:
        """`verdict`: None is again, at once."""
        self._activity.errors += 1
        attempt = update.attempt + 1
        failure = self._failure(in_flight, error)
        if isinstance(verdict, Never):
            self._dead_letter(update, f"{verdict.reason}, last: {error}", attempt, failure)
            return
        due = 0.0 if verdict is None else verdict.due
        self._retry(replace(update, attempt=attempt, due=due, started_at=_started(in_flight)), failure)

    def _failure(self, in_flight: _InFlight, error: str) -> Attempt:
        unknown = tuple(shown_call(key) for key in list(in_flight.open_calls)[:MOST_TOLD])
        return Attempt(self._clock(), error, unknown)

    def _retry(self, update: Waiting, failure: Attempt) -> None:
        self._backlog.retry(update, failure)
        self._emit(
            "update.retried",
            update,
            attempt=update.attempt,
            error=failure.error,
            wait=round(max(0.0, update.due - failure.at), 3),
            unknown=list(failure.unknown) or None,
        )

    def _dead_letter(
        self,
        update: Waiting,
        reason: str,
        attempts: int,
        failure: Attempt | None = None,
        *,
        told: str | None = None,
    ) -> None:
        """`told` stands for a reason that is the handler's own words, which may quote a user."""
        self._backlog.dead_letter(update, reason, attempts, failure)
        self._emit("update.dead", update, attempts=attempts, reason=told or reason)

    def _emit(self, event: str, update: Waiting, trace_id: str | None = None, **fields: Any) -> None:
        if self._events.hears(event):  # else, as for most updates, nothing is made for nobody
            dialog = f"{self._bot}/{update.key}"
            self._events.emit(event, self._bot, trace_id=trace_id or trace(update), dialog=dialog, **fields)


def _started(in_flight: _InFlight) -> float:
    started_at = in_flight.update.started_at
    return in_flight.handed_at if started_at is None else started_at


def _recorded(call: RecordedCall) -> Recorded:
    if call.answer is None:
        return Recorded(call.key, answered=False)
    return Recorded(call.key, answered=True, answer=msgspec.Raw(call.answer))


def trace(update: Waiting) -> str:
    """The update's trace id: 32 hexadecimal digits, the same for the same update wherever it is told."""
    return trace_id(update.bot_id, update.update_id)
