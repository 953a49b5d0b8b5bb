"""The Bot API calls of updates that are not done, in SQLite: what a second handling is answered from."""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from trioworkers.inbox.sqlite.rows import Mirror, among, filled, flat, places
from trioworkers.inbox.store import BeginCall, EndCall
from trioworkers.records import ANY_CALL, RecordedCall

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

# what is recorded and begun again may have been made twice; of what does not wait nothing is changed
RECORD = (
    "WITH came (i, k, at, answer, began) AS ({values}) INSERT INTO calls (id, key, at, answer, repeated)"
    " SELECT i, k, at, answer, began > 1 OR (began AND EXISTS"
    f" (SELECT 1 FROM calls WHERE id = i AND key IN (k, '{ANY_CALL}')))"
    " FROM came WHERE i IN (SELECT id FROM inbox) ON CONFLICT (id, key) DO UPDATE"
    " SET answer = coalesce(excluded.answer, answer), repeated = max(repeated, excluded.repeated)"
)
# CROSS JOIN keeps the order of the loops: each call is looked up by the primary key
AMONG = "WITH asked (i, k) AS ({values}) SELECT id, key FROM asked CROSS JOIN calls ON id = i AND key = k"
ONE = "WHERE id = ? AND key = ? AND id IN (SELECT id FROM inbox)"
NOT_MADE = f"DELETE FROM calls {ONE} AND answer IS NULL AND NOT repeated"
BEGUN_AGAIN = f"UPDATE calls SET repeated = 1 {ONE}"


class RecordedCalls:
    """The table `calls`, within the transactions of the store."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.ids: Mirror[int] = Mirror(id_ for (id_,) in connection.execute("SELECT DISTINCT id FROM calls"))

    def record(self, operations: Sequence[BeginCall | EndCall], finished: Collection[int]) -> None:
        """Record what is begun and answered; what is finished in the same transaction needs no record."""
        rows: dict[tuple[int, str], tuple[float, bytes | None, int]] = {}
        for operation in operations:
            place = operation.id, operation.key
            if operation.id in finished:
                continue
            row = rows.get(place)
            if isinstance(operation, BeginCall):
                rows[place] = (operation.at, None, 1) if row is None else (row[0], row[1], 2)
            elif operation.answer is not None:
                at, _, began = row or (0.0, None, 0)
                rows[place] = at, operation.answer, began
            elif row is None:
                self._not_made(*place)
            elif row[1:] == (None, 1):
                del rows[place]
                if operation.id in self.ids:  # it may have been begun in an earlier transaction, too
                    self._connection.execute(BEGUN_AGAIN, place)
        if rows:
            self._record([(*place, *row) for place, row in rows.items()])

    def _not_made(self, id_: int, key: str) -> None:
        if self._connection.execute(NOT_MADE, (id_, key)).rowcount and not self.of(id_):
            self.ids.drop(id_)

    def _record(self, rows: Sequence[tuple[Any, ...]]) -> None:
        changes = self._connection.total_changes
        for chunk in filled(flat(rows), 5):
            self._connection.execute(_recording(len(chunk) // 5), chunk)
        ids = {row[0] for row in rows}
        if self._connection.total_changes - changes < len(rows):  # some do not wait any more
            asked, ids = [*ids], set()
            for chunk in filled(asked):
                found = self._connection.execute(
                    f"SELECT id FROM inbox WHERE id IN {among(len(chunk))}", chunk
                )
                ids.update(chain(*found))
        for id_ in ids:
            self.ids.add(id_)

    def forget(self, ids: Sequence[int]) -> None:
        """Forget the calls of these updates."""
        recorded = [id_ for id_ in ids if id_ in self.ids] if self.ids else []
        for chunk in filled(recorded):
            self._connection.execute(f"DELETE FROM calls WHERE id IN {among(len(chunk))}", chunk)
        for id_ in recorded:
            self.ids.drop(id_)

    def move(self, old: int, new: int) -> None:
        """Give the calls of one update to another."""
        if old in self.ids:
            self._connection.execute("UPDATE calls SET id = ? WHERE id = ?", (new, old))
            self.ids.drop(old)
            self.ids.add(new)

    def of(self, id_: int) -> list[RecordedCall]:
        """The calls of an update, by when they were begun, then by key."""
        rows = self._connection.execute(
            "SELECT key, at, answer, repeated FROM calls WHERE id = ? ORDER BY at, key", (id_,)
        )
        return [RecordedCall(key, at, answer, bool(repeated)) for key, at, answer, repeated in rows]

    def among(self, calls: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
        """Those of these calls, by an update's id and a key, that are recorded."""
        found: set[tuple[int, str]] = set()
        for chunk in filled(flat([call for call in calls if call[0] in self.ids]), 2):
            found.update(self._connection.execute(AMONG.format(values=places(len(chunk) // 2, 2)), chunk))
        return found


@cache
def _recording(rows: int) -> str:
    return RECORD.format(values=places(rows, 5))
