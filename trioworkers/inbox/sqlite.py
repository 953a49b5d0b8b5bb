"""The inbox in one SQLite file.

The daemon is the file's only owner and this its only connection, which the writer's thread uses.
Rows of one kind go to SQLite in one statement: each statement gives the interpreter lock away once,
and taking it back from a busy loop costs more than the row (measured with a busy second thread:
executemany 700 pairs/s, one statement for many rows 5,000).
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections import defaultdict
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from trioworkers.inbox.store import (
    Accept,
    Bury,
    Finish,
    Operation,
    Reschedule,
    StoreError,
    StoreRefusedError,
    Tally,
)
from trioworkers.records import Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    Counts = defaultdict[int, list[int]]

APPLICATION_ID = 0x74726977  # "triw", in the file's header: https://sqlite.org/fileformat.html#application_id
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE seen (
    bot_id INTEGER NOT NULL, update_id INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (bot_id, update_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bot_id INTEGER NOT NULL, update_id INTEGER NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
    body BLOB NOT NULL, checksum INTEGER NOT NULL, accepted_at REAL NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0, started_at REAL,
    after_gap INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX inbox_by_bot ON inbox (bot_id);
CREATE INDEX inbox_by_key ON inbox (bot_id, key);
CREATE TABLE dead (
    id INTEGER PRIMARY KEY,
    bot_id INTEGER NOT NULL, update_id INTEGER NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
    body BLOB NOT NULL, checksum INTEGER NOT NULL, accepted_at REAL NOT NULL,
    attempts INTEGER NOT NULL, started_at REAL, died_at REAL NOT NULL,
    reason TEXT NOT NULL, error TEXT NOT NULL
) STRICT;
CREATE INDEX dead_by_bot ON dead (bot_id);
CREATE TABLE tally (
    bot_id INTEGER PRIMARY KEY,
    accepted INTEGER NOT NULL, duplicates INTEGER NOT NULL, done INTEGER NOT NULL,
    dropped INTEGER NOT NULL, expired INTEGER NOT NULL, retried INTEGER NOT NULL, dead INTEGER NOT NULL
) STRICT;
"""
COUNTS = ("accepted", "duplicates", "done", "dropped", "expired", "retried", "dead")
ACCEPTED, DUPLICATES, DONE, DROPPED, EXPIRED, RETRIED, DEAD = range(len(COUNTS))
OUTCOMES = {"done": DONE, "dropped": DROPPED, "expired": EXPIRED}
ADD_TALLY = "ON CONFLICT (bot_id) DO UPDATE SET " + ", ".join(f"{c} = {c} + excluded.{c}" for c in COUNTS)
T = TypeVar("T")
BEFORE_ALL = (-(2**63), -(2**63))
# CROSS JOIN keeps the order of the loops; `(bot_id, update_id) IN (VALUES …)` would scan the whole table
KNOWN = (
    "WITH asked (b, u) AS (VALUES {values})"
    " SELECT b, u FROM asked CROSS JOIN seen ON bot_id = b AND update_id = u"
)
ROWS_PER_STATEMENT = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)  # few texts, so that all stay prepared


def open_sqlite(path: Path, *, durability: str = "full") -> SqliteStore:
    """Open or create the inbox's file, mode 0600.

    Args:
        path: the database file; its folder exists.
        durability: `full` syncs every commit; with `normal` a power cut may take the last ones back
            (https://sqlite.org/wal.html, "Performance Considerations").

    Raises:
        StoreRefusedError: the file is not an inbox, or was written by a newer trioworkers.
        StoreError: the file cannot be opened.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=5
        )
    except (OSError, sqlite3.Error) as error:
        message = f"cannot open {path}: {error}"
        raise StoreError(message) from error
    try:
        _prepare(connection, path, durability)
        return SqliteStore(connection)
    except sqlite3.Error as error:
        connection.close()
        message = f"cannot use {path}: {error}"
        foreign = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB
        raise (StoreRefusedError if foreign else StoreError)(message) from error
    except StoreError:
        connection.close()
        raise


def _prepare(connection: sqlite3.Connection, path: Path, durability: str) -> None:
    def number(pragma: str) -> int:
        return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    version, owner = number("user_version"), number("application_id")
    empty = number("schema_version") == 0
    if not empty and owner != APPLICATION_ID:
        message = f"{path} is a database of another program"
        raise StoreRefusedError(message)
    if version > SCHEMA_VERSION:
        message = f"{path} has schema {version} of a newer trioworkers, this one knows {SCHEMA_VERSION}"
        raise StoreRefusedError(message)
    if empty:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has to come before the first table
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'NORMAL' if durability == 'normal' else 'FULL'}")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    if empty:
        connection.executescript(
            f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
        )


class SqliteStore:
    """A :class:`~trioworkers.inbox.store.Store` over an open connection, which it owns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'").fetchone()
        self._last_id: int = row[0] if row else 0
        self._examined: tuple[int, int] = BEFORE_ALL

    def commit(self, operations: Sequence[Operation]) -> Sequence[int | None]:
        by_type: dict[type, list[Any]] = defaultdict(list)
        for operation in operations:
            by_type[type(operation)].append(operation)
        counts: Counts = defaultdict(lambda: [0] * len(COUNTS))
        last_id = self._last_id
        try:
            with self._transaction():
                ids = self._accept(by_type[Accept], counts)
                self._finish(by_type[Finish], counts)
                for reschedule in by_type[Reschedule]:
                    self._reschedule(reschedule, counts)
                for bury in by_type[Bury]:
                    self._bury(bury, counts)
                self._insert(
                    f"INSERT INTO tally (bot_id, {', '.join(COUNTS)}) VALUES",
                    1 + len(COUNTS),
                    _flat([(bot_id, *count) for bot_id, count in counts.items()]),
                    ADD_TALLY,
                )
        except BaseException:
            self._last_id = last_id
            raise
        accepted = iter(ids)
        return [next(accepted) if type(operation) is Accept else None for operation in operations]

    def waiting(
        self, bot_id: int, *, after: int, until: int | None = None, key: str | None = None, limit: int
    ) -> Sequence[Waiting]:
        where = "bot_id = ? AND id > ?"
        values: list[object] = [bot_id, after]
        if until is not None:
            where, values = f"{where} AND id <= ?", [*values, until]
        if key is not None:
            where, values = f"{where} AND key = ?", [*values, key]
        rows = self._read(
            "SELECT id, bot_id, update_id, key, body, accepted_at, attempt, due, started_at, after_gap,"
            f" checksum, kind FROM inbox WHERE {where} ORDER BY id LIMIT ?",
            [*values, limit],
        )
        return [
            Waiting(*row[:9], bool(gap), zlib.crc32(row[4]) != checksum, kind)  # type: ignore[call-arg]
            for row in rows
            for gap, checksum, kind in [row[9:]]
        ]

    def tallies(self) -> Mapping[int, Tally]:
        pending = dict(self._read("SELECT bot_id, count(*) FROM inbox GROUP BY bot_id"))
        return {
            bot_id: Tally(*counts, pending=pending.get(bot_id, 0))
            for bot_id, *counts in self._read(f"SELECT bot_id, {', '.join(COUNTS)} FROM tally")
        }

    def forget(self, before: float, limit: int) -> int:
        window = self._read(
            "SELECT bot_id, update_id, at FROM seen WHERE (bot_id, update_id) > (?, ?)"
            " ORDER BY bot_id, update_id LIMIT ?",
            [*self._examined, limit],
        )
        self._examined = window[-1][:2] if len(window) == limit else BEFORE_ALL
        old = [row[:2] for row in window if row[2] < before]
        with self._transaction():
            for rows in _chunks(old):
                either = " OR ".join(["(bot_id = ? AND update_id = ?)"] * len(rows))
                self._execute(f"DELETE FROM seen WHERE {either}", _flat(rows))
        return len(old)

    def close(self) -> None:
        self._connection.close()

    def _accept(self, operations: Sequence[Accept], counts: Counts) -> list[int | None]:
        keys = [(operation.bot_id, operation.update_id) for operation in operations]
        known: set[tuple[int, int]] = set()
        for chunk in _chunks(keys):
            values = ", ".join(["(?, ?)"] * len(chunk))
            known.update(self._execute(KNOWN.format(values=values), _flat(chunk)))
        ids: list[int | None] = []
        seen: list[object] = []
        rows: list[object] = []
        for operation, key in zip(operations, keys, strict=True):
            if key in known:
                counts[operation.bot_id][DUPLICATES] += 1
                ids.append(None)
                continue
            known.add(key)
            counts[operation.bot_id][ACCEPTED] += 1
            self._last_id = id_ = self._last_id + 1
            ids.append(id_)
            body = operation.body
            seen += (*key, operation.at)
            rows += (id_, *key, operation.key, operation.kind, body, zlib.crc32(body), operation.at)
        self._insert("INSERT INTO seen (bot_id, update_id, at) VALUES", 3, seen)
        self._insert(
            "INSERT INTO inbox (id, bot_id, update_id, key, kind, body, checksum, accepted_at) VALUES",
            8,
            rows,
        )
        return ids

    def _finish(self, operations: Sequence[Finish], counts: Counts) -> None:
        for chunk in _chunks(operations):
            ids = [operation.id for operation in chunk]
            among = f"FROM inbox WHERE id IN ({', '.join('?' * len(ids))})"
            (found,) = self._execute(f"SELECT count(*) {among}", ids).fetchone()
            # one row for each id would give the interpreter lock away each time
            absent = (
                set() if found == len(ids) else set(ids) - {*chain(*self._execute(f"SELECT id {among}", ids))}
            )
            self._execute(f"DELETE {among}", ids)
            for operation in chunk:
                if operation.id not in absent:
                    absent.add(operation.id)
                    counts[operation.bot_id][OUTCOMES[operation.outcome]] += 1

    def _reschedule(self, operation: Reschedule, counts: Counts) -> None:
        changed = self._execute(
            "UPDATE inbox SET attempt = ?, due = ?, started_at = ?, error = ? WHERE id = ?",
            (operation.attempt, operation.due, operation.started_at, operation.error, operation.id),
        ).rowcount
        counts[operation.bot_id][RETRIED] += changed

    def _bury(self, operation: Bury, counts: Counts) -> None:
        moved = self._execute(
            "INSERT INTO dead SELECT id, bot_id, update_id, key, kind, body, checksum, accepted_at, ?,"
            " started_at, ?, ?, error FROM inbox WHERE id = ?",
            (operation.attempts, operation.at, operation.reason, operation.id),
        ).rowcount
        if not moved:
            return
        counts[operation.bot_id][DEAD] += 1
        self._execute("DELETE FROM inbox WHERE id = ?", (operation.id,))
        if operation.key:
            self._execute(
                "UPDATE inbox SET after_gap = 1 WHERE id ="
                " (SELECT min(id) FROM inbox WHERE bot_id = ? AND key = ?)",
                (operation.bot_id, operation.key),
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of what is done inside, durably, or nothing of it.

        Raises:
            StoreError: SQLite refused something; nothing took effect.
        """
        try:
            self._execute("BEGIN IMMEDIATE")
            yield
            self._execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):  # what went wrong first is what is told
                    self._execute("ROLLBACK")
            if not isinstance(error, sqlite3.Error):
                raise
            message = f"the inbox could not commit: {error}"
            raise StoreError(message) from error

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._execute(query, values).fetchall()
        except sqlite3.Error as error:
            message = f"the inbox could not be read: {error}"
            raise StoreError(message) from error

    def _insert(self, statement: str, width: int, values: Sequence[object], suffix: str = "") -> None:
        """Insert rows of `width` columns, given one after the other in `values`."""
        row = f"({', '.join('?' * width)})"
        for chunk in _chunks(values, width):
            self._execute(f"{statement} {', '.join([row] * (len(chunk) // width))} {suffix}", chunk)


def _chunks(values: Sequence[T], width: int = 1) -> Iterator[Sequence[T]]:
    """Cut `values`, `width` of them a row, into as many rows as one statement takes."""
    start = 0
    for rows in ROWS_PER_STATEMENT:
        while len(values) - start >= rows * width:
            yield values[start : start + rows * width]
            start += rows * width


def _flat(rows: Iterable[Sequence[Any]]) -> list[Any]:
    return list(chain.from_iterable(rows))
