"""Reads what the storage holds of the dialogs of bots: those that come at the same time together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trioworkers.plugin_types import PluginStore

Rows = list[tuple[str, Any]]
PREFIXES = "dialog", "desk", "user"
PAGE = 500
MOST_SINGLE = 8  # bots; of more, it takes less time to read what there is of all bots


class Reader:
    """Reads the records of bots.

    Args:
        store: the plugin's storage.
    """

    def __init__(self, store: PluginStore) -> None:
        self._store = store
        self._wanted: dict[object, int] = {}  # bots, by who waits for them
        self._found: dict[object, dict[str, Rows]] = {}
        self._turn = trio.Lock()

    async def read(self, bot_id: int) -> dict[str, Rows]:
        """The keys and values of a bot, by key: a list for each of `PREFIXES`.

        Raises:
            StoreError: they cannot be read now.
        """
        whose = object()
        self._wanted[whose] = bot_id
        try:
            async with self._turn:
                if whose not in self._found:
                    await self._read_wanted()
                return self._found[whose]
        finally:
            del self._wanted[whose]
            self._found.pop(whose, None)

    async def _read_wanted(self) -> None:
        wanted = dict(self._wanted)
        bots = frozenset(wanted.values())
        found: dict[int, dict[str, Rows]] = {bot: {prefix: [] for prefix in PREFIXES} for bot in bots}
        for prefix in PREFIXES:
            for key, value in await self._rows(prefix, bots):
                bot_id = int(key.split("/", 2)[1])
                if bot_id in bots:
                    found[bot_id][prefix].append((key, value))
        for whose, bot_id in wanted.items():
            if whose in self._wanted:  # else the bot has left meanwhile, and comes again with other rows
                self._found[whose] = found[bot_id]

    async def _rows(self, prefix: str, bots: Iterable[int]) -> Rows:
        ids = sorted(bots)
        beginnings = [f"{prefix}/"] if len(ids) > MOST_SINGLE else [f"{prefix}/{bot_id}/" for bot_id in ids]
        rows: Rows = []
        for beginning in beginnings:
            rows += await self.all(beginning)
        return rows

    async def all(self, beginning: str) -> Rows:
        """All keys with this beginning, and their values, by key.

        Raises:
            StoreError: they cannot be read now.
        """
        rows: Rows = []
        after = ""
        while page := await self._store.items(beginning, after=after, limit=PAGE):
            rows += page
            after = page[-1][0]
            if len(page) < PAGE:
                break
        return rows
