"""The update ids that programs see: our own, each for one hand-out, and never one that was used before.

A program confirms all updates below its offset. An update that is given again under an id of before would be
confirmed unseen, as would all that come after ids went back. So ids grow, over restarts of the daemon, too:
they are taken from blocks, and a block is on disk before the first id of it is used.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from trioworkers.inbox.store import StoreRefusedError
from trioworkers.private import write_private

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 10_000
MOST = 2**53 - 1  # the largest number that JavaScript counts exactly


class UpdateIds:
    """The ids of all bots.

    Args:
        path: the file in which blocks are noted; absent while no program ever had an update.

    Raises:
        StoreRefusedError: the file is not what was written. Whoever took it for empty would begin anew, and
            programs that remember what they have seen would not look at the updates.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends = _read(path)
        self._bots: dict[int, BotIds] = {}

    def of(self, bot_id: int) -> BotIds:
        """A bot's ids."""
        ids = self._bots.get(bot_id)
        if ids is None:
            ids = self._bots[bot_id] = BotIds(self, bot_id, self._ends.get(bot_id, 1))
        return ids

    def note(self, bot_id: int, end: int) -> None:
        """Put the end of a block on disk, which takes a few milliseconds.

        A disk that is full must not stop a bot: then the next block is noted again. Ids would go back only
        if the daemon ended before that.
        """
        self._ends[bot_id] = end
        with suppress(OSError):
            write_private(self._path, msgspec.json.encode(self._ends))


class BotIds:
    """One bot's ids; made by :meth:`UpdateIds.of`."""

    def __init__(self, all_ids: UpdateIds, bot_id: int, first: int) -> None:
        self._all = all_ids
        self._bot_id = bot_id
        self._next = self._end = first

    def take(self) -> int:
        """Return an id that is greater than all before."""
        if self._next >= self._end:
            self._end = self._next + BLOCK
            self._all.note(self._bot_id, self._end)
        self._next += 1
        return self._next - 1

    def begin_at(self, offset: int) -> None:
        """Give none below this one any more: it is what a program waits for, by what it had elsewhere."""
        if self._next < offset <= MOST:
            self._next = offset


def _read(path: Path) -> dict[int, int]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[int, int])
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError:
        message = f"{path} is damaged, expected the update ids of bots with a command: mend it, or delete it"
        raise StoreRefusedError(message) from None
