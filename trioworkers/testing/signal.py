"""How the synchronous world wakes those who wait for it.

The world must not know of tasks, yet long polls, couriers and `expect` wait for it to change.
A :class:`Signal` is the seam: firing it is a plain call, waiting for it is Trio's business.
"""

from __future__ import annotations

import trio


class Signal:
    """Wakes everybody who waits at the moment it fires; remembers nothing.

    Who waits looks first and waits then: between the two there is no checkpoint, so no change can
    slip through. Fire it from the Trio thread, or while nobody waits.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: set[trio.Event] = set()

    def fire(self) -> None:
        """Wake all who wait now."""
        if self._waiting:
            waiting, self._waiting = self._waiting, set()
            for event in waiting:
                event.set()

    async def wait(self) -> None:
        """Return after the next :meth:`fire`. Cancelled, it leaves nothing behind."""
        event = trio.Event()
        self._waiting.add(event)
        try:
            await event.wait()
        finally:
            self._waiting.discard(event)
