"""Records the calls of an update in flight where they are made in the daemon itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from trioworkers.call_marks import MOST_KEY
from trioworkers.protocol.frames import Recorded

if TYPE_CHECKING:
    from trioworkers.call_marks import CallMarks
    from trioworkers.nursery.delivery import Delivery


class DeliveryRecorder:
    """A :class:`~trioworkers.handling.calls.CallRecorder` in the process that makes calls durable.

    Args:
        delivery: the update in flight.
        marks: where a call is marked until others need the place, so that it is known although the daemon is
            killed before it is durable; None: it is not.
    """

    def __init__(self, delivery: Delivery, marks: CallMarks | None = None) -> None:
        self._delivery = delivery
        self._marks = marks
        self._slots: dict[str, int] = {}

    async def begin(self, key: str) -> None:
        if self._marks is not None:
            self._mark(self._marks, key)
        self._delivery.calling(key)
        await self._delivery.wait_recorded()

    def made(self, key: str, answer: msgspec.Raw) -> None:
        self._let_go(key)
        self._delivery.called(key, bytes(answer))

    def not_made(self, key: str) -> None:
        if self._marks is not None and key in self._slots:
            self._marks.clear(self._slots[key])
        self._let_go(key)
        self._delivery.called(key, None)

    def close(self) -> None:
        """The update has ended. Its marks stay until others need their places."""
        for key in list(self._slots):
            self._let_go(key)

    def _mark(self, marks: CallMarks, key: str) -> None:
        encoded = key.encode(errors="replace")
        slot = self._slots.get(key)
        if slot is None and len(encoded) <= MOST_KEY:
            slot = marks.take(0)
        if slot is not None:
            self._slots[key] = slot
            marks.write(slot, 1, self._delivery.update.id, 0, encoded)

    def _let_go(self, key: str) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None and self._marks is not None:
            self._marks.give_back(slot, 0)

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
