"""A worker session as an executor: deliveries go out as frames, calls and outcomes come back."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import trio

from trioworkers.nursery.worker import Gone
from trioworkers.protocol.frames import (
    MOST_ASKED,
    MOST_ASKS,
    Answer,
    Ask,
    AskTurn,
    Called,
    Calling,
    CodeLoaded,
    Deliver,
    Fence,
    Fenced,
    FrameError,
    Head,
    Heartbeat,
    Outcome,
    Recorded,
    TaskFailed,
    TurnOver,
)
from trioworkers.records import belongs_to_chat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers.nursery.asks import BotAsks
    from trioworkers.nursery.delivery import Delivery, Settling
    from trioworkers.nursery.scheduler import Scheduler
    from trioworkers.nursery.worker import ConnectedWorker
    from trioworkers.records import RecordedCall


class WorkerExecutor:
    """Keeps one worker busy with its bot's updates until it ends. :meth:`run` once.

    A delivery whose outcome never comes is put back, by whoever is cancelled or drained too late; when the
    worker itself ended, each that it had is lost, and its update becomes a suspect, which is handled alone.
    A delivery that was fenced is put back in any case.

    Args:
        worker: the worker.
        scheduler: hands it updates.
        settling: what deliveries need.
        alone: it is the quarantine: it has the suspects, one at a time.
        asks: answers what handlers ask for.
    """

    def __init__(
        self,
        worker: ConnectedWorker,
        scheduler: Scheduler,
        settling: Settling,
        *,
        alone: bool = False,
        asks: BotAsks | None = None,
    ) -> None:
        self._worker = worker
        self._asks = asks
        self._asked = 0  # questions whose answers the worker has not taken yet
        self._scheduler = scheduler
        self._settling = settling
        self._alone = alone
        self._kind = "suspects" if alone else "ordinary"
        self._in_flight: dict[int, Delivery] = {}  # by the number that the worker knows it by
        self._last_number = 0
        self._fenced: set[int] = set()  # deliveries in flight that the worker was asked to cut off
        self._fences: dict[int, Callable[[], None]] = {}  # by number, with what is called when one is done
        self._last_fence = 0
        self._idle_since = trio.current_time()
        self._draining = False
        self._how = ""  # the worker's process ended

    @property
    def idle_since(self) -> float:
        """Since when the worker has had nothing in flight, trio time; infinite while it has."""
        return math.inf if self._in_flight else self._idle_since

    @property
    def held_for(self) -> float:
        """Seconds for which the worker has had the oldest of what is in flight; 0 when nothing is."""
        oldest = next(iter(self._in_flight.values()), None)  # numbers ascend
        return 0.0 if oldest is None else self._settling.clock() - oldest.handed_at

    @property
    def taken(self) -> int:
        """How many updates the worker was given."""
        return self._last_number

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
        came = update.head
        self._worker.send(
            Deliver(
                number,
                update.attempt,
                update.after_gap,
                msgspec.Raw(update.body),
                calls if calls is None else [_recorded(call) for call in calls],
                None
                if came is None
                else Head(came.update_id, came.kind, update.key, came.chat_id, came.user_id),
                update.key if came is None and update.kind == "callback_query" else None,  # a setting's lane
                None if update.parts is None else [msgspec.Raw(part.body) for part in update.parts],
                update.id if self._worker.has_marks else 0,
                delivery.tells_calls,
            )
        )
        delivery.delivered()

    def hurry(self) -> None:
        """As :class:`~trioworkers.nursery.executor.Executor`."""
        if len(self._in_flight) == 1:
            self._worker.hurry()

    def fence(self, chat_id: int, done: Callable[[], None]) -> bool:
        """Let the worker cut off all that it has in flight of a chat; False when it has nothing of it.

        Else `done` is called when no call of these handlings can be made any more. It never is when the
        worker ends before.
        """
        numbers = [
            number
            for number, delivery in self._in_flight.items()
            if belongs_to_chat(delivery.update.key, chat_id)
        ]
        if not numbers:
            return False
        self._last_fence = number = self._last_fence + 1
        self._fences[number] = done
        self._fenced.update(numbers)
        self._worker.send(Fence(number, numbers))
        return True

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
            self._take_in_marks()
            if not self._draining:
                while self._in_flight:
                    number, delivery = next(iter(self._in_flight.items()))
                    del self._in_flight[number]
                    if number in self._fenced:  # it is not to blame, and is another's now
                        delivery.put_back()
                    else:
                        delivery.lose(alone=self._alone, how=self._how)
        finally:
            self._take_in_marks()
            if self._in_flight:  # cut off: until its process has ended, it may still make calls
                left = dict(self._in_flight)
                self._worker.on_end = lambda: self._take_in_marks(left)
            for delivery in self._in_flight.values():
                delivery.put_back()
            self._in_flight.clear()

    def _take_in_marks(self, left: Mapping[int, Delivery] | None = None) -> None:
        """Take in what is in flight had called and not reported: the worker marked it.

        `left`: what was in flight when the worker was cut off.
        """
        in_flight = self._in_flight if left is None else left
        for mark in self._worker.marked_calls() if in_flight else ():
            delivery = in_flight.get(mark.delivery)
            if delivery is not None and delivery.update.id == mark.id:
                with suppress(FrameError):  # more than is recorded
                    delivery.marked(mark)

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
            self._settling.touch()
            if self._settling.figures is not None:
                self._settling.figures.heard(frame.lag, frame.calls, frame.waited)
            if frame.hooks:
                self._settling.count_hooks(frame.hooks)
        elif isinstance(frame, Ask):
            self._take_in_question(frame)
        elif isinstance(frame, (AskTurn, TurnOver)):
            self._worker.take_turn(frame)
        elif isinstance(frame, TaskFailed):
            self._worker.on_failed_task(frame)
        elif isinstance(frame, CodeLoaded):
            self._worker.on_code(frame)
        elif isinstance(frame, Gone):
            self._how = frame.how
        elif isinstance(frame, Fenced):
            done = self._fences.pop(frame.number, None)
            if done is not None:
                done()
        elif isinstance(frame, (Calling, Called, Outcome)):  # a union would be made anew each time
            delivery = self._in_flight.get(frame.delivery)
            if delivery is None:  # it is stale or made up, and changes nothing
                return
            if isinstance(frame, Calling):
                delivery.calling(frame.key)
            elif isinstance(frame, Called):
                delivery.called(frame.key, bytes(frame.answer) if frame.made else None)
            else:
                self._end(frame, delivery)
                if self._draining and not self._in_flight:
                    self._worker.drain()

    def _take_in_question(self, question: Ask) -> None:
        """Have a question answered.

        Raises:
            FrameError: an honest worker does not ask so. It asks `MOST_ASKS` at a time, and may have read an
                answer in the turn of the loop in which it is noted here that it was written.
        """
        if self._asked >= 2 * MOST_ASKS or len(bytes(question.params)) > MOST_ASKED:
            message = f"more than {MOST_ASKS} questions at a time, or one of more than {MOST_ASKED >> 10} kB"
            raise FrameError(message)
        if self._asks is None:
            self._worker.send(Answer(question.number, error="nobody answers"))
            return
        self._asked += 1
        self._asks.begin(question, self._reply)

    async def _reply(self, answer: Answer) -> None:
        self._worker.send(answer)
        await self._worker.wait_sent()  # a worker that does not read its answers may not ask on
        self._asked -= 1

    def _end(self, outcome: Outcome, delivery: Delivery) -> None:
        """End a delivery.

        Raises:
            FrameError: it was cut off, which nobody asked for: it would come again at once, without end.
        """
        was_fenced = outcome.delivery in self._fenced
        if outcome.result == "fenced" and not was_fenced:
            message = "a delivery ended as fenced, and there was no fence"
            raise FrameError(message)
        del self._in_flight[outcome.delivery]
        self._fenced.discard(outcome.delivery)
        self._idle_since = trio.current_time()
        if outcome.result == "fenced":
            delivery.put_back()
        else:
            delivery.settle(outcome)


def _recorded(call: RecordedCall) -> Recorded:
    if call.answer is None:
        return Recorded(call.key, answered=False)
    return Recorded(call.key, answered=True, answer=msgspec.Raw(call.answer))
