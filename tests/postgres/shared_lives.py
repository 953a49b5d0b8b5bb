"""Lives of daemons that share a database, without the protocol by which they keep it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from postgres_server import postgres_server

from trioworkers.inbox.postgres import lease_statements as sql
from trioworkers.inbox.postgres.store import PostgresStore, postgres_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID


class SharedLease:
    """A row of `node` beside others, which lasts until somebody deletes it."""

    is_shared = True

    def __init__(self, name: str) -> None:
        self.life: UUID = uuid4()
        self._name = name
        self._is_new = True

    def see_joined(self) -> None:
        """It begins with its first connection."""

    def attach(self, connection: psycopg.Connection[Any], former: int) -> None:
        if self._is_new:
            connection.execute("INSERT INTO node (id, name) VALUES (%s, %s)", (self.life, self._name))
        self._is_new = False


@contextmanager
def node(database: str, name: str = "a") -> Iterator[PostgresStore]:
    """The store of a node of this name."""
    with closing(postgres_store(postgres_server().admin(database), SharedLease(name))) as store:
        store.open()
        yield store


def end_life(database: str, store: PostgresStore) -> None:
    """Evict the node whose store this is."""
    with psycopg.connect(postgres_server().admin(database)) as connection:
        connection.execute("DELETE FROM trioworkers.node WHERE id = %s", (store._session.lease.life,))


def owns(database: str, store: PostgresStore, bots: list[int]) -> dict[int, int]:
    """Let the node of this store claim these bots; the epochs of those that it got."""
    with _connected(database) as connection:
        connection.execute(sql.REGISTER, (bots,))
        return sql.claim(connection, bots, store._session.lease.life)


def gives_back(database: str, store: PostgresStore, bots: list[int]) -> None:
    """Let the node of this store release these bots, which it has drained."""
    with _connected(database) as connection:
        epochs = dict(connection.execute("SELECT bot_id, epoch FROM bot").fetchall())
        connection.execute(sql.RELEASE, (bots, [epochs[bot] for bot in bots], store._session.lease.life))


def _connected(database: str) -> psycopg.Connection[Any]:
    options = "-c search_path=trioworkers"
    return psycopg.connect(postgres_server().admin(database), autocommit=True, options=options)
