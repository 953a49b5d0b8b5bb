"""What waits to be sent to one side of the dialogs: durable, and in the order in which it was said."""

from __future__ import annotations

import time
from bisect import insort
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.pieces import Piece, from_json, place_in, stamped, to_json

from trioworkers import BotApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from trioworkers_plugins.handoff.pieces import Place, Way

    from trioworkers.plugin_types import PluginStore


class Stamps:
    """Ascending times in microseconds, no two the same."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last = 0

    def reach(self, stamp: int) -> None:
        """Let the next one be greater than this, which another clock may have made."""
        self._last = max(self._last, stamp)

    def draw(self) -> int:
        """The next one."""
        self._last = max(self._last + 1, int(self._clock() * 1_000_000))
        return self._last


class Outbox:
    """The pieces that wait for one way, of the dialogs of one bot.

    Args:
        way: to the operators' group (`desk`), or to the users (`user`).
        store: the storage of the bot's dialogs.
        serve: called when there is something to be sent for the first time; it begins to send.
        changed: told of each dialog for which something was added or removed.

    Attributes:
        loaded: the stamp of the last piece that a former run left. It may have sent those, and have been
            killed before it noted that.
    """

    def __init__(
        self,
        way: Way,
        store: PluginStore,
        serve: Callable[[], None],
        changed: Callable[[Place], None] = lambda place: None,
    ) -> None:
        self.way = way
        self._tell = changed
        self._serve = serve
        self._is_begun = self._is_served = self._stops = False
        self._under_way = 0
        self.loaded = 0
        self._store = store
        self._waiting: dict[Place, list[tuple[int, Piece]]] = {}
        self._added = trio.Event()
        self._removed = trio.Event()
        self._changed = trio.Event()

    def load(self, rows: Iterable[tuple[str, Any]]) -> None:
        """Take in what a former run of the daemon left, or another node. It may be repeated."""
        self._waiting.clear()
        for key, stored in rows:
            stamp = int(key.rpartition("/")[2])
            self.loaded = max(self.loaded, stamp)
            self._waiting.setdefault(place_in(key), []).append((stamp, from_json(Piece, stored)))

    def begin(self) -> None:
        """Let what waits be sent, from now on."""
        self._is_begun = True
        if self._waiting:
            self._note_added()

    def places(self) -> list[Place]:
        """The dialogs for which something waits."""
        return list(self._waiting)

    def waiting(self, place: Place) -> Sequence[tuple[int, Piece]]:
        """What waits for a dialog, with its stamps, in order."""
        return tuple(self._waiting.get(place, ()))

    def holds(self, place: Place, source: str) -> bool:
        """Whether a piece of this source waits."""
        return any(piece.source == source for _, piece in self._waiting.get(place, ()))

    async def add(self, place: Place, stamp: int, piece: Piece) -> None:
        """Let a piece wait; it is durable when this returns. If one of its source waits, it is left out."""
        if self.holds(place, piece.source):
            return
        await self._store.set(place.key(self.way, stamped(stamp)), to_json(piece))
        insort(self._waiting.setdefault(place, []), (stamp, piece), key=lambda one: one[0])
        self._note_added()
        self._note_change(place)

    @asynccontextmanager
    async def sending(self, place: Place, pieces: Sequence[tuple[int, Piece]]) -> AsyncIterator[bool]:
        """Inside, pieces are sent, which is durable before; yields whether they may have been sent before.

        A sending whose end nobody noted leaves that doubt: the daemon was killed, or lost the bot, or the way
        to Telegram broke. A refusal by Telegram does not.
        """
        if self._stops:
            await trio.sleep_forever()
        again = any(piece.begun for _, piece in pieces)
        self._under_way += 1
        try:
            for stamp, piece in pieces:
                if not piece.begun:
                    begun = replace(piece, begun=True)
                    await self._store.set(place.key(self.way, stamped(stamp)), to_json(begun))
                    self._replace(place, stamp, begun)
            yield again
        except BotApiError as error:
            if error.error_code < 500 and len(pieces) == 1 and not again:
                ((stamp, piece),) = pieces
                self._replace(place, stamp, piece)
            raise
        finally:
            self._under_way -= 1
            self._removed.set()
            self._removed = trio.Event()

    async def stop(self) -> None:
        """Begin to send nothing more; return when nothing is being sent."""
        self._stops = True
        while self._under_way:
            await self._removed.wait()

    async def remove(self, place: Place, stamps: Sequence[int]) -> None:
        """Forget pieces that were sent, or that will not be."""
        for stamp in stamps:
            await self._store.delete(place.key(self.way, stamped(stamp)))
        left = [one for one in self._waiting.get(place, ()) if one[0] not in stamps]
        if left:
            self._waiting[place] = left
        else:
            self._waiting.pop(place, None)
        self._removed.set()
        self._removed = trio.Event()
        self._note_change(place)

    async def wait_added(self) -> None:
        """Return when something was added since the last call."""
        await self._added.wait()
        self._added = trio.Event()

    async def wait_empty(self, place: Place) -> None:
        """Return when nothing waits for a dialog."""
        while place in self._waiting:
            await self._removed.wait()

    async def wait_changed(self) -> None:
        """Return when something is added or removed."""
        await self._changed.wait()

    def _replace(self, place: Place, stamp: int, piece: Piece) -> None:
        waiting = self._waiting.get(place, [])
        for at, one in enumerate(waiting):
            if one[0] == stamp:
                waiting[at] = (stamp, piece)

    def _note_added(self) -> None:
        self._added.set()
        if self._is_begun and not self._is_served:
            self._is_served = True
            self._serve()

    def _note_change(self, place: Place) -> None:
        self._tell(place)
        self._changed.set()
        self._changed = trio.Event()
