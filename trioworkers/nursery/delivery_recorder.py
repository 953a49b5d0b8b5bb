"""Records the calls of an update in flight where they are made in the daemon itself."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import msgspec
import trio

from trioworkers.call_marks import MOST_KEY
from trioworkers.protocol.frames import Recorded

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.call_marks import CallMarks
    from trioworkers.nursery.delivery import Delivery
    from trioworkers.protocol.held_back import HeldBack


def _raise(error: Exception) -> None:
    raise error


class DeliveryRecorder:
    """A :class:`~trioworkers.handling.calls.CallRecorder` in the process that makes calls durable.

    A call that is marked is held back: it is recorded when the handling ends in any way but done, or after
    some milliseconds. With an update that is done its calls are forgotten, so most are never recorded.

    Args:
        delivery: the update in flight.
        marks: where a call is marked until it, or the end of its update, is durable: it is known although
            the daemon is killed before; None: it is not.
        held_back: where calls are held back; None: each is recorded before it is made. So is each of an
            update whose earlier handlings made calls, as repetitions are reported, and where somebody wants
            to hear of calls.
        fault: is given what breaks while a call is recorded later.
    """

    def __init__(
        self,
        delivery: Delivery,
        marks: CallMarks | None = None,
        held_back: HeldBack[DeliveryRecorder] | None = None,
        fault: Callable[[Exception], None] = _raise,
    ) -> None:
        self._delivery = delivery
        self._marks = marks
        self._held_back = None if delivery.calls or delivery.tells_calls else held_back
        self._fault = fault
        self._slots: dict[str, int] = {}  # of calls that are under way, or held back
        self._held: dict[str, bytes | None] = {}  # calls that are held back, with their answers

    async def begin(self, key: str) -> None:
        is_again = key in self._slots  # it may have been made: it is recorded, and reported
        if is_again:
            self.report()
        is_marked = self._marks is not None and self._mark(self._marks, key)
        if is_marked and not is_again and self._held_back is not None:
            if not self._held:
                self._held_back.add(self, perf_counter())
            self._held[key] = None
        else:
            self._delivery.calling(key)
        await self._delivery.wait_recorded()

    def made(self, key: str, answer: msgspec.Raw) -> None:
        if key in self._held:
            self._held[key] = bytes(answer)
            return
        self._delivery.called(key, bytes(answer))
        self._let_go(key)

    def not_made(self, key: str) -> None:
        if self._marks is not None and key in self._slots:
            self._marks.clear(self._slots[key])
        if key in self._held:
            del self._held[key]
            if not self._held:
                self._forget()
        else:
            self._delivery.called(key, None)
        self._let_go(key)

    def report(self) -> None:
        """Record what is held back."""
        held, self._held = self._held, {}
        self._forget()
        try:
            for key, answer in held.items():
                self._delivery.calling(key)
                if answer is not None:
                    self._delivery.called(key, answer)
                    self._let_go(key)
        except Exception as error:
            self._fault(error)

    def close(self, *, done: bool = False) -> None:
        """The update is about to end; `done`: so that its calls are forgotten."""
        if not done:
            self.report()
        elif self._held:
            self._held.clear()
            self._forget()
        for key in list(self._slots):
            self._let_go(key, 1)

    def _forget(self) -> None:
        """Nothing is held back any more."""
        if self._held_back is not None:
            self._held_back.discard(self)

    def _mark(self, marks: CallMarks, key: str) -> bool:
        """Mark a call; False where there is no place for it."""
        encoded = key.encode(errors="replace")
        slot = self._slots.get(key)
        if slot is None and len(encoded) <= MOST_KEY:
            slot = marks.take(self._delivery.backlog.records_written)
        if slot is None:
            return False
        self._slots[key] = slot
        marks.write(slot, 1, self._delivery.update.id, 0, encoded)
        return True

    def _let_go(self, key: str, more: int = 0) -> None:
        """Let others have the place of a mark, once all is durable that is recorded now, and so many more."""
        slot = self._slots.pop(key, None)
        if slot is not None and self._marks is not None:
            self._marks.give_back(slot, self._delivery.backlog.records + more)

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()


def recorded_calls(delivery: Delivery) -> list[Recorded] | None:
    """The calls of earlier handlings of an update; None: calls are not recorded."""
    if delivery.calls is None:
        return None
    return [
        Recorded(call.key, call.answer is not None, msgspec.Raw(call.answer or b"null"))
        for call in delivery.calls
    ]
