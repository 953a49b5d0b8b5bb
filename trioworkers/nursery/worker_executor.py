"""A worker session as an executor: deliveries go out as frames, calls and outcomes come back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import trio

from trioworkers.protocol.frames import Called, Calling, Deliver, FrameError, Heartbeat, Outcome, Recorded

if TYPE_CHECKING:
    from trioworkers.nursery.delivery import Delivery, Settling
    from trioworkers.nursery.scheduler import Scheduler
    from trioworkers.nursery.worker import ConnectedWorker
    from trioworkers.records import RecordedCall


class WorkerExecutor:
    """Keeps one worker busy with its bot's updates until it ends. :meth:`run` once.

    A delivery whose outcome never comes is put back, by whoever is cancelled or drained too late; when the
    worker itself ended, each that it had is lost, and its update becomes a suspect, which is handled alone.

    Args:
        worker: the worker.
        scheduler: hands it updates.
        settling: what deliveries need.
        alone: it is the quarantine: it has the suspects, one at a time.
    """

    def __init__(
        self,
        worker: ConnectedWorker,
        scheduler: Scheduler,
        settling: Settling,
        *,
        alone: bool = False,
    ) -> None:
        self._worker = worker
        self._scheduler = scheduler
        self._settling = settling
        self._alone = alone
        self._kind = "suspects" if alone else "ordinary"
        self._in_flight: dict[int, Delivery] = {}  # by the number that the worker knows it by
        self._last_number = 0
        self._idle_since = trio.current_time()
        self._draining = False

    @property
    def idle_since(self) -> float:
        """Since when the worker has had nothing in flight, trio time; infinite while it has."""
        return math.inf if self._in_flight else self._idle_since

    @property
    def held_for(self) -> float:
        """Seconds for which the worker has had the oldest of what is in flight; 0 when nothing is."""
        oldest = next(iter(self._in_flight.values()), None)  # numbers ascend
        return 0.0 if oldest is None else self._settling.clock() - oldest.handed_at

    def room(self) -> int:
        """As :class:`~trioworkers.nursery.executor.Executor`."""
        if self._draining:
            return 0
        return (1 if self._alone else self._settling.settings().concurrency) - len(self._in_flight)

    def begin(self, delivery: Delivery) -> None:
        """As :class:`~trioworkers.nursery.executor.Executor`."""
        self._last_number = number = self._last_number + 1
        self._in_flight[number] = delivery
        update, calls = delivery.update, delivery.calls
        self._worker.send(
            Deliver(
                number,
                update.attempt,
                update.after_gap,
                delivery.trace_id,
                msgspec.Raw(update.body),
                calls if calls is None else [_recorded(call) for call in calls],
            )
        )
        delivery.delivered()

    def drain(self) -> None:
        """Take nothing more; once nothing is in flight, let the worker stop."""
        if not self._draining:
            self._draining = True
            if not self._in_flight:
                self._worker.drain()

    async def run(self) -> None:
        """Work until the worker has closed its channel, or sent something that is not a valid frame."""
        try:
            with self._scheduler.hands_to(self, self._kind):
                await self._listen()
            if not self._draining:
                while self._in_flight:
                    self._in_flight.pop(next(iter(self._in_flight))).lose(alone=self._alone)
        finally:
            for delivery in self._in_flight.values():
                delivery.put_back()
            self._in_flight.clear()

    async def _listen(self) -> None:
        try:
            while frames := await self._worker.receive():
                for frame in frames:
                    self._take_in(frame)
                if not self._draining:
                    self._scheduler.refill(self._kind)
                await self._settling.backlog.wait_recorded()
        except FrameError as error:
            self._settling.events.emit("worker.refused", self._settling.bot, reason=str(error))

    def _take_in(self, frame: object) -> None:
        if isinstance(frame, Heartbeat):
            self._worker.heartbeat_at = trio.current_time()
            self._worker.memory = frame.memory
            self._worker.lag = frame.lag
        elif isinstance(frame, (Calling, Called, Outcome)):  # a union would be made anew each time
            delivery = self._in_flight.get(frame.delivery)
            if delivery is None:  # it is stale or made up, and changes nothing
                return
            if isinstance(frame, Calling):
                delivery.calling(frame.key)
            elif isinstance(frame, Called):
                delivery.called(frame.key, bytes(frame.answer) if frame.made else None)
            else:
                del self._in_flight[frame.delivery]
                self._idle_since = trio.current_time()
                delivery.settle(frame)
                if self._draining and not self._in_flight:
                    self._worker.drain()


def _recorded(call: RecordedCall) -> Recorded:
    if call.answer is None:
        return Recorded(call.key, answered=False)
    return Recorded(call.key, answered=True, answer=msgspec.Raw(call.answer))
