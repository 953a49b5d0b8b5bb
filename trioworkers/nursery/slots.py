"""The fleet's slots: how many workers there may be at once, and which one gives way when all are taken."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class Sleeper(Protocol):
    """A session that may give its slot to others.

    `idle_since` is trio time, and infinite while the worker has something to do. `why` is None until the
    session is asked to end.
    """

    @property
    def idle_since(self) -> float: ...
    @property
    def why(self) -> str | None: ...
    def end(self, why: str) -> None: ...


class WorkerSlots:
    """The fleet's slots for workers; first come, first served.

    Args:
        limit: returns how many there are; it is called each time.
        words: returns what says so, for people who wait for one.
    """

    def __init__(self, limit: Callable[[], int], words: Callable[[], str] = lambda: "all are taken") -> None:
        self._limit = limit
        self._words = words
        self._taken = 0
        self._queue = trio.lowlevel.ParkingLot()
        self._sleepers: set[Sleeper] = set()

    @property
    def limit(self) -> int:
        return self._limit()

    @property
    def words(self) -> str:
        """What says how many there are."""
        return self._words()

    @property
    def spare(self) -> int:
        """How many slots are left for newcomers; negative while others are in line, or beyond the limit."""
        return self._limit() - self._taken - len(self._queue)

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._taken

    @property
    def full(self) -> bool:
        """Whether a newcomer has to wait."""
        return self.spare <= 0

    async def take(self) -> None:
        """Wait for a slot. When there is none, the session that has been idle longest is asked to sleep.

        A slot that was taken is not lost to a cancellation in the same moment: the call returns then.
        """
        if self.full:
            self._let_one_sleep()
        if self.full:
            await self._queue.park()  # the task that is woken has been given the slot
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._taken += 1
            await trio.lowlevel.cancel_shielded_checkpoint()

    def take_beyond(self) -> None:
        """Take a slot at once, beyond the limit if need be."""
        self._taken += 1

    def free(self) -> None:
        """Give a slot back."""
        self._taken -= 1
        self.look_again()

    def look_again(self) -> None:
        """Let those in who fit: the limit may have changed."""
        while len(self._queue) and self._taken < self._limit():
            self._taken += 1
            self._queue.unpark()

    def may_sleep(self, session: Sleeper) -> None:
        """Let this session give its slot to others when it is idle."""
        self._sleepers.add(session)

    def gone(self, session: Sleeper) -> None:
        """Forget this session: it has ended."""
        self._sleepers.discard(session)

    def _let_one_sleep(self) -> None:
        idle = [
            session for session in self._sleepers if session.why is None and session.idle_since < math.inf
        ]
        if idle:
            min(idle, key=lambda session: session.idle_since).end("sleeping")
