"""The tables of a SQLite inbox, as they are copied."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from trioworkers.inbox.copying import BYTES, TABLES, as_text
from trioworkers.inbox.sqlite.errors import store_error
from trioworkers.inbox.sqlite.file import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trioworkers.inbox.copying import Row, Table

FLAGS = {"after_gap", "suspect", "skipped", "repeated"}
TEXTS = {"key", "kind", "reason"}
MARK = "-copying"  # at the end of the name of a file beside the database
_history = msgspec.json.Decoder(list[msgspec.Raw])


class SqliteTables:
    """A :class:`~trioworkers.inbox.copying.Copyable` over the file at `path`, which is made if need be.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        open_file(path).close()  # it is checked, and of this version
        self._mark = path.with_name(path.name + MARK)
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = FULL")

    def rows(self, table: Table, after: Row | None, limit: int) -> Sequence[Row]:
        key = ", ".join(table.key)
        where = "" if after is None else f"WHERE ({key}) > ({', '.join('?' * len(after))})"
        query = f"SELECT {', '.join(table.columns)} FROM {table.name} {where} ORDER BY {key} LIMIT ?"
        with self._refusals():
            found = self._connection.execute(query, (*(after or ()), limit)).fetchall()
        return [_read(table, row) for row in found]

    def write(self, table: Table, rows: Sequence[Row]) -> None:
        places = ", ".join("?" * len(table.columns))
        statement = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({places})"
        with self._transaction():
            self._connection.executemany(statement, [_written(table, row) for row in rows])

    def clear(self) -> None:
        self._mark.touch(0o600)
        with self._transaction():
            for table in TABLES:
                self._connection.execute(f"DELETE FROM {table.name}")

    def is_marked(self) -> bool:
        return self._mark.exists()

    def finish(self, last_id: int) -> None:
        with self._transaction():
            self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'inbox'")
            self._connection.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES ('inbox', ?)", (last_id,)
            )
        self._mark.unlink()

    def last_id(self) -> int:
        with self._refusals():
            row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'").fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._refusals():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise store_error("the file of SQLite", error) from None


def _read(table: Table, row: Row) -> Row:
    return tuple(_value(table.name, column, value) for column, value in zip(table.columns, row, strict=True))


def _value(table: str, column: str, value: Any) -> Any:
    if column in FLAGS:
        return bool(value)
    if column == "history":
        return tuple(as_text(bytes(one).decode()) for one in _history.decode(value))
    return as_text(value) if column in TEXTS and (table, column) not in BYTES else value


def _written(table: Table, row: Row) -> Row:
    """A log of attempts is one text; all else SQLite takes as it is."""
    if "history" not in table.columns:
        return row
    place = table.columns.index("history")
    return (*row[:place], f"[{','.join(row[place])}]", *row[place + 1 :])
