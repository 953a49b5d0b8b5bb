"""Which bots are paused, kept over restarts of the daemon: in a file of the state directory, or in the store.

By id, not by name: a bot that is renamed stays paused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import trio

from trioworkers.inbox.store import StoreRefusedError
from trioworkers.private import write_private
from trioworkers.shortage import in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path


class PausedBots:
    """The ids of paused bots.

    Args:
        path: the file; absent while no bot was ever paused.

    Raises:
        StoreRefusedError: the file is not what was written. Whoever took it for empty would let bots
            handle what they were paused for.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids = _read(path)
        self._turn = trio.StrictFIFOLock()

    @property
    def ids(self) -> frozenset[int]:
        """All of them."""
        return self._ids

    def __contains__(self, bot_id: object) -> bool:
        return bot_id in self._ids

    async def change(self, bot_id: int, paused: bool) -> bool:
        """Pause a bot or not: durable first, then in force. Return whether that was a change.

        Once the writing has begun, cancellation waits for it.

        Raises:
            OSError: it could not be written; nothing changed.
        """
        async with self._turn:
            if paused == (bot_id in self._ids):
                return False
            ids = self._ids ^ {bot_id}
            with trio.CancelScope(shield=True):
                await self._write(ids, bot_id)
            self._ids = ids
            return True

    async def _write(self, ids: frozenset[int], bot_id: int) -> None:
        await in_thread(write_private, self._path, json.dumps(sorted(ids)).encode())


class StoredPausedBots(PausedBots):
    """The ids of paused bots, kept in a store that several machines may use.

    Args:
        ids: those that the store has.
        put: puts a bot's id into the store or removes it; it raises OSError when it cannot.
    """

    def __init__(self, ids: Iterable[int], put: Callable[[int, bool], Awaitable[None]]) -> None:
        self._ids = frozenset(ids)
        self._put = put
        self._turn = trio.StrictFIFOLock()

    def replace(self, ids: Iterable[int]) -> None:
        """The store has these now."""
        self._ids = frozenset(ids)

    async def _write(self, ids: frozenset[int], bot_id: int) -> None:
        await self._put(bot_id, bot_id in ids)


def _read(path: Path) -> frozenset[int]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return frozenset()
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(type(id_) is int for id_ in found):
        message = f"{path} is damaged, expected a list of bot ids: mend it, or delete it and pause bots anew"
        raise StoreRefusedError(message)
    return frozenset(found)
