"""What handlers ask the daemon for, and its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from trioworkers.errors import AskRefusedError
from trioworkers.protocol.frames import MOST_ASKED, MOST_ASKS, Ask

if TYPE_CHECKING:
    from trioworkers.protocol.channel import Channel
    from trioworkers.protocol.frames import Answer


class Asks:
    """Asks the daemon over the worker's channel; `MOST_ASKS` questions at a time, the others wait."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._places = trio.Semaphore(MOST_ASKS)
        self._waiting: dict[int, _Question] = {}
        self._last = 0

    async def ask(self, name: str, params: bytes) -> msgspec.Raw:
        """Return the answer, as JSON. Cancelled, the daemon may carry out what was asked for all the same.

        Raises:
            AskRefusedError: the daemon refused it.
        """
        if len(params) > MOST_ASKED:
            message = f"{name}: expected at most {MOST_ASKED >> 10} kB of parameters"
            raise AskRefusedError(message)
        await self._places.acquire()  # until it is answered: the daemon counts it so long, cancelled or not
        self._last = number = self._last + 1
        question = self._waiting[number] = _Question()
        self._channel.send(Ask(number, name, msgspec.Raw(params)))
        await question.answered.wait()
        answer = question.answer
        if answer is None or answer.error is not None:
            raise AskRefusedError("no answer" if answer is None else answer.error or "")
        return answer.result

    def take_in(self, answer: Answer) -> None:
        """The daemon has answered."""
        question = self._waiting.pop(answer.number, None)
        if question is not None:
            self._places.release()
            question.answer = answer
            question.answered.set()


class _Question:
    __slots__ = ("answer", "answered")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: Answer | None = None
