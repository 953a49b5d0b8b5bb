"""The values of plugins in SQLite: keys with values that may end, written within the store's transactions."""

from __future__ import annotations

from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any

from trioworkers.inbox.rules import put_result
from trioworkers.inbox.sqlite.rows import among, filled, flat, insert, places
from trioworkers.inbox.store import ANY

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from trioworkers.inbox.sqlite.guard import Guard
    from trioworkers.inbox.store import PutValue, StoreWrite

    Place = tuple[str, str]  # plugin and key
    Kept = tuple[bytes | None, float | None]  # value and until; no value: absent

ASKED = (
    "WITH asked (p, k) AS ({values}) SELECT p, k, value, until"
    " FROM asked CROSS JOIN plugin_values ON plugin = p AND key = k"
)
REMOVE = (
    "WITH asked (p, k) AS ({values}) DELETE FROM plugin_values"
    " WHERE id IN (SELECT id FROM asked CROSS JOIN plugin_values ON plugin = p AND key = k)"
)
REPLACE = "ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value, until = excluded.until"
ONE = "SELECT key, value FROM plugin_values WHERE plugin = ? AND key = ? AND (until IS NULL OR until > ?)"
# one bound: of two SQLite would look for the first, and read all that lies between them
BY_KEY = "SELECT key, value, until FROM plugin_values WHERE plugin = ? AND key {past} ? ORDER BY key"
OLD = "SELECT id FROM plugin_values WHERE until <= ? ORDER BY until, plugin, key LIMIT ?"


class Values:
    """The table `plugin_values`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def write(self, writes: Sequence[StoreWrite], puts: Sequence[PutValue]) -> list[bool]:
        """Write what comes with updates, then what is put; return the results of the second.

        However many there are: it takes one look if a put depends on what is there, one insert, one removal.
        """
        new: dict[Place, Kept] = {(write.plugin, write.key): (write.value, write.until) for write in writes}
        before = self._look(puts)
        results: list[bool] = []
        for put in puts:
            place = put.plugin, put.key
            value, until = new.get(place) or before.get(place, (None, None))
            met = put_result(put, value if until is None or until > put.at else None)
            results.append(met)
            if met:
                new[place] = put.value, put.until
        rows = [(*place, *kept) for place, kept in new.items() if kept[0] is not None]
        if rows:
            insert(self._connection, "plugin_values (plugin, key, value, until)", 4, flat(rows), REPLACE)
        self._remove([place for place, kept in new.items() if kept[0] is None])
        return results

    def one(self, plugin: str, key: str, now: float) -> bytes | None:
        """A value; None when it is absent."""
        row = self._connection.execute(ONE, (plugin, key, now)).fetchone()
        return None if row is None else _checked(*row)[1]

    def several(
        self, plugin: str, prefix: str, after: str, limit: int, now: float
    ) -> list[tuple[str, bytes]]:
        """The first values past `after` whose keys begin with `prefix`, by ascending key."""
        query = BY_KEY.format(past=">=" if after < prefix else ">")
        found: list[tuple[str, bytes]] = []
        with closing(self._connection.execute(query, (plugin, max(after, prefix)))) as rows:
            while len(found) < limit and (row := rows.fetchone()) is not None:
                key, value = _checked(*row[:2])
                if not key.startswith(prefix):  # those that do lie together
                    break
                if row[2] is None or row[2] > now:
                    found.append((key, value))
        return found

    def forget(self, guard: Guard, now: float, limit: int) -> int:
        """Forget up to `limit` values that are not kept any more at `now`; returns their number."""
        with guard.reading():
            old = list(chain(*self._connection.execute(OLD, (now, limit))))
        if old:
            with guard.transaction():
                for chunk in filled(old):
                    self._connection.execute(
                        f"DELETE FROM plugin_values WHERE id IN {among(len(chunk))}", chunk
                    )
        return len(old)

    def _look(self, puts: Sequence[PutValue]) -> dict[Place, Kept]:
        asked = {(put.plugin, put.key) for put in puts if put.expected is not ANY or put.value is None}
        found: dict[Place, Kept] = {}
        for chunk in filled(flat(asked), 2):
            rows = self._connection.execute(ASKED.format(values=places(len(chunk) // 2, 2)), chunk)
            found.update(((plugin, key), (value, until)) for plugin, key, value, until in rows)
        return found

    def _remove(self, gone: Collection[Place]) -> None:
        for chunk in filled(flat(gone), 2):
            self._connection.execute(REMOVE.format(values=places(len(chunk) // 2, 2)), chunk)


def _checked(key: Any, value: Any) -> tuple[str, bytes]:
    """Raise TypeError for what the table cannot hold, as in a damaged file."""
    if not isinstance(key, str) or not isinstance(value, bytes):
        raise TypeError
    return key, value
