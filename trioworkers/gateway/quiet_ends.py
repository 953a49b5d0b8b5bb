"""Ends updates whose program is quiet about them, by the clock (:mod:`trioworkers.gateway.quiet`)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.gateway.quiet import QuietTracker
from trioworkers.gateway.subjects import is_answer, subjects_of_call, subjects_of_update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

GRAIN = 0.05  # seconds: so often at most is it looked which updates are due


class QuietEnds:
    """The updates that one process has in hand under `quiet`. :meth:`serve` it.

    Args:
        longest: the seconds for which a program may have one at most.
        done: is told each that counts as handled, by its id.
    """

    def __init__(self, longest: Callable[[], float], done: Callable[[int], None]) -> None:
        self._tracker = QuietTracker(longest)
        self._done = done
        self._changed = trio.Event()

    def give(self, number: int, body: bytes) -> None:
        """The program is given an update."""
        self._tracker.give(number, subjects_of_update(body))

    def receive(self, numbers: Iterable[int]) -> None:
        """The program has these from now on."""
        self._tracker.receive(numbers, trio.current_time())
        self._changed.set()

    @contextmanager
    def calling(self, method: str, params: Mapping[str, Any]) -> Iterator[int | None]:
        """Inside, a call is under way. It gives the id of the only update that it is about, if any."""
        numbers = self._tracker.begin(subjects_of_call(params))
        try:
            yield next(iter(numbers)) if len(numbers) == 1 else None
        finally:
            if numbers:
                self._tracker.end(numbers, trio.current_time(), is_answer=is_answer(method))
                self._changed.set()

    async def serve(self) -> None:
        """End updates when it is time, until cancelled."""
        while True:
            self._changed = trio.Event()
            with trio.move_on_at(self._tracker.next_due()):
                await self._changed.wait()
            await trio.sleep(GRAIN)
            for number in self._tracker.due(trio.current_time()):
                self._tracker.take(number)
                self._done(number)
