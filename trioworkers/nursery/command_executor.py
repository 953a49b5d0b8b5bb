"""A program as an executor: updates go out as answers to its polls; polls or its probe tell their ends.

It has the suspects, too, one at a time and before all others: a second process beside the bot's own, as
other bots have for them, might want the same port, or the same files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import trio

from trioworkers.gateway.handling import Handling
from trioworkers.nursery.delivery_recorder import DeliveryRecorder, recorded_calls
from trioworkers.nursery.worker import Gone
from trioworkers.protocol.frames import FrameError, Heartbeat, Outcome
from trioworkers.records import belongs_to_chat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trioworkers.call_marks import CallMarks
    from trioworkers.gateway.local_bot import LocalBot
    from trioworkers.nursery.delivery import Delivery, Settling
    from trioworkers.nursery.scheduler import Scheduler
    from trioworkers.nursery.worker import ConnectedWorker
    from trioworkers.protocol.held_back import HeldBack


@dataclass(frozen=True, slots=True)
class Recording:
    """How the calls of a program's handlings are recorded.

    Attributes:
        marks: where they are marked; None: they are not.
        held_back: where they are held back; None: they are not.
        fault: is given what breaks while one is recorded later.
    """

    marks: CallMarks | None
    held_back: HeldBack[DeliveryRecorder] | None
    fault: Callable[[Exception], None]

    def recorder(self, delivery: Delivery) -> DeliveryRecorder:
        """The recorder of one handling."""
        return DeliveryRecorder(delivery, self.marks, self.held_back, self.fault)


class Handed:
    """A delivery as a local bot has it in hand."""

    __slots__ = ("_handling", "_recorder", "_recording", "began_at", "body", "delivery")

    def __init__(self, delivery: Delivery, recording: Recording) -> None:
        self.delivery = delivery
        self.body = delivery.update.body
        self.began_at: float | None = None
        self._recording = recording
        self._recorder: DeliveryRecorder | None = None
        self._handling: Handling | None = None

    def begin(self) -> None:
        """The program handles it now, and did not before."""
        self.began_at = trio.current_time()
        self.delivery.begun()

    @property
    def handling(self) -> Handling | None:
        """Where the program's calls for it are recorded; None: they are not."""
        if self._handling is None:
            recorded = recorded_calls(self.delivery)
            if recorded is not None:
                self._recorder = self._recording.recorder(self.delivery)
                self._handling = Handling(recorded, self._recorder)
        return self._handling

    @property
    def stood(self) -> float:
        """Seconds for which its messages have waited for their turns."""
        return 0.0 if self._handling is None else self._handling.stood_by_now

    def close(self, *, done: bool = False, lost: bool = False) -> Delivery:
        """Return the delivery, which is about to end: nothing is recorded for it any more.

        `done`: so that its calls are forgotten. `lost`: since its process has ended.
        """
        if self._handling is not None and self._recorder is not None:
            self._handling.close(lost=lost)
            self._recorder.close(done=done)
        return self.delivery


class CommandExecutor:
    """Keeps one program supplied with its bot's updates until it ends. :meth:`run` once.

    What it had in hand when it ended is lost, and each such update becomes a suspect; what a program had
    that was drained too late is put back.

    Args:
        worker: the worker that runs the program.
        bot: the program at the endpoint.
        scheduler: hands it updates.
        settling: what deliveries need.
        recording: how calls of handlings are recorded.
    """

    def __init__(
        self,
        worker: ConnectedWorker,
        bot: LocalBot,
        scheduler: Scheduler,
        settling: Settling,
        recording: Recording,
    ) -> None:
        self._recording = recording
        self._worker = worker
        worker.promise = lambda: bot.acknowledged_by
        self._bot = bot
        self._scheduler = scheduler
        self._settling = settling
        self._idle_since = trio.current_time()
        self._draining = self._has_let_go = False
        self._fences: list[tuple[set[Delivery], Callable[[], None]]] = []
        self._in_hand: dict[Delivery, Handed] = {}
        self._suspect: Delivery | None = None
        self._how = ""
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many updates the program was given."""
        return self._taken

    @property
    def idle_since(self) -> float:
        """Since when it has had nothing in hand, trio time; infinite while it has."""
        return math.inf if self._in_hand else self._idle_since

    @property
    def held_for(self) -> float:
        """Seconds for which it has worked at the oldest of what is in hand, where a probe tells the ends.

        Elsewhere 0: how long a handling takes is the program's business, which is hung when it does not poll.
        """
        if not self._in_hand or self._bot.promise != "probe":
            return 0.0
        now = self._settling.clock()
        begun = [item for item in self._in_hand.values() if item.began_at is not None]
        return max((now - item.delivery.handed_at - item.stood for item in begun), default=0.0)

    # -- what the scheduler and the endpoint ask ------------------------------------------------------

    def room(self) -> int:
        """As :class:`~trioworkers.nursery.executor.Executor`; nothing while there are suspects."""
        if self._draining or self._suspect is not None or self._scheduler.suspect_work.has_work:
            return 0
        return self._bot.room()

    def begin(self, delivery: Delivery) -> None:
        """As :class:`~trioworkers.nursery.executor.Executor`."""
        if self._bot.room() < 1:  # its poll was answered, or ended, while the update was looked up
            delivery.put_back()
            return
        self._taken += 1
        item = self._in_hand[delivery] = Handed(delivery, self._recording)
        self._bot.give(item)
        delivery.delivered()

    def hurry(self) -> None:
        """As :class:`~trioworkers.nursery.executor.Executor`; a poll is answered as soon as it can be."""

    def room_for_suspect(self) -> int:
        """One, while the program waits and has nothing else."""
        return 0 if self._draining or self._in_hand else min(1, self._bot.room())

    def begin_suspect(self, delivery: Delivery) -> None:
        """Give the program a suspect, and nothing else until it has handled it."""
        self._suspect = delivery if self._bot.room() > 0 else None
        self.begin(delivery)

    def confirm(self, items: Sequence[Handed]) -> None:
        """The program polls for what follows these: they are done."""
        for item in items:
            self._settle(item, Outcome(0, "done"))
        self._after_ends()

    def end(self, item: Handed, outcome: Outcome) -> None:
        """The handling of this one ended so: give the program the next one."""
        self._settle(item, outcome)
        self._after_ends()
        self.refill()

    def _settle(self, item: Handed, outcome: Outcome) -> None:
        delivery = item.close(done=outcome.result in ("done", "drop"))
        self._in_hand.pop(delivery, None)
        if delivery is self._suspect:
            self._suspect = None
        delivery.settle(outcome)

    def _after_ends(self) -> None:
        self._idle_since = trio.current_time()
        for waited_for, done in self._fences:
            waited_for.intersection_update(self._in_hand)
            if not waited_for:
                done()
        self._fences = [fence for fence in self._fences if fence[0]]
        self._let_go_when_idle()

    def refill(self) -> None:
        """The program waits for updates: suspects first."""
        self._scheduler.refill("suspects")
        self._scheduler.refill("ordinary")

    # -- what the session asks ------------------------------------------------------------------------

    def fence(self, chat_id: int, done: Callable[[], None]) -> bool:
        """Wait for what it has in hand of a chat, which nobody can cut off; False when that is nothing.

        A program that takes too long is ended by the session, as a worker would be.
        """
        of_chat = {one for one in self._in_hand if belongs_to_chat(one.update.key, chat_id)}
        if of_chat:
            self._fences.append((of_chat, done))
        return bool(of_chat)

    def drain(self) -> None:
        """Give nothing more; once nothing is in hand, answer its polls with nothing and ask it to end."""
        self._draining = True
        self._let_go_when_idle()

    def _let_go_when_idle(self) -> None:
        if self._draining and not self._in_hand and not self._has_let_go:
            self._has_let_go = True
            self._bot.let_go()
            self._worker.drain()

    async def run(self) -> None:
        """Work until the program has ended."""
        self._bot.serve_with(self)
        suspects = _Suspects(self)
        try:
            with self._scheduler.hands_to(suspects, "suspects"), self._scheduler.hands_to(self):
                await self._listen()
            await self._bot.wait_over()
            if not self._draining:
                self._lose()
        finally:
            for item in self._bot.close():
                cast("Handed", item).close(lost=True).put_back()
            self._in_hand.clear()

    def _lose(self) -> None:
        """What it was handling is lost. What waited behind that in the program did not end it."""
        items = [cast("Handed", item) for item in self._bot.close()]
        alone = sum(item.began_at is not None for item in items) == 1
        for item in items:
            delivery = item.close(lost=True)
            if item.began_at is None:
                delivery.put_back()
            else:
                delivery.lose(alone=alone, how=self._how)

    async def _listen(self) -> None:
        try:
            while frames := await self._worker.receive():
                for frame in frames:
                    if isinstance(frame, Heartbeat):
                        self._take_in(frame)
                    elif isinstance(frame, Gone):
                        self._how = frame.how
                await self._settling.backlog.wait_recorded()
        except FrameError as error:
            self._settling.events.emit("worker.refused", self._settling.bot, reason=str(error))

    def _take_in(self, heartbeat: Heartbeat) -> None:
        """Note that it lives. Whether it responds, its polls say while there is something to poll for.

        A handling that should be over by its `handler_timeout` is no sign of life, whatever else goes on: no
        program can be made to give one up, and what waits behind it would wait for ever.
        """
        worker = self._worker
        worker.memory = heartbeat.memory
        has_work = bool(self._in_hand) or self._scheduler.work.has_work
        if self.held_for > self._settling.settings().handler_timeout:
            pass
        elif self._bot.waits or not has_work:
            worker.heartbeat_at = trio.current_time()
        else:
            worker.heartbeat_at = max(worker.heartbeat_at or 0.0, self._bot.heard_at)
        self._settling.touch()
        if self._settling.figures is not None:
            self._settling.figures.heard(heartbeat.lag, heartbeat.calls, heartbeat.waited)


class _Suspects:
    """The executor of suspects: the same program."""

    def __init__(self, executor: CommandExecutor) -> None:
        self.room = executor.room_for_suspect
        self.begin = executor.begin_suspect
        self.hurry = executor.hurry
