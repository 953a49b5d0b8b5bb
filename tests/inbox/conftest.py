"""The stores that the conformance suite runs against. Another one needs a line in `STORES`, and a factory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
import pytest
from postgres_server import needs_postgres, postgres_server

from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.postgres.alone import Alone
from trioworkers.inbox.postgres.store import PostgresStore, postgres_store
from trioworkers.inbox.sqlite.store import SqliteStore, open_sqlite
from trioworkers.inbox.store import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from trioworkers.inbox.store import Store

Open: TypeAlias = Callable[[], "Store"]
"""Opens a store; called again after `close`, the same one."""


@dataclass(frozen=True)
class Backend:
    """A kind of store.

    `make` gives an empty one, whose files may be in the folder. `faulty` lets it fail at its N-th step, as
    long as the context lasts; without it those tests are left out.
    """

    make: Callable[[Path], Open]
    faulty: Callable[[Store, int], AbstractContextManager[None]] | None = None


def _memory(folder: Path) -> Open:
    store = MemoryStore()
    return lambda: store


@contextmanager
def _faulty_memory(store: Store, step: int) -> Iterator[None]:
    assert isinstance(store, MemoryStore)
    steps = count(1)

    def fault(operation: object) -> None:
        if next(steps) == step:
            raise StoreError("broken")

    store.fault = fault
    try:
        yield
    finally:
        store.fault = lambda _: None


@contextmanager
def _faulty_sqlite(store: Store, step: int) -> Iterator[None]:
    """Interrupt SQLite's machine once it has jumped so many times, whatever it is about.

    Not in COMMIT, which it can only interrupt when the transaction is in the file.
    """
    assert isinstance(store, SqliteStore)
    connection: sqlite3.Connection = store._connection
    steps, statement = count(1), ""

    def note(text: str) -> None:
        nonlocal statement
        statement = text

    connection.set_trace_callback(note)
    connection.set_progress_handler(lambda: statement != "COMMIT" and next(steps) == step, 1)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)
        connection.set_trace_callback(None)


def _postgres(folder: Path) -> Open:
    server = postgres_server()
    url = server.admin(server.database())

    def opened() -> Store:
        store = postgres_store(url, Alone())
        store.open()
        return store

    return opened


@contextmanager
def _faulty_postgres(store: Store, step: int) -> Iterator[None]:
    """Let the statement with this number be refused before it is sent."""
    assert isinstance(store, PostgresStore)
    steps, execute = count(1), psycopg.Cursor.execute

    def faulty(self: Any, *args: Any, **kwargs: Any) -> Any:
        if next(steps) == step:
            raise psycopg.errors.QueryCanceled("broken")
        return execute(self, *args, **kwargs)

    psycopg.Cursor.execute = faulty  # type: ignore[method-assign]
    try:
        yield
    finally:
        psycopg.Cursor.execute = execute  # type: ignore[method-assign]


STORES = {
    "sqlite": Backend(
        lambda folder: partial(open_sqlite, folder / "inbox.db", durability="normal"), _faulty_sqlite
    ),
    "memory": Backend(_memory, _faulty_memory),
    "postgres": Backend(_postgres, _faulty_postgres),
}


@pytest.fixture(params=STORES)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each store in turn."""
    if request.param == "postgres":
        needs_postgres()
    return STORES[request.param]
