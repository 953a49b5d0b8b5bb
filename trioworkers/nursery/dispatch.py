"""From a bot's backlog to its worker, and the outcomes back: one for each worker's life."""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import trio

from trioworkers.inbox.policy import Never, after_failure, has_expired
from trioworkers.nursery.frames import Deliver, FrameError, Heartbeat, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Backlog
    from trioworkers.inbox.policy import RetryLimits
    from trioworkers.nursery.worker import Worker
    from trioworkers.records import Waiting


class DispatchSettings(Protocol):
    """What is read anew for each update, so that changes apply to the next one."""

    @property
    def concurrency(self) -> int: ...
    @property
    def retry(self) -> RetryLimits: ...


class Activity:
    """What one bot's workers did in this run of the daemon. `heartbeat_at`: trio time."""

    def __init__(self) -> None:
        self.messages = 0
        self.errors = 0
        self.memory = 0
        self.heartbeat_at: float | None = None


class Dispatch:
    """Keeps a worker busy with its bot's updates until one of them ends.

    An update in hand whose outcome never comes is put back, by whoever is cancelled or drained too
    late; when the worker itself ended, that was a failed attempt for each update that it had.
    """

    def __init__(
        self,
        bot: str,
        backlog: Backlog,
        worker: Worker,
        settings: Callable[[], DispatchSettings],
        events: Events,
        activity: Activity,
        chance: Random,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bot = bot
        self._backlog = backlog
        self._worker = worker
        self._settings = settings
        self._events = events
        self._activity = activity
        self._chance = chance
        self._clock = clock
        self._hand: dict[int, tuple[Waiting, float]] = {}
        self._last_delivery = 0
        self._draining = False

    def drain(self) -> None:
        """Hand out nothing more; once nothing is in hand, let the worker stop."""
        self._draining = True
        self._backlog.poke()

    async def run(self) -> None:
        """Work until the worker has closed its channel, or sent something that is no frame."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feed)
                try:
                    while frames := await self._worker.receive():
                        for frame in frames:
                            self._take_in(frame)
                except FrameError as error:
                    self._events.tell("worker.refused", self._bot, reason=str(error))
                nursery.cancel_scope.cancel()
            if not self._draining:
                for update, handed_at in self._hand.values():
                    self._failed(update, handed_at, "the worker ended")
                self._hand.clear()
        finally:
            for update, _ in self._hand.values():
                self._backlog.put_back(update)

    async def _feed(self) -> None:
        while not self._draining:
            while (has_room := len(self._hand) < self._settings().concurrency) and (
                update := self._backlog.take()
            ):
                self._deliver(update)
            await self._backlog.wait_change(due=has_room)
        while self._hand:
            await self._backlog.wait_change(due=False)
        self._worker.drain()

    def _deliver(self, update: Waiting) -> None:
        if update.damaged:
            self._bury(update, "damaged on disk", update.attempt)
            return
        if has_expired(update.kind, update.accepted_at, self._clock()):
            self._backlog.finish(update, "expired")
            self._tell("update.expired", update, kind=update.kind)
            return
        self._last_delivery += 1
        self._hand[self._last_delivery] = (update, self._clock())
        trace_id = trace(update)
        self._worker.send(
            Deliver(self._last_delivery, update.attempt, update.after_gap, trace_id, msgspec.Raw(update.body))
        )
        self._tell("update.delivered", update)

    def _take_in(self, frame: object) -> None:
        if isinstance(frame, Heartbeat):
            self._activity.heartbeat_at = trio.current_time()
            self._activity.memory = frame.memory
        elif isinstance(frame, Outcome):
            in_hand = self._hand.pop(frame.delivery, None)
            if in_hand is not None:  # else it is stale, and changes nothing
                self._settle(frame, *in_hand)
            self._backlog.poke()

    def _settle(self, outcome: Outcome, update: Waiting, handed_at: float) -> None:
        if outcome.result == "done":
            self._activity.messages += 1
            self._backlog.finish(update, "done")
            self._tell("update.done", update)
        elif outcome.result == "drop":
            self._activity.messages += 1
            self._backlog.finish(update, "dropped")
            self._tell("update.dropped", update, reason=outcome.error)
        elif outcome.result == "dead":
            self._activity.errors += 1
            self._bury(update, outcome.words or outcome.error, update.attempt + 1, told=outcome.error)
        elif outcome.counted:
            self._failed(update, handed_at, outcome.error, wait=outcome.after)
        else:
            wait = outcome.after or 0.0
            started_at = handed_at if update.started_at is None else update.started_at
            self._retry(update, self._clock() + wait, update.attempt, started_at + wait, outcome.error)

    def _failed(self, update: Waiting, handed_at: float, error: str, *, wait: float | None = None) -> None:
        self._activity.errors += 1
        attempt = update.attempt + 1
        started_at = handed_at if update.started_at is None else update.started_at
        verdict = after_failure(
            attempt, started_at, self._clock(), self._settings().retry, self._chance, wait=wait
        )
        if isinstance(verdict, Never):
            self._bury(update, f"{verdict.reason}, last: {error}", attempt)
        else:
            self._retry(update, verdict.due, attempt, started_at, error)

    def _retry(self, update: Waiting, due: float, attempt: int, started_at: float, error: str) -> None:
        self._backlog.retry(update, due=due, attempt=attempt, started_at=started_at, error=error)
        wait = round(due - self._clock(), 3)
        self._tell("update.retried", update, attempt=attempt, error=error, wait=wait)

    def _bury(self, update: Waiting, reason: str, attempts: int, *, told: str | None = None) -> None:
        """`told` stands for a reason that is the handler's own words, which may quote a user."""
        self._backlog.bury(update, reason, attempts)
        self._tell("update.dead", update, attempts=attempts, reason=told or reason)

    def _tell(self, event: str, update: Waiting, **fields: Any) -> None:
        dialog = f"{self._bot}/{update.key}"
        self._events.tell(event, self._bot, trace_id=trace(update), dialog=dialog, **fields)


def trace(update: Waiting) -> str:
    """The update's trace id: 32 hexadecimal digits, the same for the same update wherever it is told."""
    return blake2b(f"{update.bot_id}:{update.update_id}".encode(), digest_size=16).hexdigest()
