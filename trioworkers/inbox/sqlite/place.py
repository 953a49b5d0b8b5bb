"""Where the inbox's files have to be, and their way back when somebody removed or replaced them.

SQLite goes on in files that have no name any more: what it commits there is gone with the process. So the
names are looked at around each commit that lets updates be confirmed. When one does not mean the open file
any more, everything is copied from the connection, which still sees all of it, into the place.

A name cannot come to mean another file without a change of its folder. So one look at the folder is enough
while it is as it was when all names were right. That is seen by the time of its last change (`st_ctime`),
which nobody can set: a restore may bring old files back with the times that they had.

Holding the old descriptors until a person decides was rejected: a person who removes a folder does not look
at the log, and the next crash would lose what Telegram was told is safe.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from trioworkers.errors import TrioworkersError
from trioworkers.folders import make_folder
from trioworkers.inbox.sqlite.backup import sync
from trioworkers.inbox.sqlite.errors import store_error
from trioworkers.inbox.sqlite.schema import prepare
from trioworkers.inbox.store import StoreDisplacedError, StoreError, StoreForbiddenError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = ("", "-wal", "-shm")
MOVING_SUFFIX = ".moving"
ASIDE_SUFFIX = ".displaced"
SETTLED = 2_000_000_000  # nanoseconds: a later change of a folder has another time, whatever the clock's tick
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two copies that could not be made


class Place:
    """The names of a database and its journal, and the connection to them. For the writer's thread.

    Args:
        path: the database; its folder exists.
        durability: as :func:`~trioworkers.inbox.sqlite.store.open_sqlite` has it.
        reclaim: makes sure that the folder is there and ours alone, or raises a TrioworkersError or OSError.

    Attributes:
        path: the database.
        connection: open; another one after the files were put back.
        moved: called with the new connection then.

    Raises:
        StoreRefusedError, StoreForbiddenError, StoreError: it cannot be opened.
    """

    def __init__(self, path: Path, durability: str, reclaim: Callable[[], object] | None) -> None:
        self.path = path
        self.moved: Callable[[sqlite3.Connection], object] = lambda _: None
        self._durability = durability
        self._reclaim = reclaim or partial(make_folder, path.parent)
        self._folder = os.fspath(path.parent)
        self._names = [f"{os.fspath(path)}{suffix}" for suffix in FILES]
        self._seen: tuple[int, int, int] | None = None  # the folder in which all names were right
        self._untold: str | None = None  # why, and what was done, when nobody was told yet
        self._pause, self._again_at, self._why = FIRST_PAUSE, 0.0, ""
        self.connection, self._opened = self._open()

    def see(self) -> None:
        """See that the files are where they have to be, which takes 2 µs; put them back if not.

        Raises:
            StoreDisplacedError: they were not; once also when all is well again, so that it is told.
        """
        reason = self.lost()
        if reason is not None:
            self._untold = self._put_back(reason)
        if self._untold is not None:
            told, self._untold = self._untold, None
            raise StoreDisplacedError(told)

    def see_again(self) -> None:
        """After a commit that will be confirmed: put the files back if they were lost meanwhile.

        :meth:`see` reports it next time.
        """
        reason = self.lost()
        if reason is not None:
            self._untold = self._put_back(reason)

    def see_for_copy(self) -> None:
        """See that the names mean the open files; from any thread.

        Raises:
            StoreDisplacedError: they do not.
        """
        reason = self.lost()
        if reason is not None:
            raise StoreDisplacedError(reason)

    def close(self) -> None:
        """Close the connection, after the files were put back.

        Raises:
            StoreDisplacedError: that could not be done; what was in them is lost.
        """
        try:
            self._again_at = 0.0
            if (reason := self.lost()) is not None:
                outcome = self._put_back(reason)
                if self.lost() is not None:
                    raise StoreDisplacedError(f"the inbox is lost: {outcome}")
        finally:
            self.connection.close()

    def lost(self) -> str | None:
        """Which name does not mean the open file any more, in words; None: all of them do."""
        folder = _stamp(self._folder)
        if folder is not None and folder == self._seen:
            return None
        self._seen = None
        for name, opened in zip(self._names, self._opened, strict=True):
            found = _identity(name)
            if found != opened:
                return f"{name} was {'replaced' if found else 'removed'} while the daemon ran"
        if folder is not None and abs(time.time_ns() - folder[2]) > SETTLED:
            self._seen = folder
        return None

    def _open(self) -> tuple[sqlite3.Connection, list[tuple[int, int] | None]]:
        self._seen = None
        connection = _connect(self.path)
        try:
            prepare(connection, self.path, self._durability)
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the journal is there now
        except BaseException:
            connection.close()
            raise
        return connection, [_identity(name) for name in self._names]

    def _put_back(self, reason: str) -> str:
        """Copy everything to the place and go on there; what came of it, in words.

        When it cannot be done the old connection, which sees everything, goes on; the next copy is tried some
        seconds later.
        """
        before = self.connection
        try:
            if time.monotonic() < self._again_at:
                raise TrioworkersError(self._why)
            done = self._copy_back()
            self.connection, self._opened = self._open()
        except (TrioworkersError, sqlite3.Error, OSError) as error:
            why = _said(error)
            if why != self._why or time.monotonic() >= self._again_at:
                self._why, self._again_at = why, time.monotonic() + self._pause
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            return f"{reason}, and cannot be put back: {why}; no update is accepted until it can"
        self._pause = FIRST_PAUSE
        self.moved(self.connection)
        before.close()
        return f"{reason}: {done}"

    def _copy_back(self) -> str:
        self._reclaim()
        fresh = self.path.with_name(self.path.name + MOVING_SUFFIX)
        _copy(self.connection, fresh)
        aside = self._put_aside()
        fresh.replace(self.path)
        for name in self._names[1:]:  # of ours: what is in them was copied
            with suppress(FileNotFoundError):
                os.unlink(name)
        sync(self.path.parent)
        done = "what it held was copied to its place"
        return done if aside is None else f"{done}, and what stood there is {aside} now"

    def _put_aside(self) -> Path | None:
        """Rename what stands in the place and is not ours; the new name of the database among it."""
        aside = None
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        number = 0
        while (chosen := f"{self.path}{ASIDE_SUFFIX}-{stamp}{f'-{number}' if number else ''}") and any(
            os.path.lexists(chosen + suffix) for suffix in FILES
        ):
            number += 1
        for name, opened, suffix in zip(self._names, self._opened, FILES, strict=True):
            found = _identity(name)
            if found is not None and found != opened:
                os.rename(name, chosen + suffix)
                aside = aside or self.path.with_name(os.path.basename(chosen))
        return aside


def _connect(path: Path) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=5
        )
    except (OSError, sqlite3.Error) as error:
        forbidden = isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
        message = f"cannot open {path}: {error}"
        raise (StoreForbiddenError if forbidden else StoreError)(message) from error


def _copy(connection: sqlite3.Connection, fresh: Path) -> None:
    """Write all that a connection sees to a new file, mode 0600, durably."""
    for suffix in (*FILES, "-journal"):
        fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(fresh, isolation_level=None)) as target:
        connection.backup(target)
    sync(fresh)


def _identity(name: str) -> tuple[int, int] | None:
    """The file of that name; None when there is none."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _stamp(folder: str) -> tuple[int, int, int] | None:
    """Which folder that is, and when it changed last; None when there is none."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _said(error: Exception) -> str:
    """What an error says, without what is stored; the system's own with the path first."""
    if isinstance(error, sqlite3.Error):
        return str(store_error("it cannot be copied", error))
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename or '')}: {error.strerror.lower()}"
    return str(error)
