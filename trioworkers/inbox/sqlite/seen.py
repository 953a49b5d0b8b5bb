"""The ids of all updates that came within the retention, in SQLite: the exact check against duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.inbox.sqlite.rows import filled, flat, insert, places

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from trioworkers.inbox.sqlite.guard import Guard

BEFORE_ALL, AFTER_ALL = (-(2**63), -(2**63)), (2**63 - 1, 2**63 - 1)
# CROSS JOIN keeps the order of the loops; `(bot_id, update_id) IN (VALUES …)` would scan the whole table
KNOWN = (
    "WITH asked (b, u) AS ({values}) SELECT b, u FROM asked CROSS JOIN seen ON bot_id = b AND update_id = u"
)
AFTER = "(bot_id, update_id) > (?, ?)"


class Seen:
    """The table `seen`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._examined: tuple[int, int] = BEFORE_ALL

    def known(self, ids: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        """Those of these bot ids and update ids that came before."""
        known: set[tuple[int, int]] = set()
        for chunk in filled(flat(ids), 2):
            known.update(self._connection.execute(KNOWN.format(values=places(len(chunk) // 2, 2)), chunk))
        return known

    def add(self, rows: Sequence[object]) -> int:
        """Remember ids, given as bot id, update id and time, one after the other; how many were new."""
        return insert(self._connection, "seen (bot_id, update_id, at)", 3, rows, "ON CONFLICT DO NOTHING")

    def forget(self, guard: Guard, before: float, limit: int) -> int:
        """Look at the next `limit` ids, in their order, and forget those from before `before`; how many.

        After the last id it begins again with the first.
        """
        after = self._examined
        with guard.reading():
            last = self._connection.execute(
                f"SELECT bot_id, update_id FROM seen WHERE {AFTER} ORDER BY bot_id, update_id"
                " LIMIT 1 OFFSET ?",
                (*after, limit - 1),
            ).fetchone()
            until = last or AFTER_ALL
            old = f"FROM seen WHERE {AFTER} AND (bot_id, update_id) <= (?, ?) AND at < ?"
            values = (*after, *until, before)
            (forgotten,) = self._connection.execute(f"SELECT count(*) {old}", values).fetchone()
        if forgotten:
            with guard.transaction():
                self._connection.execute(f"DELETE {old}", values)
        self._examined = last or BEFORE_ALL
        return int(forgotten)
