"""Records the calls of an update in flight where they are made in the daemon itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from trioworkers.protocol.frames import Recorded

if TYPE_CHECKING:
    from trioworkers.nursery.delivery import Delivery


class DeliveryRecorder:
    """A :class:`~trioworkers.handling.calls.CallRecorder` in the process that makes calls durable."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    async def begin(self, key: str) -> None:
        self._delivery.calling(key)
        await self._delivery.wait_recorded()

    def made(self, key: str, answer: msgspec.Raw) -> None:
        self._delivery.called(key, bytes(answer))

    def not_made(self, key: str) -> None:
        self._delivery.called(key, None)

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
