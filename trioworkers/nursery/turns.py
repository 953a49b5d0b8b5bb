"""One worker's messages that wait for their turn to be sent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trioworkers.botapi.messages import Message
from trioworkers.protocol.frames import MOST_TURNS, FrameError, Go, TurnOver

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.protocol.frames import AskTurn
    from trioworkers.ratelimit.limiter import Ticket
    from trioworkers.ratelimit.pace import BotPace


class WorkerTurns:
    """Passes what a worker asks on to its bot's bucket. :meth:`close` when the worker has ended.

    Args:
        pace: the bot's bucket.
        send: sends the worker a frame.
    """

    def __init__(self, pace: BotPace, send: Callable[[Go], object]) -> None:
        self._pace = pace
        self._send = send
        self._tickets: dict[int, Ticket | None] = {}  # None: it is being asked for

    def take_in(self, frame: AskTurn | TurnOver) -> None:
        """The worker asks for a turn, or one is over.

        Raises:
            FrameError: an honest worker does not ask so.
        """
        if isinstance(frame, TurnOver):
            ticket = self._tickets.pop(frame.number, None)
            if ticket is not None:
                self._pace.over(ticket, frame.hold)
            return
        if frame.number in self._tickets or len(self._tickets) >= MOST_TURNS:
            problem = f"a turn that was asked for twice, or more than {MOST_TURNS} of them"
            raise FrameError(problem)
        self._tickets[frame.number] = None
        message = Message(frame.chat, frame.messages, frame.is_paid)
        source = self, frame.delivery
        ticket = self._pace.ask(message, source, partial(self._go, frame.number))
        if frame.number in self._tickets:  # else it was told to ask again
            self._tickets[frame.number] = ticket

    def close(self) -> None:
        """The worker makes no requests any more, and is sent nothing. Idempotent."""
        self._send = _drop  # else the two would refer to each other for as long as nobody collects garbage
        tickets, self._tickets = self._tickets, {}
        for ticket in tickets.values():
            if ticket is not None:
                self._pace.over(ticket)

    def _go(self, number: int, wait: float) -> None:
        if wait:
            self._tickets.pop(number, None)
        self._send(Go(number, wait))


def _drop(frame: Go) -> None:
    """The worker has ended."""
