"""The Bot API calls of updates that are not done, in SQLite: what a second handling is answered from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.inbox.rows import Mirror, chunks, flat, places
from trioworkers.inbox.store import Called, Calling
from trioworkers.records import Call

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

# what is unknown already and begun again may have been made twice; only updates that still wait have records
RECORD = (
    "WITH came (i, k, at, answer, began) AS ({values}) INSERT INTO calls (id, key, at, answer, repeated)"
    " SELECT i, k, at, answer, began > 1 OR (began AND EXISTS (SELECT 1 FROM calls WHERE id = i AND key = k))"
    " FROM came WHERE i IN (SELECT id FROM inbox) ON CONFLICT (id, key) DO UPDATE"
    " SET answer = coalesce(excluded.answer, answer), repeated = max(repeated, excluded.repeated)"
)


class RecordedCalls:
    """The table `calls`, within the transactions of the store."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.ids: Mirror[int] = Mirror(id_ for (id_,) in connection.execute("SELECT DISTINCT id FROM calls"))

    def record(self, operations: Sequence[Calling | Called], finished: Collection[int]) -> None:
        """Record what is begun and answered; what is finished in the same transaction needs no record."""
        rows: dict[tuple[int, str], tuple[float, bytes | None, int]] = {}
        for operation in operations:
            place = operation.id, operation.key
            if operation.id in finished:
                continue
            at, answer, began = rows.get(place, (0.0, None, 0))
            if isinstance(operation, Calling):
                rows[place] = at if began else operation.at, answer, began + 1
            elif operation.answer is not None:
                rows[place] = at, operation.answer, began
            elif began > 1:  # an earlier try may have been made
                continue
            elif began:
                rows.pop(place)
                self._connection.execute(
                    "UPDATE calls SET repeated = 1 WHERE id = ? AND key = ? AND answer IS NULL", place
                )
            else:
                self._connection.execute(
                    "DELETE FROM calls WHERE id = ? AND key = ? AND answer IS NULL AND NOT repeated", place
                )
        for chunk in chunks([(*place, *row) for place, row in rows.items()]):
            self._connection.execute(RECORD.format(values=places(len(chunk), 5)), flat(chunk))
        for id_, _ in rows:
            self.ids.add(id_)

    def forget(self, ids: Sequence[int]) -> None:
        """Forget the calls of these updates."""
        for chunk in chunks([id_ for id_ in ids if id_ in self.ids]):
            self._connection.execute(f"DELETE FROM calls WHERE id IN ({', '.join('?' * len(chunk))})", chunk)
            for id_ in chunk:
                self.ids.drop(id_)

    def move(self, old: int, new: int) -> None:
        """Give the calls of one update to another."""
        if old in self.ids:
            self._connection.execute("UPDATE calls SET id = ? WHERE id = ?", (new, old))
            self.ids.drop(old)
            self.ids.add(new)

    def of(self, id_: int) -> list[Call]:
        """The calls of an update, in the order in which they were begun."""
        rows = self._connection.execute(
            "SELECT key, at, answer, repeated FROM calls WHERE id = ? ORDER BY at, key", (id_,)
        )
        return [Call(key, at, answer, bool(repeated)) for key, at, answer, repeated in rows]
