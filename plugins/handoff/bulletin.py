"""Lets the pages of operators wait until something has changed on the desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from trioworkers_plugins.handoff.pieces import Place

GATHER = 0.2  # seconds: of a burst of changes, a page is told once
MOST_WAITING = 200  # requests; who comes then is answered at once


class Bulletin:
    """Numbers the changes of dialogs: of their states, transcripts and what waits to be sent.

    Numbers rise, also over restarts of the daemon: the first one is the time.

    Args:
        now: Unix seconds.

    Attributes:
        number: of the last change.
    """

    def __init__(self, now: float) -> None:
        self.number = int(now * 1000)
        self._of: dict[Place, int] = {}
        self._changed = trio.Event()
        self._waiting = 0
        self._is_closed = False

    def of(self, place: Place) -> int:
        """The number of the last change of a dialog; 0 when it has not changed since the start."""
        return self._of.get(place, 0)

    def note(self, place: Place) -> None:
        """A dialog has changed."""
        self.number += 1
        self._of[place] = self.number
        self._changed.set()
        self._changed = trio.Event()

    def forget(self, place: Place) -> None:
        """A dialog has ended; nobody asks for its number any more."""
        self._of.pop(place, None)

    def close(self) -> None:
        """Let nobody wait any more: the service ends."""
        self._is_closed = True
        self._changed.set()

    async def wait(self, seen: int, seconds: float) -> None:
        """Return when the last change is another one than `seen`, or after so many seconds."""
        if self.number != seen or self._is_closed or self._waiting >= MOST_WAITING:
            await trio.lowlevel.checkpoint()
            return
        self._waiting += 1
        try:
            with trio.move_on_after(seconds):
                await self._changed.wait()
                if not self._is_closed:
                    await trio.sleep(GATHER)
        finally:
            self._waiting -= 1
