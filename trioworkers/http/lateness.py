"""Ends exchanges that take too long: one task watches the deadlines of all exchanges of a loop.

A cancel scope for each exchange would cost as much as all its reading and writing, 10 µs of some 150 that an
update takes a worker. Here an exchange that ends in time costs its place in a set.
"""

from __future__ import annotations

import math
from typing import Protocol

import trio


class Timed(Protocol):
    """An exchange with a deadline, trio time, which may move to later."""

    deadline: float

    def late(self) -> None:
        """End it, since its deadline has passed. Called once at most, and between two steps of any task."""

    def fail(self, error: Exception) -> None:
        """End it with `error`, which `late` raised. It must not raise anything."""


class Lateness:
    """The exchanges of one loop that are under way; `serve` ends the late ones."""

    def __init__(self) -> None:
        self._under_way: set[Timed] = set()
        self._nap = trio.CancelScope()

    def begin(self, one: Timed) -> None:
        """Watch its deadline until :meth:`end`."""
        self._under_way.add(one)
        if one.deadline < self._nap.deadline:
            self._nap.deadline = one.deadline

    def end(self, one: Timed) -> None:
        """Stop watching it. Idempotent."""
        self._under_way.discard(one)

    async def serve(self) -> None:
        """Wake at the earliest deadline there was, which most often was kept, and look for late exchanges.

        Answers that came in time while the loop was held up are read in its next turn: an exchange that still
        waits after that is late.

        This is a system task, whose failure would end the whole program. An exception of one exchange is
        therefore given to that exchange, and the others are watched as before.
        """
        while True:
            now = trio.current_time()
            for _ in range(2):
                await trio.lowlevel.checkpoint()
            for one in [one for one in self._under_way if one.deadline <= now]:
                self._under_way.discard(one)
                try:
                    one.late()
                except Exception as error:
                    one.fail(error)
            self._nap = trio.CancelScope(
                deadline=min((one.deadline for one in self._under_way), default=math.inf)
            )
            with self._nap:
                await trio.sleep_forever()


_of_loop: trio.lowlevel.RunVar[Lateness] = trio.lowlevel.RunVar("lateness")


def lateness() -> Lateness:
    """Return the one of the running loop; it lasts as long as the loop."""
    try:
        return _of_loop.get()
    except LookupError:
        watch = Lateness()
        _of_loop.set(watch)
        trio.lowlevel.spawn_system_task(watch.serve)
        return watch
