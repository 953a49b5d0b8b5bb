"""The tables of a PostgreSQL inbox, as they are copied."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from trioworkers.inbox.copying import BYTES, TABLES
from trioworkers.inbox.postgres import statements as sql
from trioworkers.inbox.postgres.errors import store_error
from trioworkers.inbox.postgres.keys import encoded_key
from trioworkers.inbox.postgres.schema import SCHEMA
from trioworkers.inbox.store import FLEET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trioworkers.inbox.copying import Row, Table
    from trioworkers.inbox.postgres.session import Session

MARK = "an unfinished copy"


class PostgresTables:
    """A :class:`~trioworkers.inbox.copying.Copyable` over a session, which it owns and opens.

    Raises:
        StoreError: the server cannot be reached, or another daemon has the database.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        with self._refusals() as connection:
            connection.execute(sql.FOLD, (session.lease.life, 0, session.batch))
            connection.execute(sql.FOLD_OLD)

    def rows(self, table: Table, after: Row | None, limit: int) -> Sequence[Row]:
        key = ", ".join(table.key)
        conditions: list[str] = []
        values: list[Any] = []
        if after is not None:
            conditions.append(f"({key}) > ({', '.join(['%s'] * len(after))})")
            values += [_written(table, column, one) for column, one in zip(table.key, after, strict=True)]
        if table.name == "plugin_values":  # the fleet's own are its state
            conditions.append("plugin <> %s")
            values.append(FLEET)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        query = f"SELECT {', '.join(table.columns)} FROM {table.name} {where} ORDER BY {key} LIMIT %s"
        with self._refusals() as connection:
            found = connection.cursor(binary=True).execute(query, (*values, limit)).fetchall()
        return [
            tuple(_read(table, column, value) for column, value in zip(table.columns, row, strict=True))
            for row in found
        ]

    def write(self, table: Table, rows: Sequence[Row]) -> None:
        copy = f"COPY {table.name} ({', '.join(table.columns)}) FROM STDIN"
        with self._refusals() as connection, connection.cursor().copy(copy) as copying:
            for row in rows:
                values = zip(table.columns, row, strict=True)
                copying.write_row([_written(table, column, value) for column, value in values])

    def clear(self) -> None:
        with self._refusals() as connection, connection.transaction():
            connection.execute(f"COMMENT ON SCHEMA {SCHEMA} IS '{MARK}'")
            connection.execute(f"TRUNCATE {', '.join(table.name for table in TABLES)}, delta")

    def is_marked(self) -> bool:
        with self._refusals() as connection:
            query = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s"
            row = connection.execute(query, (SCHEMA,)).fetchone()
        return row is not None and row[0] == MARK

    def finish(self, last_id: int) -> None:
        with self._refusals() as connection, connection.transaction():
            connection.execute("SELECT setval('inbox_id', %s, %s)", (max(1, last_id), last_id > 0))
            connection.execute(f"COMMENT ON SCHEMA {SCHEMA} IS NULL")
        with self._refusals() as connection:
            connection.execute(f"ANALYZE {', '.join(table.name for table in TABLES)}")

    def last_id(self) -> int:
        with self._refusals() as connection:
            row = connection.execute("SELECT last_value, is_called FROM inbox_id").fetchone()
        return int(row[0]) if row and row[1] else 0

    def state(self) -> Mapping[str, bytes]:
        """The values under the fleet's own name, by key."""
        with self._refusals() as connection:
            query = "SELECT key, value FROM plugin_values WHERE plugin = %s"
            rows = connection.cursor(binary=True).execute(query, (FLEET,)).fetchall()
        return {bytes(key).decode(): bytes(value) for key, value in rows}

    def put_state(self, state: Mapping[str, bytes]) -> None:
        """Put these values under the fleet's own name, in the place of all that are there."""
        with self._refusals() as connection, connection.transaction():
            connection.execute("DELETE FROM plugin_values WHERE plugin = %s", (FLEET,))
            insert = "INSERT INTO plugin_values (plugin, key, value) VALUES (%s, %s, %s)"
            for key, value in state.items():
                connection.execute(insert, (FLEET, key.encode(), value))

    def close(self) -> None:
        self._session.lose()

    @contextmanager
    def _refusals(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            yield self._session.connection()
        except psycopg.Error as error:
            raise store_error("the database", error) from None


def _read(table: Table, column: str, value: Any) -> Any:
    if (table.name, column) in BYTES:
        return bytes(value).decode(errors="surrogatepass")
    return tuple(value) if column == "history" else value


def _written(table: Table, column: str, value: Any) -> Any:
    if (table.name, column) in BYTES:
        return encoded_key(value)
    return list(value) if column == "history" else value
