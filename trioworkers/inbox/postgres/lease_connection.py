"""The connection on which a node keeps its lease: also where it hears what other nodes tell it.

It belongs to one thread, which waits on it; anybody may wake that thread by :meth:`LeaseConnection.ring`.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo

from trioworkers.inbox.postgres import lease_statements as sql
from trioworkers.inbox.postgres.schema import ALONE, LOCK, prepare
from trioworkers.inbox.postgres.session import settings_of
from trioworkers.inbox.store import StoreTakenError, StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    Connection = psycopg.Connection[Any]
    Cursor = psycopg.Cursor[Any]


class LeaseConnection:
    """A connection that is there when it is needed.

    Args:
        url: where the server is, as of the store.
        patience: seconds for a statement.

    Attributes:
        timeline: of the server, when the connection was opened last.
        heard: what was told on a channel that is listened to, by others, and not taken yet: channel and text.
    """

    def __init__(self, url: str, patience: float) -> None:
        self.timeline = ""
        self.heard: deque[tuple[str, str]] = deque()
        self._settings = settings_of(url)
        self._longest = 1.25 * patience  # what waits for longer is ended by us, not by statement_timeout
        self._limits = f"-c statement_timeout={patience:.3f}s -c lock_timeout=2s"
        # a server that has vanished without a word is noticed before the lease has long ended
        seconds = max(1, round(patience / 2))
        self._patience = {
            "connect_timeout": str(max(2, seconds)),
            "tcp_user_timeout": str(round(1000 * patience)),
            "keepalives_idle": str(seconds),
            "keepalives_interval": str(seconds),
            "keepalives_count": "2",
        }
        self._connection: Connection | None = None
        self._life: UUID | None = None  # whose name it has, and whose messages it hears
        self._is_unsynced, self._process = False, 0
        self._lock = threading.Lock()  # over the bell, which is rung from anywhere
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def open(self, life: UUID) -> Connection:
        """The connection, opened for this life of the node if there is none.

        Raises:
            StoreTakenError: a daemon that is in no cluster has the database.
            StoreError, psycopg.Error: it cannot be used.
        """
        if self._connection is not None:
            if self._life == life:
                return self._connection
            self.lose()  # it was opened for the former life, after that had ended
        own = self._patience | {
            "application_name": f"trioworkers {life} lease",
            "options": f"{self._settings.get('options', '')} {self._limits}".strip(),
        }
        connection = psycopg.connect(make_conninfo(**{**self._settings, **own}), autocommit=True)
        try:
            connection.execute(sql.ENTER, prepare=False)
            prepare(connection)
            lock = connection.execute("SELECT pg_try_advisory_lock_shared(%s, %s)", (LOCK, ALONE)).fetchone()
            if lock is None or not lock[0]:
                message = "another daemon uses this database, and is in no cluster"
                raise StoreTakenError(message)
            (self.timeline,) = connection.execute(f"SELECT {sql.TIMELINE}").fetchone() or ("",)
            connection.add_notify_handler(lambda told: self._note(told.channel, told.payload, told.pid))
            self._process = connection.info.backend_pid
            for channel in (sql.CHANNEL, sql.TOLD, sql.told_to(life)):
                connection.execute(f'LISTEN "{channel}"')
        except BaseException:
            connection.close()
            raise
        self.heard.append((sql.TOLD, ""))  # what was told while there was none is not known
        connection.add_notice_handler(self._hear_notice)
        self._is_unsynced = False
        self._connection, self._life = connection, life
        return connection

    def run(self, life: UUID, statement: str, values: Sequence[Any] = ()) -> Cursor:
        """Run one statement, which is a transaction.

        Raises:
            StoreUnreachableError: it is not known to be on the standby that it has to be on.
            psycopg.Error: it took no effect, or the connection was lost, and it may.
        """
        with self.limited(life) as connection:
            cursor = connection.execute(statement, values)
        self.see_synced()
        return cursor

    @contextmanager
    def limited(self, life: UUID) -> Iterator[Connection]:
        """The connection, for one transaction. Its commit waits for a standby for some seconds at most.

        PostgreSQL ends `statement_timeout` before the commit of a statement, and so before that wait.
        """
        connection = self.open(life)
        timer = threading.Timer(self._longest, _cancel, (connection, self._longest))
        timer.daemon = True
        timer.start()
        try:
            yield connection
        finally:
            timer.cancel()

    def see_synced(self) -> None:
        """See that the last commit is on the standby that it has to be on.

        Raises:
            StoreUnreachableError: that is not known.
        """
        if self._is_unsynced:
            message = "the database does not know whether its standby has the last commit"
            raise StoreUnreachableError(message)

    def wait(self, seconds: float) -> None:
        """Wait until something was told, the bell was rung, or so many seconds have passed."""
        connection = self._connection
        if self.heard and connection is not None:
            return
        ready = select.poll()
        ready.register(self._bell, select.POLLIN)
        if connection is not None:
            ready.register(connection.fileno(), select.POLLIN)
        for descriptor, _ in ready.poll(1000 * seconds):
            if descriptor == self._bell:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._bell)
            elif connection is not None:
                self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            connection.pgconn.consume_input()
            while (told := connection.pgconn.notifies()) is not None:
                self._note(told.relname.decode(), told.extra.decode(), told.be_pid)
        except psycopg.Error:
            self.lose()

    def ring(self) -> None:
        """Let a :meth:`wait` return, the next one if there is none; from any thread."""
        with self._lock:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def lose(self) -> None:
        """Give the connection up; a new one is opened when it is needed."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    def close(self) -> None:
        """Give everything back. Nothing may follow but :meth:`ring`."""
        self.lose()
        with self._lock:
            bell, self._bell = self._bell, -1
        if bell >= 0:
            os.close(bell)

    def _note(self, channel: str, text: str, process: int) -> None:
        if process != self._process:  # what it told itself it knows
            self.heard.append((channel, text))

    def _hear_notice(self, said: psycopg.errors.Diagnostic) -> None:
        if said.sqlstate == "01000":  # "canceling wait for synchronous replication": told as a success
            self._is_unsynced = True


def _cancel(connection: Connection, seconds: float) -> None:
    with suppress(psycopg.Error):
        connection.cancel_safe(timeout=seconds)
