"""Transcripts of dialogs: who said what, in order; and which message is whose copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.pieces import Line, from_json, stamped, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trioworkers_plugins.handoff.outbox import Stamps
    from trioworkers_plugins.handoff.pieces import Place, Way

    from trioworkers.plugin_types import PluginStore

EDITABLE = 49 * 3600.0  # seconds; people may edit their messages for 48 hours
PAGE = 500
COMMIT_PAUSES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # seconds between looks for a line
FIRST_LOOK_BACK = 3600 * 1_000_000  # microseconds


class Transcripts:
    """The transcripts of the dialogs of one bot.

    Args:
        store: the plugin's storage.
        stamps: orders the lines.
        keep: seconds for which lines are kept.
        written: told of each line's dialog and key, and whether it is durable by then or will be with the end
            of a handling.
    """

    def __init__(
        self,
        store: PluginStore,
        stamps: Stamps,
        keep: Callable[[], float],
        written: Callable[[Place, str, bool], None] = lambda place, key, durable: None,
    ) -> None:
        self._store = store
        self._stamps = stamps
        self._keep = keep
        self._written = written

    async def write(self, place: Place, line: Line, store: PluginStore | None = None) -> None:
        """Add a line. `store`: that of a handling, which commits it together with the end of its update."""
        key = place.key("said", stamped(self._stamps.draw()))
        await (store or self._store).set(key, to_json(line), ttl=self._keep())
        self._written(place, key, store is None)

    async def wait_committed(self, key: str) -> bool:
        """Return once a line of a handling is durable; False: its handling has failed, or takes too long."""
        for pause in COMMIT_PAUSES:
            await trio.sleep(pause)
            if await self._store.get(key) is not None:
                return True
        return False

    async def read(self, place: Place, after: str = "", limit: int = PAGE) -> list[tuple[str, Line]]:
        """Lines with their stamps, oldest first, past the stamp `after`."""
        prefix = place.key("said") + "/"
        page = await self._store.items(prefix, after=prefix + after if after else "", limit=limit)
        return [(key.removeprefix(prefix), from_json(Line, stored)) for key, stored in page]

    async def read_back(self, place: Place, before: str, limit: int) -> list[tuple[str, Line]]:
        """The last `limit` lines before the stamp `before`, oldest first.

        The storage reads forward only: it is read from ever earlier times on, until there are enough.
        """
        end = min(int(before), self._stamps.draw())
        first = max(0, end - int(self._keep() * 1_000_000))
        back = FIRST_LOOK_BACK
        while True:
            start = max(first, end - back)
            found: list[tuple[str, Line]] = []
            after = stamped(max(0, start - 1))
            while page := await self.read(place, after):
                found += [one for one in page if int(one[0]) < end]
                after = page[-1][0]
                if int(after) >= end or len(page) < PAGE:
                    break
            if len(found) >= limit or start == first:
                return found[-limit:]
            back *= 8

    async def unanswered(
        self, place: Place, began: float, epoch: int, waits: Collection[int] = ()
    ) -> list[dict[str, Any]]:
        """What no operator has answered of what the user has said in this handoff, which began then.

        `waits`: as for :meth:`not_answered`.
        """
        found: list[dict[str, Any]] = []
        after = stamped(int(began * 1_000_000) - 1)
        while page := await self.read(place, after):
            for after, line in page:
                self._stamps.reach(int(after))
                if line.epoch != epoch:  # of an earlier handoff, by another node's clock
                    continue
                if line.who == "operator" and line.kind != "edit":
                    found = await self.not_answered(place, found, line.message_id, waits)
                elif line.who == "user" and line.kind != "edit" and line.message_id is not None:
                    found.append({"message_id": line.message_id, "text": line.text})
        return found

    async def not_answered(
        self,
        place: Place,
        said: list[dict[str, Any]],
        answer: int | None,
        waits: Collection[int] = (),
    ) -> list[dict[str, Any]]:
        """Return those of the user's messages that an operator's words do not answer.

        They answer what was shown in the group before them: an operator has not read anything else. `answer`:
        their message there; None: they came over the API, and answer all.

        `waits`: messages whose copies wait in the queue of a former run, which may have shown them.
        """
        if answer is None:
            return []
        left = []
        for one in said:
            shown = await self._store.get(place.key("copy", "desk", one["message_id"]))
            is_later = isinstance(shown, int) and shown > answer
            if is_later or (shown is None and one["message_id"] not in waits):
                left.append(one)
        return left

    async def pair(self, place: Place, user_message: int, desk_message: int, *, again: bool = False) -> None:
        """Note that these are one message: in the user's chat and in the group.

        `again`: it may have been copied to the group before, and an operator may have answered that copy.
        """
        to_desk = [desk_message] if again else desk_message
        await self._store.set(place.key("copy", "desk", user_message), to_desk, ttl=EDITABLE)
        await self._store.set(place.key("copy", "user", desk_message), user_message, ttl=EDITABLE)

    async def counterpart(self, place: Place, way: Way, message: int | str) -> int | None:
        """The message on that side that is the same as this one on the other; None: it is not known."""
        found = await self._store.get(place.key("copy", way, message))
        if isinstance(found, list):
            found = found[0]
        return found if isinstance(found, int) else None

    async def note_sent(self, place: Place, way: Way, source: str) -> None:
        """Note that something that is no message's copy was sent."""
        await self._store.set(place.key("copy", way, source), 0, ttl=EDITABLE)


async def read_line(store: PluginStore, place: Place, stamp: str) -> Line | None:
    """The line of a stamp, of any bot."""
    stored = await store.get(place.key("said", stamp))
    return None if stored is None else from_json(Line, stored)
