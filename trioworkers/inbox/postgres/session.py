"""The connection of a store: opened when it is needed, and again when it was lost.

A connection that breaks in a COMMIT leaves open whether that took effect. So each commit claims its number in
the table `mark`: whoever then inserts the same number knows, since either it is there, or the former commit
can never come through any more.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from trioworkers.inbox.postgres.arrays import register
from trioworkers.inbox.postgres.errors import FENCED, store_error
from trioworkers.inbox.postgres.schema import SCHEMA, prepare
from trioworkers.inbox.store import (
    StoreFencedError,
    StoreRefusedError,
    StoreUnknownError,
    StoreUnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    Connection = psycopg.Connection[Any]

DEFAULTS = {  # where the address says nothing else
    "connect_timeout": "5",
    "target_session_attrs": "read-write",  # of several hosts, the one that takes writes
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
PAUSE = 0.5  # seconds between two tries to connect
OLDEST = 120000  # PostgreSQL 12
STUCK = 0.3  # seconds that a commit of a former connection may hold its mark
ENTER = f"""
SET search_path = {SCHEMA}; SET jit = off; SET lock_timeout = '10s'; SET statement_timeout = 0;
SET enable_seqscan = off;  -- else a delete that was planned on an empty table reads the whole of a large one
SET idle_in_transaction_session_timeout = '20s';  -- of a daemon that stands still, with rows locked
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3
"""
SYNCED = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)


UNREPLICATED = "01000"  # a plain warning; in a commit nothing else gives one (syncrep.c, SyncRepWaitForLSN)
PROCESS = "SELECT pg_backend_pid()"
LAST = (
    "SELECT EXISTS (SELECT FROM node WHERE id = %s),"
    " (SELECT coalesce(max(batch), 0) FROM mark WHERE node = %s)"
)


class Lease(Protocol):
    """By which right a daemon writes: a row of the table `node`, whose end fences it.

    Attributes:
        life: the row's id.
        is_shared: whether other daemons may have rows beside it.
    """

    @property
    def life(self) -> UUID: ...
    @property
    def is_shared(self) -> bool: ...

    def see_joined(self) -> None:
        """See that the writer may have a connection, before it opens one.

        Raises:
            StoreUnreachableError: this life has not begun yet.
            StoreFencedError: it is over.
        """

    def attach(self, connection: Connection, former: int) -> None:
        """The writer has a new connection. `former`: the server process of the one before; 0: none.

        Raises:
            StoreRefusedError: another daemon has the store.
            StoreUnreachableError, StoreFencedError: as for `see_joined`.
        """


class Session:
    """A connection that is there when it is needed. Used by one thread.

    Args:
        url: where the server is, for libpq; it may hold a password, and is never shown.
        lease: by which right this daemon writes.
        durability: `full`, or `normal`: commits do not wait for the disk.

    Attributes:
        lease: as given.
        life: for which the connection was opened last: another one of `lease` has a connection of its own.
        batch: the number of the last commit that is known to have been made, or never will be.
        in_doubt: whether it is not known of the commit after that.
        is_unreplicated: whether the server gave up waiting for a synchronous standby since this was reset. It
            reports success, with a warning.

    Raises:
        StoreRefusedError: the address is not one.
    """

    def __init__(self, url: str, lease: Lease, durability: str = "full") -> None:
        self.lease = lease
        self._settings = settings_of(url)
        self._durability = durability
        self._connection: Connection | None = None
        self._former = 0
        self.life: UUID | None = None
        self._next_try, self._failure = 0.0, ""
        self.batch = 0
        self.in_doubt = False
        self.is_unreplicated = False

    def connection(self) -> Connection:
        """The connection, opened if there is none; of a commit in doubt it is then known what came of it.

        Raises:
            StoreUnreachableError, StoreRefusedError, StoreForbiddenError, StoreFencedError: there is none.
        """
        self._open()
        assert self._connection is not None  # noqa: S101 - for the type
        return self._connection

    def lose(self) -> None:
        """Give the connection up; a new one is opened when it is needed."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    def reopen(self) -> bool:
        """Open a new connection; return whether the commit that was in doubt took effect.

        Raises:
            StoreError: there is none; the commit is still in doubt.
        """
        self.lose()
        return self._open()

    def _open(self) -> bool:
        if self._connection is not None:
            if self.life == self.lease.life:
                return False
            self.lose()  # it is a former life's, and its name says so
        if time.monotonic() < self._next_try:
            raise StoreUnreachableError(self._failure)
        life = self.lease.life
        try:
            self.lease.see_joined()
            connection = self._connect(life)
            try:
                took_effect = self._enter(connection, life)
            except BaseException:
                connection.close()
                raise
        except StoreFencedError as error:
            error.life = life
            raise
        except psycopg.Error as error:
            told = store_error("the database cannot be used", error)
            self._next_try, self._failure = time.monotonic() + PAUSE, str(told)
            raise told from None
        self._connection = connection
        return took_effect

    def _connect(self, life: UUID) -> Connection:
        logging.getLogger("psycopg").setLevel(
            logging.ERROR
        )  # it tells of each pipeline that breaks, as we do
        info = make_conninfo(**self._settings, application_name=f"trioworkers {life}")
        return psycopg.connect(info, autocommit=True, prepare_threshold=0)

    def _enter(self, connection: Connection, life: UUID) -> bool:
        info = connection.info
        if info.server_version < OLDEST:
            message = f"the server is PostgreSQL {info.server_version // 10000}, expected 12 or later"
            raise StoreRefusedError(message)
        if (encoding := info.parameter_status("server_encoding")) not in (None, "UTF8"):
            message = f"the database has the encoding {encoding}, expected UTF8"
            raise StoreRefusedError(message)
        (process,) = connection.execute(PROCESS, prepare=False).fetchone() or (0,)
        if process != info.backend_pid:
            self._see_pooler(process, life)
        connection.execute(ENTER, prepare=False)
        if self._durability == "normal":
            connection.execute("SET synchronous_commit = off")
        else:
            connection.execute(SYNCED)
        connection.add_notice_handler(self._note)
        register(connection)
        prepare(connection)
        self.lease.attach(connection, self._former)
        took_effect = self._settle(connection, life)
        self._former = process
        return took_effect

    def _note(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.sqlstate == UNREPLICATED:
            self.is_unreplicated = True

    def _see_pooler(self, process: int, life: UUID) -> None:
        """A pooler stands between: a second client must not get the server process of the first.

        Raises:
            StoreRefusedError: it does, so the pooler gives it away after each transaction.
        """
        with self._connect(life) as second:
            (other,) = second.execute(PROCESS, prepare=False).fetchone() or (0,)
        if other == process:
            message = "the pooler before the server gives connections away after each transaction"
            raise StoreRefusedError(f"{message}, expected pool_mode = session, or the server itself")

    def _settle(self, connection: Connection, life: UUID) -> bool:
        """Know what came of a commit in doubt, and that the server has all those before it."""
        if self.life != life:  # nothing of a former life is in doubt: it can write nothing more
            self.life, self.batch, self.in_doubt = life, 0, False
        is_there, last = connection.execute(LAST, (life, life)).fetchone() or (False, 0)
        if not is_there:
            raise StoreFencedError(FENCED)
        if last < self.batch:
            self._lost_commits(connection, self.batch - last)
        if not self.in_doubt:
            return False
        took_effect = not self._claim_mark(connection)
        self.batch += 1
        self.in_doubt = False
        return took_effect

    def _claim_mark(self, connection: Connection) -> bool:
        """Whether the number of the commit in doubt was still free. It is taken now."""
        claim = "INSERT INTO mark (node, batch) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING 1"
        while True:
            try:
                with connection.transaction():
                    connection.execute(f"SET LOCAL lock_timeout = '{STUCK}s'")
                    rows = connection.execute(claim, (self.life, self.batch + 1)).fetchall()
            except psycopg.errors.LockNotAvailable:  # the server still waits for the former connection
                end_process(connection, self._former)
            else:
                return bool(rows)

    def _lost_commits(self, connection: Connection, number: int) -> None:
        """A standby took over that had not heard of the last commits.

        Raises:
            StoreUnknownError: always. Ids that were given are not given again.
        """
        connection.execute(
            "SELECT setval('inbox_id', (SELECT last_value FROM inbox_id) + %s)", (1000 * number,)
        )
        self.batch = max(0, self.batch - number)
        message = (
            f"the server has lost {number} commits that it had confirmed: a standby took over, or a backup"
        )
        message += " was restored"
        raise StoreUnknownError(message)


def end_process(connection: Connection, process: int) -> None:
    """End a process of the server, unless it serves this connection: a pooler may have passed it on."""
    connection.execute("SELECT pg_terminate_backend(%s) WHERE pg_backend_pid() <> %s", (process, process))


def settings_of(url: str) -> Mapping[str, str]:
    """What libpq is told for an address, with our own defaults.

    Raises:
        StoreRefusedError: it is not one.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:  # it may quote a part of the password
        message = (
            "store.url is not an address that libpq understands, expected postgresql://user@host/database"
        )
        raise StoreRefusedError(message) from None
    settings = {key: str(value) for key, value in given.items() if value is not None}
    return DEFAULTS | {"client_encoding": "utf8"} | settings
