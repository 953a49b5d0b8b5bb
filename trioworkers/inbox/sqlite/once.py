"""The once keys in SQLite: what was committed lately, and must not come a second time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.inbox.sqlite.rows import filled, flat, insert, places
from trioworkers.inbox.store import Accept, Committed, once_seen

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from trioworkers.inbox.sqlite.guard import Guard
    from trioworkers.inbox.store import Filter, OnceSeen

COMMITTED = (
    "WITH asked (b, k) AS ({values})"
    " SELECT b, k, at, until FROM asked CROSS JOIN once ON bot_id = b AND key = k"
)
COUNT_OLD = "SELECT count(*) FROM (SELECT 1 FROM once WHERE until <= ? LIMIT ?)"
LAST_OLD = "SELECT until, bot_id, key FROM once WHERE until <= ? ORDER BY until, bot_id, key LIMIT 1 OFFSET ?"
# a range of the index; `(bot_id, key) IN (SELECT …)` would look at all keys of a bot for each of them
FORGET_OLD = "DELETE FROM once WHERE (until, bot_id, key) <= (?, ?, ?)"
RENEW = "ON CONFLICT (bot_id, key) DO UPDATE SET at = excluded.at, until = excluded.until"


class OnceKeys:
    """The table `once`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def of(self, operations: Sequence[Accept | Filter]) -> BatchKeys:
        """The keys that matter to the updates of one transaction."""
        asked = {
            (operation.bot_id, once.key)
            for operation in operations
            if isinstance(operation, Accept)
            for once in operation.once
        }
        committed: dict[tuple[int, str], Committed] = {}
        for chunk in filled(flat(asked), 2):
            rows = self._connection.execute(COMMITTED.format(values=places(len(chunk) // 2, 2)), chunk)
            committed.update(((bot_id, key), Committed(at, until)) for bot_id, key, at, until in rows)
        return BatchKeys(self._connection, committed)

    def forget(self, guard: Guard, now: float, limit: int) -> int:
        """Forget up to `limit` keys that do not count any more at `now`; returns their number."""
        with guard.reading():
            (old,) = self._connection.execute(COUNT_OLD, (now, limit)).fetchone()
            last = self._connection.execute(LAST_OLD, (now, old - 1)).fetchone() if old else None
        if last is not None:
            with guard.transaction():
                self._connection.execute(FORGET_OLD, last)
        return int(old)


class BatchKeys:
    """The keys of one transaction: those that were committed before, and those that it commits."""

    def __init__(self, connection: sqlite3.Connection, committed: dict[tuple[int, str], Committed]) -> None:
        self._connection = connection
        self._committed = committed
        self._new: dict[tuple[int, str], Committed] = {}

    def take(self, operation: Accept) -> OnceSeen | None:
        """Commit the keys of an update; if one of them counts already, say which, and commit none."""
        if (repeated := once_seen(operation, self._committed)) is not None:
            return repeated
        taken = {
            (operation.bot_id, once.key): Committed(operation.at, operation.at + once.window)
            for once in operation.once
        }
        self._committed.update(taken)
        self._new.update(taken)
        return None

    def write(self) -> None:
        """Write the keys that were taken."""
        rows = flat([(*place, *committed) for place, committed in self._new.items()])
        insert(self._connection, "once (bot_id, key, at, until)", 4, rows, RENEW)
