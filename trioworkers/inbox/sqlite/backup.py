"""A consistent copy of the inbox's file while it is in use.

`VACUUM INTO` reads one snapshot through a connection that cannot write, so the writer goes on; it walks every
table, so that a damaged file fails here and not at the day the copy is needed. Copying the file itself would
tear it; SQLite's online backup was as fast, but copies damage and free pages along.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from trioworkers.inbox.sqlite.disk import marks, measure
from trioworkers.inbox.sqlite.errors import store_error
from trioworkers.inbox.store import StoreError, StoreFullError
from trioworkers.shortage import words_of

if TYPE_CHECKING:
    from pathlib import Path


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, not even when it is the last one to be closed.

    Raises:
        sqlite3.Error: there is no such file.
    """
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)


def copy_database(source: Path, target: Path) -> None:
    """Put a copy of the database `source`, as it is now, at `target`: mode 0600, synced, replaced at once.

    It takes as long as writing the file (0.5 s for 290 MB where this was measured) and may be called from any
    thread; commits go on meanwhile. Until it is whole the copy stands beside `target` under another name.

    Raises:
        StoreFullError: the copy would leave too little room on its disk.
        StoreDamagedError: `source` is not whole.
        StoreError: it cannot be written, or `source` cannot be read. What was at `target` is still there.
    """
    own = (source, *(source.with_name(source.name + suffix) for suffix in ("-wal", "-shm")))
    if any(target.absolute() == path.absolute() or _same(target, path) for path in own):
        message = f"{target} is the inbox itself, expected another file for its copy"
        raise StoreError(message)
    fresh = target.with_name(f".{target.name}-{secrets.token_hex(8)}")
    try:
        _make_room(source, target)
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(read_only(source)) as connection:
            connection.execute("VACUUM INTO ?", (os.fspath(fresh),))
        sync(fresh)
        fresh.replace(target)
        sync(target.parent)
    except sqlite3.Error as error:
        raise store_error(f"cannot copy {source} to {target}", error) from error
    except OSError as error:
        message = f"cannot copy {source} to {target}: {words_of(error)}"
        raise (StoreFullError if error.errno == errno.ENOSPC else StoreError)(message) from error
    finally:
        with suppress(OSError):
            fresh.unlink()
        with suppress(OSError):
            fresh.with_name(fresh.name + "-journal").unlink()


def _make_room(source: Path, target: Path) -> None:
    free, total = measure(target.parent)
    size = source.stat().st_size
    with suppress(FileNotFoundError):
        size += source.with_name(source.name + "-wal").stat().st_size
    low, _ = marks(total)
    if free < size + low:
        message = f"{target.parent}: {free >> 20} MB are free, expected {(size + low) >> 20} MB for a copy"
        raise StoreFullError(message)


def sync(path: Path) -> None:
    """Make a file's content, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
