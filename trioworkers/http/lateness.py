"""Ends exchanges that take too long: one task looks after all of a loop's.

A cancel scope for each would cost as much as all its reading and writing, 10 µs of some 150 that an update
takes a worker; here an exchange that ends in time costs its place in a set.
"""

from __future__ import annotations

import math
from typing import Protocol

import trio


class Timed(Protocol):
    """What has a deadline, trio time, which may move to later."""

    deadline: float

    def late(self) -> None:
        """It is over. Called once at most, and between two steps of any task."""


class Lateness:
    """Who is under way; `serve` tells the late ones."""

    def __init__(self) -> None:
        self._under_way: set[Timed] = set()
        self._nap = trio.CancelScope()

    def begin(self, one: Timed) -> None:
        """Look after it until :meth:`end`."""
        self._under_way.add(one)
        if one.deadline < self._nap.deadline:
            self._nap.deadline = one.deadline

    def end(self, one: Timed) -> None:
        """It needs no looking after any more. Idempotent."""
        self._under_way.discard(one)

    async def serve(self) -> None:
        """Wake at the earliest deadline there was, which is most often one that was kept, and look anew.

        What came in time while the loop was held up is read in its next turn: who waits after that is late.
        """
        while True:
            now = trio.current_time()
            for _ in range(2):
                await trio.lowlevel.checkpoint()
            for one in [one for one in self._under_way if one.deadline <= now]:
                self._under_way.discard(one)
                one.late()
            self._nap = trio.CancelScope(
                deadline=min((one.deadline for one in self._under_way), default=math.inf)
            )
            with self._nap:
                await trio.sleep_forever()


_of_loop: trio.lowlevel.RunVar[Lateness] = trio.lowlevel.RunVar("lateness")


def lateness() -> Lateness:
    """The one of the loop that runs, as long as that does."""
    try:
        return _of_loop.get()
    except LookupError:
        watch = Lateness()
        _of_loop.set(watch)
        trio.lowlevel.spawn_system_task(watch.serve)
        return watch
