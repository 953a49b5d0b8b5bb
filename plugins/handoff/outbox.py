"""What waits to be sent to one side of the dialogs: durable, and in the order in which it was said."""

from __future__ import annotations

import time
from bisect import insort
from typing import TYPE_CHECKING

import trio
from trioworkers_plugins.handoff.pieces import Piece, from_json, place_in, stamped, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trioworkers_plugins.handoff.pieces import Place, Way

    from trioworkers.plugin_types import PluginStore

PAGE = 500


class Stamps:
    """Ascending times in microseconds, no two the same."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last = 0

    def draw(self) -> int:
        """The next one."""
        self._last = max(self._last + 1, int(self._clock() * 1_000_000))
        return self._last


class Outbox:
    """The pieces that wait for one way, by dialog.

    Args:
        way: to the operators' group (`desk`), or to the users (`user`).
        store: the plugin's storage.
        changed: told of each dialog for which something was added or removed.

    Attributes:
        loaded: the stamp of the last piece that a former run left. It may have sent those, and have been
            killed before it noted that.
    """

    def __init__(
        self, way: Way, store: PluginStore, changed: Callable[[Place], None] = lambda place: None
    ) -> None:
        self.way = way
        self._tell = changed
        self.loaded = 0
        self._store = store
        self._waiting: dict[Place, list[tuple[int, Piece]]] = {}
        self._added = trio.Event()
        self._removed = trio.Event()
        self._changed = trio.Event()

    async def load(self) -> None:
        """Read what a former run of the daemon left."""
        self._waiting.clear()
        after = ""
        while page := await self._store.items(f"{self.way}/", after=after, limit=PAGE):
            for key, stored in page:
                stamp = int(key.rpartition("/")[2])
                self.loaded = max(self.loaded, stamp)
                self._waiting.setdefault(place_in(key), []).append((stamp, from_json(Piece, stored)))
            after = page[-1][0]
        self._added.set()

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
        self._added.set()
        self._note_change(place)

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

    def _note_change(self, place: Place) -> None:
        self._tell(place)
        self._changed.set()
        self._changed = trio.Event()
