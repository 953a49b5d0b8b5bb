"""What stands between the store and SQLite: transactions, and what becomes of a refusal.

A full disk gets the ballast; a damaged file gets a mark, by which the next start replaces it, and is left
alone.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from trioworkers.inbox.sqlite.backup import copy_database
from trioworkers.inbox.sqlite.damage import leave_mark
from trioworkers.inbox.sqlite.errors import store_error
from trioworkers.inbox.sqlite.schema import SCHEMA_VERSION
from trioworkers.inbox.store import StoreDamagedError, StoreError, StoreFullError, StoreRejectedError
from trioworkers.shortage import no_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trioworkers.inbox.sqlite.disk import Room

KEPT_PAGES = 1024  # free pages of 4 kB in the file, that the next updates take
FREED_PAGES = 256  # given back to the disk at once: 3 ms
LARGE_JOURNAL = 16 << 20  # bytes; SQLite empties it at 4 MB (wal_autocheckpoint)
IDLE_COMMITS = 20  # between two upkeeps, up to which the writer has time for that


class Guard:
    """A connection's transactions and reads. Without a `room` updates are accepted until SQLite is full."""

    def __init__(self, connection: sqlite3.Connection, path: Path, room: Room | None) -> None:
        self._connection = connection
        self._path = path
        self._journal = f"{os.fspath(path)}-wal"
        self._room = room
        self._damaged: str | None = None
        self._commits = 0

    def see_room(self) -> None:
        """See that new updates may be accepted.

        Raises:
            StoreFullError: they may not, now.
        """
        if self._room is not None:
            self._room.check()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is done inside, durably, or nothing of it.

        Raises:
            StoreRejectedError: a value is not one that SQLite can hold.
            StoreError: SQLite refused something; nothing took effect.
        """
        what = "the inbox could not commit"
        with self._refusals(what):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except (OverflowError, UnicodeEncodeError) as error:
                self._roll_back()
                message = f"{what}: {'a number' if isinstance(error, OverflowError) else 'a text'} in it"
                message += " cannot be stored"
                raise StoreRejectedError(message) from None  # it may quote the text
            except BaseException:
                self._roll_back()
                raise
        self._commits += 1

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):  # what went wrong first is what is told
                self._connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read inside, and make records of the rows.

        Raises:
            StoreDamagedError: a row is not what the tables say.
            StoreError: SQLite refused something.
        """
        what = "the inbox could not be read"
        with self._refusals(what):
            try:
                yield
            except OverflowError as error:
                message = f"{what}: a number was given that has more than 64 bits"
                raise StoreError(message) from error
            except (TypeError, ValueError, msgspec.MsgspecError):  # which may quote what is in the row
                message = f"{what}: a row in it is not what was written"
                self._condemn(message)
                raise StoreDamagedError(message) from None

    def tend(self, *, prove: bool = False) -> int:
        """Look at the disk; give some of the file's free pages back to it when there is time or need.

        `prove`: see that a write succeeds. Returns the bytes of a journal that cannot be emptied, or 0.

        Raises:
            StoreFullError: new updates may not be accepted.
        """
        busy, self._commits = self._commits > IDLE_COMMITS, 0
        short: StoreFullError | None = None
        if self._room is not None:
            try:
                self._room.look()
            except StoreFullError as error:
                short = error
        with self._refusals("the inbox could not be made smaller"):
            (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
            if free > KEPT_PAGES and (short or not busy):
                # `execute` would free a single page: SQLite yields after each, without a row
                self._connection.executescript(f"PRAGMA incremental_vacuum({FREED_PAGES})")
        if short:
            raise short
        if prove:
            with self.transaction():  # it writes the first page, though nothing in it changes
                self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return self._journal_held()

    def _journal_held(self) -> int:
        """The size of a large journal that another program, by reading, keeps from being emptied."""
        try:
            size = os.stat(self._journal).st_size
        except OSError:
            return 0
        if size < LARGE_JOURNAL:
            return 0
        with self._refusals("the inbox's journal could not be emptied"):
            busy, pages, moved = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return size if busy or moved < pages else 0

    def backup(self, target: Path) -> None:
        """As :func:`~trioworkers.inbox.sqlite.backup.copy_database` has it; from any thread.

        Raises:
            StoreError: there is no copy.
        """
        try:
            copy_database(self._path, target)
        except StoreDamagedError as error:
            self._condemn(str(error))
            raise

    @contextmanager
    def _refusals(self, what: str) -> Iterator[None]:
        if self._damaged is not None:
            raise StoreDamagedError(self._damaged)
        try:
            yield
        except MemoryError as error:  # what Python makes of SQLITE_NOMEM
            message = f"{what}: {no_memory()}"
            raise StoreError(message) from error
        except sqlite3.Error as error:
            told = store_error(what, error)
            if isinstance(told, StoreFullError) and self._room is not None:
                self._room.spend()
                with suppress(sqlite3.Error):  # the journal may hold most of what is missing
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if isinstance(told, StoreDamagedError):
                self._condemn(str(told))
                raise told from None  # Python's own errors quote a text that is not UTF-8
            raise told from error

    def _condemn(self, reason: str) -> None:
        self._damaged = reason
        with suppress(OSError):  # FileExistsError: it is marked; else the next start finds out by itself
            leave_mark(self._path, reason)
