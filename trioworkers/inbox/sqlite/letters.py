"""Dead letters in SQLite, and the gaps that they leave in their chats."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from trioworkers.inbox.rules import MOST_LOGGED
from trioworkers.inbox.sqlite.rows import Mirror
from trioworkers.records import Attempt, DeadLetter

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from trioworkers.inbox.store import MoveToDead

LOG = (
    "UPDATE inbox SET history = json_set(iif(json_valid(history), history, '[]'),"
    f" iif(json_valid(history) AND json_array_length(history) >= {MOST_LOGGED}, '$[#-1]', '$[#]'), json(?))"
    " WHERE id = ?"
)
MOVE_TO_DEAD = (
    "INSERT INTO dead"
    " (id, bot_id, update_id, key, kind, body, checksum, accepted_at, attempts, died_at, reason, history)"
    " SELECT id, bot_id, update_id, key, kind, body, checksum, accepted_at, ?, ?, ?, history"
    " FROM inbox WHERE id = ?"
)
REVIVE = (
    "INSERT INTO inbox (id, bot_id, update_id, key, kind, body, checksum, accepted_at, after_gap, history)"
    " SELECT ?, bot_id, update_id, key, kind, body, checksum, accepted_at, ?, history FROM dead WHERE id = ?"
)
FIELDS = "id, bot_id, update_id, key, kind, body, accepted_at, attempts, died_at, reason, history, checksum"
READ_OLD = (
    f"SELECT {FIELDS} FROM dead WHERE id IN (SELECT id FROM dead INDEXED BY dead_by_time"
    " WHERE died_at <= ? AND id > ? ORDER BY id LIMIT ?) ORDER BY id"
)
_history = msgspec.json.Decoder(tuple[Attempt, ...])


class Gaps:
    """The chats whose next update follows one that was not handled, within the store's transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.open: Mirror[tuple[int, str]] = Mirror(connection.execute("SELECT bot_id, key FROM gaps"))

    def leave(self, bot_id: int, key: str, id_: int) -> None:
        """Mark the next update of the key after `id_`, be it here already or still to come."""
        if not key:
            return
        marked = self._connection.execute(
            "UPDATE inbox SET after_gap = 1 WHERE id = (SELECT min(id) FROM inbox"
            " WHERE bot_id = ? AND key = ? AND id > ? AND NOT skipped)",
            (bot_id, key, id_),
        ).rowcount
        if not marked and (bot_id, key) not in self.open:
            self._connection.execute("INSERT INTO gaps (bot_id, key) VALUES (?, ?)", (bot_id, key))
            self.open.add((bot_id, key))

    def close(self, bot_id: int, key: str) -> bool:
        """An update of the key comes: whether it follows a gap, which is closed by it."""
        if not self.open or (bot_id, key) not in self.open:
            return False
        self.open.drop((bot_id, key))
        self._connection.execute("DELETE FROM gaps WHERE bot_id = ? AND key = ?", (bot_id, key))
        return True


class Letters:
    """The table `dead`, within the store's transactions."""

    def __init__(self, connection: sqlite3.Connection, gaps: Gaps) -> None:
        self._connection = connection
        self._gaps = gaps

    def log(self, id_: int, failure: Attempt) -> None:
        """Add to the log of an update's attempts."""
        self._connection.execute(LOG, (msgspec.json.encode(failure).decode(), id_))

    def dead_letter(self, operation: MoveToDead) -> bool:
        """Move an update here; False when it is not there any more."""
        id_ = operation.id
        row = self._connection.execute("SELECT skipped FROM inbox WHERE id = ?", (id_,)).fetchone()
        if row is None:
            return False
        if operation.failure is not None:
            self.log(id_, operation.failure)
        self._connection.execute(MOVE_TO_DEAD, (operation.attempts, operation.at, operation.reason, id_))
        self._connection.execute("DELETE FROM inbox WHERE id = ?", (id_,))
        if not row[0]:
            self._gaps.leave(operation.bot_id, operation.key, id_)
        return True

    def key(self, id_: int) -> str | None:
        """The key of a dead letter; None when there is none of that id."""
        row = self._connection.execute("SELECT key FROM dead WHERE id = ?", (id_,)).fetchone()
        return None if row is None else row[0]

    def revive(self, id_: int, new_id: int, *, after_gap: bool) -> None:
        """Move a dead letter back."""
        self._connection.execute(REVIVE, (new_id, after_gap, id_))
        self.remove(id_)

    def remove(self, id_: int) -> bool:
        """Forget a dead letter; False when there is none of that id."""
        return bool(self._connection.execute("DELETE FROM dead WHERE id = ?", (id_,)).rowcount)

    def read(
        self, ids: Sequence[int] | None, bot_id: int | None, died_by: float | None, after: int, limit: int
    ) -> list[DeadLetter]:
        """The chosen dead letters by ascending id."""
        if died_by is not None and ids is None and bot_id is None:  # few are old; by id all would be read
            rows = self._connection.execute(READ_OLD, (died_by, after, limit))
            return [_dead_letter(row) for row in rows]
        where = "id > ?"
        values: list[object] = [after]
        if ids is not None:
            where, values = f"{where} AND id IN ({', '.join('?' * len(ids))})", [*values, *ids]
        of_bot = "bot_id = ?" if ids is None else "+bot_id = ?"  # + keeps the index away: the ids are fewer
        for condition, value in ((of_bot, bot_id), ("died_at <= ?", died_by)):
            if value is not None:
                where, values = f"{where} AND {condition}", [*values, value]
        rows = self._connection.execute(
            f"SELECT {FIELDS} FROM dead WHERE {where} ORDER BY id LIMIT ?", [*values, limit]
        )
        return [_dead_letter(row) for row in rows]


def is_history(value: object) -> bool:
    """Whether this is a log of attempts as the tables hold it."""
    try:
        _history.decode(value)  # type: ignore[arg-type]  # of a damaged file it may be anything
    except (msgspec.MsgspecError, TypeError):
        return False
    return True


def _dead_letter(row: tuple[Any, ...]) -> DeadLetter:
    *fields, history, checksum = row
    letter = DeadLetter(*fields)
    return replace(
        letter,
        history=_history.decode(history),
        damaged=zlib.crc32(letter.body) != checksum,
    )
