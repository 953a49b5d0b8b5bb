"""The update ids that programs see: our own, each for one hand-out, and never one that was used before.

A program confirms all updates below its offset. An update that is given again under an id of before would be
confirmed unseen, as would all that come after ids went back. So ids grow, over restarts of the daemon, too:
they are taken from blocks, and a block is on disk before the first id of it is used. In a store on a server,
the next block is noted when half of the last one is left, as that takes longer.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import trio

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

    ahead = 0
    """So many ids before the end of a block, the next one is noted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends = read_ends(path)
        self._bots: dict[int, BotIds] = {}

    def of(self, bot_id: int) -> BotIds:
        """A bot's ids."""
        ids = self._bots.get(bot_id)
        if ids is None:
            end = self._ends.get(bot_id, 1)
            ids = self._bots[bot_id] = BotIds(self, bot_id, end, end)
        return ids

    def note(self, bot_id: int, end: int) -> None:
        """Put the end of a block on disk, which takes a few milliseconds.

        A disk that is full must not stop a bot: then the next block is noted again. Ids would go back only
        if the daemon ended before that.
        """
        self._ends[bot_id] = end
        with suppress(OSError):
            write_private(self._path, msgspec.json.encode(self._ends))


class StoredUpdateIds(UpdateIds):
    """The ids of all bots, whose blocks are noted in a store that several machines may use.

    Attributes:
        unwritten: the ends of blocks that are to be noted, by bot id; whoever notes them takes them out.
        noted: set when there are any.
    """

    ahead = BLOCK // 2

    def __init__(self) -> None:
        self._ends = {}
        self._bots = {}
        self.unwritten: dict[int, int] = {}
        self.noted = trio.Event()

    def begin(self, bot_id: int, first: int) -> None:
        """The block from this id on has been noted in the store, for this daemon."""
        self._ends[bot_id] = first + BLOCK
        self._bots[bot_id] = BotIds(self, bot_id, first, first + BLOCK)

    def note(self, bot_id: int, end: int) -> None:
        self._ends[bot_id] = self.unwritten[bot_id] = end
        self.noted.set()


class BotIds:
    """One bot's ids; made by :meth:`UpdateIds.of`. The block from `first` to `end` has been noted."""

    def __init__(self, all_ids: UpdateIds, bot_id: int, first: int, end: int) -> None:
        self._all = all_ids
        self._bot_id = bot_id
        self._next, self._end = first, end

    def take(self) -> int:
        """Return an id that is greater than all before."""
        if self._next >= self._end - self._all.ahead:
            self._end = max(self._next, self._end) + BLOCK
            self._all.note(self._bot_id, self._end)
        self._next += 1
        return self._next - 1

    def begin_at(self, offset: int) -> None:
        """Give none below this one any more: it is what a program waits for, by what it had elsewhere."""
        if self._next < offset <= MOST:
            self._next = offset


def read_ends(path: Path) -> dict[int, int]:
    """The ends of the blocks that are noted in a file, by bot id; none where there is no file.

    Raises:
        StoreRefusedError, OSError: as for :class:`UpdateIds`.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[int, int])
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError:
        message = f"{path} is damaged, expected the update ids of bots with a command: mend it, or delete it"
        raise StoreRefusedError(message) from None
