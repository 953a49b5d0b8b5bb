"""Lets the pages of operators wait until something has changed on the desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers_plugins.handoff.pieces import Place

GATHER = 0.2  # seconds: of a burst of changes, a page is told once
MOST_WAITING = 200  # requests; who comes then is answered at once


class Bulletin:
    """Numbers the changes of dialogs: of their states, transcripts and what waits to be sent.

    Numbers rise, also over restarts of the daemon and from node to node of a cluster: they are times in
    milliseconds, and higher than those that other nodes have told.

    Args:
        clock: Unix seconds.

    Attributes:
        number: of the last change.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.number = int(clock() * 1000)
        self._is_news = trio.Event()
        self._of: dict[Place, int] = {}
        self._changed = trio.Event()
        self._waiting = 0
        self._is_closed = False

    def of(self, place: Place) -> int:
        """The number of the last change of a dialog; 0 when it has not changed since the start."""
        return self._of.get(place, 0)

    def note(self, place: Place) -> None:
        """A dialog has changed."""
        self._rise(int(self._clock() * 1000))
        self._of[place] = self.number
        self._is_news.set()

    def hear(self, text: str) -> None:
        """Another node has told its number: something has changed there. "": perhaps."""
        self._rise(int(text) if text.isdecimal() else 0)

    async def tell(self, tell: Callable[[str], Awaitable[None]]) -> None:
        """Tell other nodes of changes here, until cancelled; of a burst of changes once.

        If `tell` raises, this raises the same, and the next call of this method tells the change.
        """
        while True:
            await self._is_news.wait()
            await trio.sleep(GATHER)
            self._is_news = trio.Event()
            try:
                await tell(str(self.number))
            except BaseException:
                self._is_news.set()
                raise

    def _rise(self, least: int) -> None:
        self.number = max(self.number + 1, least)
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
