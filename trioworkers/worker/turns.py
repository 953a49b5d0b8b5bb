"""Where a worker's messages wait for their turn: the daemon decides, for all that speaks for the bot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.protocol.frames import LONGEST_HOLD, MOST_TURNS, AskTurn, TurnOver

if TYPE_CHECKING:
    from trioworkers.botapi.messages import Caller, Message
    from trioworkers.protocol.channel import Channel
    from trioworkers.protocol.frames import Go


class FrameTurns:
    """Asks the daemon for turns; :class:`~trioworkers.botapi.messages.Turns`.

    Attributes:
        is_on: whether messages have to wait for their turn; it may be changed, and the daemon lets go what
            waits.
    """

    def __init__(self, channel: Channel, is_on: bool) -> None:
        self.is_on = is_on
        self._channel = channel
        self._waiting: dict[int, _Place] = {}
        self._last = 0
        self._room = trio.Semaphore(MOST_TURNS // 2)  # the daemon may not have noted yet what is over

    async def take(self, message: Message, caller: Caller) -> int:
        """Return once the message may be sent, with a number; cancelled, its place is given up.

        Raises:
            Exception: what the caller raises when it has to wait for what Telegram asked.
        """
        source = caller.source if isinstance(caller.source, int) else 0
        while True:
            with caller.standing_still():
                number, wait = await self._ask(message, source)
            if not wait:
                return number
            await caller.wait(wait)

    def over(self, turn: object, hold: float = 0.0) -> None:
        """The request has ended."""
        assert isinstance(turn, int)  # noqa: S101 - for mypy
        self._room.release()
        self._channel.send(TurnOver(turn, min(hold, LONGEST_HOLD)))

    def take_in(self, go: Go) -> None:
        """The daemon has answered."""
        place = self._waiting.pop(go.number, None)
        if place is not None:
            place.wait = go.wait
            place.came.set()

    async def _ask(self, message: Message, source: int) -> tuple[int, float]:
        await self._room.acquire()
        self._last = number = self._last + 1
        place = self._waiting[number] = _Place()
        self._channel.send(AskTurn(number, source, message.chat, message.messages, message.is_paid))
        try:
            await place.came.wait()
        except BaseException:
            self._waiting.pop(number, None)
            if place.wait:
                self._room.release()
            else:  # also when it may go: nobody makes the request
                self.over(number)
            raise
        if place.wait:
            self._room.release()
        return number, place.wait


class _Place:
    __slots__ = ("came", "wait")

    def __init__(self) -> None:
        self.came = trio.Event()
        self.wait = 0.0
