"""The right of a daemon that has a database for itself: it holds a lock there, and ends earlier lives."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from trioworkers.inbox.postgres.schema import ALONE, LOCK
from trioworkers.inbox.postgres.session import end_process
from trioworkers.inbox.store import StoreTakenError

if TYPE_CHECKING:
    Connection = psycopg.Connection[Any]

PATIENCE = 3.0  # seconds in which a daemon that has just ended gives the lock back
EVERY = 0.1  # seconds


class Alone:
    """A :class:`~trioworkers.inbox.postgres.session.Lease` that no other daemon may have beside it."""

    is_shared = False

    def __init__(self) -> None:
        self.life = uuid4()
        self._entered = False

    def see_joined(self) -> None:
        """It begins with its first connection."""

    def attach(self, connection: Connection, former: int) -> None:
        """Take the lock. When it has been lost to another daemon, that one has ended this life's row.

        Raises:
            StoreTakenError: another daemon has it.
        """
        if former:
            end_process(connection, former)
        has_lock = _take_lock(connection)
        if self._entered:  # whether this life has ended shows when it writes
            return
        if not has_lock:
            row = connection.execute(
                "SELECT name, to_char(seen, 'YYYY-MM-DD HH24:MI TZ') FROM node"
            ).fetchone()
            name, since = row or ("unknown", "unknown")
            message = f"another daemon uses this database: that of {name}, since {since}"
            raise StoreTakenError(message)
        _end_others(connection)
        connection.execute("INSERT INTO node (id, name) VALUES (%s, %s)", (self.life, socket.gethostname()))
        self._entered = True


def _take_lock(connection: Connection) -> bool:
    until = time.monotonic() + PATIENCE
    while True:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK, ALONE)).fetchone()
        if row is not None and row[0]:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(EVERY)


def _end_others(connection: Connection) -> None:
    """Delete the rows of lives that are over; what they left uncommitted is rolled back."""
    lives = [life for (life,) in connection.execute("SELECT id FROM node").fetchall()]
    for life in lives:
        try:
            with connection.transaction():
                connection.execute("SET LOCAL lock_timeout = '500ms'")
                connection.execute("DELETE FROM node WHERE id = %s", (life,))
        except psycopg.errors.LockNotAvailable:  # of a process that stands still in a transaction
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
                (f"trioworkers {life}%",),
            )
            connection.execute("DELETE FROM node WHERE id = %s", (life,))
