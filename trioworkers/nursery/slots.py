"""How many worker processes there may be at once, and who gives way when there are as many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.nursery.session import WorkerSession


class WorkerSlots:
    """The fleet's places for workers; first come, first served.

    Args:
        limit: how many there are, read each time.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._taken = 0
        self._queue = trio.lowlevel.ParkingLot()
        self._sleepers: set[WorkerSession] = set()

    @property
    def limit(self) -> int:
        return self._limit()

    @property
    def full(self) -> bool:
        """Whether who comes now has to wait."""
        return self._taken >= self._limit() or len(self._queue) > 0

    async def take(self) -> None:
        """Wait for a place. A worker that may sleep, the longest idle one, is asked to when there is none."""
        if self.full:
            self._let_one_sleep()
        if self.full:
            await self._queue.park()  # who is woken has been given the place
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._taken += 1
            await trio.lowlevel.cancel_shielded_checkpoint()  # what is taken is not lost

    def take_beyond(self) -> None:
        """Take a place at once, beyond the limit if need be."""
        self._taken += 1

    def free(self) -> None:
        """Give a place back."""
        self._taken -= 1
        self.look_again()

    def look_again(self) -> None:
        """The limit may have changed: let those in who fit."""
        while len(self._queue) and self._taken < self._limit():
            self._taken += 1
            self._queue.unpark()

    def may_sleep(self, session: WorkerSession) -> None:
        """This one gives its place to others when it is idle."""
        self._sleepers.add(session)

    def gone(self, session: WorkerSession) -> None:
        """This one has ended."""
        self._sleepers.discard(session)

    def _let_one_sleep(self) -> None:
        awake = [
            session for session in self._sleepers if session.why is None and session.idle_since < math.inf
        ]
        if awake:
            min(awake, key=lambda session: session.idle_since).end("sleeping")
