"""The once keys in SQLite: what was committed lately, and must not come a second time.

Those that count are also in memory, and nothing else is asked: a question would be a statement more for each
transaction. On disk they lie in the order in which they end, so that what comes together is written
together; in the order of keys, each key would change a page of its own (two thirds of a commit's time).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from trioworkers.inbox.rules import Committed, once_seen
from trioworkers.inbox.sqlite.rows import filled, flat, insert

if TYPE_CHECKING:
    import sqlite3

    from trioworkers.inbox.sqlite.guard import Guard
    from trioworkers.inbox.store import Accept, OnceSeen

OLD = "SELECT until, bot_id, key FROM once WHERE until <= ? ORDER BY until, bot_id, key LIMIT ?"
FORGET_OLD = "DELETE FROM once WHERE (until, bot_id, key) <= (?, ?, ?)"
ONE = "(until = ? AND bot_id = ? AND key = ?)"


class OnceKeys:
    """The table `once`, and the keys in it by bot id and key.

    Changes are seen at once; they hold from :meth:`keep` on, or are taken back by :meth:`undo`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        rows = connection.execute("SELECT bot_id, key, at, until FROM once ORDER BY at")
        self._kept = {(bot_id, key): Committed(at, until) for bot_id, key, at, until in rows}
        self._new: dict[tuple[int, str], Committed] = {}
        self._replaced: list[tuple[float, int, str]] = []  # rows in whose place new ones come

    def get(self, place: tuple[int, str]) -> Committed | None:
        """When the key was committed last, and until when it counts; None when it is not known."""
        return self._new.get(place) or self._kept.get(place)

    def take(self, operation: Accept) -> OnceSeen | None:
        """Commit the keys of an update; if one of them counts already, say which, and commit none."""
        at, bot_id = operation.at, operation.bot_id
        new, kept = self._new, self._kept
        for once in operation.once:
            place = bot_id, once.key
            if place in new or place in kept:  # few are: the rule is asked about these alone
                if (repeated := once_seen(operation, self.get)) is not None:
                    return repeated
                break
        for once in operation.once:
            place = bot_id, once.key
            if place in kept:
                self._replaced.append((kept[place].until, *place))
            new[place] = Committed(at, at + once.window)
        return None

    def write(self) -> None:
        """Write the keys that were taken."""
        for chunk in filled(flat(self._replaced), 3):
            self._connection.execute(_deletion(len(chunk) // 3), chunk)
        rows = flat([(one.until, *place, one.at) for place, one in self._new.items()])
        insert(self._connection, "once (until, bot_id, key, at)", 4, rows)

    def keep(self) -> None:
        """The changes were committed."""
        if self._new:
            self._kept.update(self._new)
            self.undo()

    def undo(self) -> None:
        """The changes were rolled back."""
        self._new, self._replaced = {}, []

    def forget(self, guard: Guard, now: float, limit: int) -> int:
        """Forget up to `limit` keys that do not count any more at `now`; returns their number."""
        with guard.reading():
            old = self._connection.execute(OLD, (now, limit)).fetchall()
        if old:
            with guard.transaction():
                self._connection.execute(FORGET_OLD, old[-1])
        for _, *place in old:
            del self._kept[tuple(place)]
        return len(old)


@cache
def _deletion(rows: int) -> str:
    """Each condition is a search in the index; `IN (VALUES …)` would go through the whole table."""
    return f"DELETE FROM once WHERE {' OR '.join([ONE] * rows)}"
