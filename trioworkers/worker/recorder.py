"""Records the calls of one handling with the daemon, by frames and by marks in shared memory."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import trio

from trioworkers.call_marks import MOST_KEY
from trioworkers.protocol.frames import MOST_ANSWER, Called, Calling, Unreported

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from trioworkers.call_marks import CallMarks
    from trioworkers.protocol.channel import Channel
    from trioworkers.protocol.frames import Deliver
    from trioworkers.worker.held_calls import HeldCalls


MOST_MARKS = 8  # of one handling, so that one with many calls leaves places for others


class FrameRecorder:
    """A :class:`~trioworkers.handling.calls.CallRecorder` that tells the daemon, now or later.

    Each call is marked. The mark stays while the update is in flight, and after that until others need its
    place: what was reported may not be durable when the daemon is killed. One call of the handling at a time
    can be held back.

    Args:
        deliver: the delivery. If earlier handlings of its update made calls, none is held back: repetitions
            are the daemon's to see.
        channel: where the frames go.
        is_alone: whether no other handling is under way; else a frame leaves with those of the others.
        held: where calls are marked and held back; None: each is reported before it is made.
    """

    def __init__(
        self,
        deliver: Deliver,
        channel: Channel,
        is_alone: Callable[[], bool],
        held: HeldCalls | None = None,
    ) -> None:
        self._delivery = deliver.delivery
        self._id = deliver.id
        self._tells = deliver.tells_calls
        self._channel = channel
        self._is_alone = is_alone
        self._held = held
        self._holds = not deliver.calls
        self._key: str | None = None  # of the call that is held back
        self._answer: msgspec.Raw | None = None
        self._began = self._took = 0.0
        self._slots: dict[str, int] = {}  # of the marks, by the key of the call
        self._reported = 0  # calls
        self._open: set[str] = set()  # calls that were reported, and not their ends
        self._sent = 0  # what the channel had been given with the last report
        self._last: bytes | None = None  # what the channel wants to take the last answer back

    async def begin(self, key: str) -> None:
        if self._held is not None:
            self.report()
            # what was begun may have been made: the daemon has to see that it is repeated
            if self._mark(self._held, key) and self._holds and key not in self._open:
                self._key, self._answer, self._began = key, None, perf_counter()
                self._held.add(self, self._began)
                if not self._is_alone():  # those that begin in one turn go on together, in fewer turns
                    await trio.lowlevel.checkpoint()
                return
        self._reported += 1
        self._open.add(key)
        self._channel.send(Calling(self._delivery, key))
        self._sent = self._channel.sent
        await self._channel.wait_sent(at_once=self._is_alone())

    def _mark(self, held: HeldCalls, key: str) -> bool:
        """Mark a call; False when there is no room for it."""
        try:
            encoded = key.encode()
        except UnicodeEncodeError:  # it fits into no frame either, which says so
            return False
        if len(encoded) > MOST_KEY:
            return False
        slot = self._slot(held.marks, key)
        if slot is None:
            return False
        self._slots[key] = slot
        held.marks.write(slot, self._delivery, self._id, self._reported, encoded)
        return True

    def _slot(self, marks: CallMarks, key: str) -> int | None:
        """A place for a mark; where a handling has enough, that of its first call, once it was reported."""
        slots = self._slots
        if key in slots:
            return slots[key]
        if len(slots) < MOST_MARKS and (slot := marks.take(self._channel.left)) is not None:
            return slot
        first = next(iter(slots), None)
        if first is None or first in self._open or not self._channel.has_left(self._sent):
            return None
        return slots.pop(first)

    def made(self, key: str, answer: msgspec.Raw) -> None:
        """Record the answer; one of more than `MOST_ANSWER` bytes is not, and the call is made each time."""
        if memoryview(answer).nbytes > MOST_ANSWER:
            self.not_made(key)
            return
        if key == self._key and self._held is not None:
            self._answer = answer
            if self._tells:
                self._took = perf_counter() - self._began
            self._held.answered(self)
            return
        self._open.discard(key)
        self._last = self._channel.send(Called(self._delivery, key, made=True, answer=answer))
        self._sent = self._channel.sent

    def not_made(self, key: str) -> None:
        if self._held is not None:
            if key in self._slots:
                self._held.marks.clear(self._slots[key])
            if key == self._key:
                self._held.discard(self)
                self._key = None
                return
        self._open.discard(key)
        self._channel.send(Called(self._delivery, key, made=False))
        self._sent = self._channel.sent

    async def flush(self) -> None:
        self.report()
        self._last = None
        await self._channel.wait_sent(at_once=self._is_alone())

    def report(self) -> None:
        """Report the call that is held back, if there is one."""
        key, self._key = self._key, None
        if key is None or self._held is None:
            return
        self._held.discard(self)
        self._reported += 1
        self._channel.send(Calling(self._delivery, key))
        if self._answer is None:
            self._open.add(key)
        else:
            self._last = self._channel.send(Called(self._delivery, key, made=True, answer=self._answer))
        self._sent = self._channel.sent

    def report_answer(self) -> None:
        """Report the call that is held back, if it has its answer."""
        if self._answer is not None:
            self.report()

    def take_back(self) -> Unreported | None:
        """The handling is done: do not send what has not left yet; return the call that stays unreported.

        With what is done its calls are forgotten. The answer that nearly every handling ends with would cost
        daemon and worker 7 of some 200 µs, to be thrown away, and the report before it 50.
        """
        if self._last is not None:
            self._channel.take_back(self._last)
        key, self._key = self._key, None
        if key is None or self._held is None:
            return None
        self._held.discard(self)
        if not self._tells:
            return None
        return Unreported(key, None if self._answer is None else self._took)

    def close(self) -> None:
        """Give the places of the marks back. The outcome was given to the channel before."""
        if self._held is not None:
            for slot in self._slots.values():
                self._held.marks.give_back(slot, self._channel.sent)
        self._slots.clear()
