"""Records the calls of one handling with the daemon, by frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.protocol.frames import MOST_ANSWER, Called, Calling

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from trioworkers.protocol.channel import Channel


class FrameRecorder:
    """A :class:`~trioworkers.handling.calls.CallRecorder` that sends what it is told to the daemon.

    Args:
        delivery: the number of the delivery.
        channel: where the frames go.
        is_alone: whether no other handling is under way; else a frame leaves with those of the others.
    """

    def __init__(self, delivery: int, channel: Channel, is_alone: Callable[[], bool]) -> None:
        self._delivery = delivery
        self._channel = channel
        self._is_alone = is_alone
        self._last: bytes | None = None  # what the channel wants to take the last answer back

    async def begin(self, key: str) -> None:
        self._channel.send(Calling(self._delivery, key))
        await self._channel.wait_sent(at_once=self._is_alone())

    def made(self, key: str, answer: msgspec.Raw) -> None:
        """Record the answer; one of more than `MOST_ANSWER` bytes is not, and the call is made each time."""
        if memoryview(answer).nbytes > MOST_ANSWER:
            self.not_made(key)
            return
        self._last = self._channel.send(Called(self._delivery, key, made=True, answer=answer))

    def not_made(self, key: str) -> None:
        self._channel.send(Called(self._delivery, key, made=False))

    async def flush(self) -> None:
        self._last = None
        await self._channel.wait_sent(at_once=self._is_alone())

    def take_back(self) -> None:
        """Do not send the last answer, if it has not left yet: the handling is done.

        With what is done its calls are forgotten. The answer that nearly every handling ends with would cost
        daemon and worker 7 of some 200 µs, to be thrown away.
        """
        if self._last is not None:
            self._channel.take_back(self._last)
