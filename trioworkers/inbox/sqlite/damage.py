"""What becomes of a damaged file: it is put aside as it is, and a new one takes over what can be read.

Each step leaves a state from which the next start goes on: a mark names where the file goes, the file and its
journal go there, the new file is made beside, takes the place, and the mark is removed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from trioworkers.inbox.sqlite.backup import read_only, sync
from trioworkers.inbox.sqlite.errors import store_error
from trioworkers.inbox.sqlite.pages import PAGE, find_rows
from trioworkers.inbox.sqlite.salvage import Salvaged, salvage
from trioworkers.inbox.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION, prepare
from trioworkers.inbox.store import StoreError, StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

JOURNALS = ("-wal", "-shm")
MARK_SUFFIX = ".damaged"
MENDING_SUFFIX = ".mending"
MAGIC = b"SQLite format 3\x00"


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged file that was replaced.

    `recovered`: rows that were taken over, by table. `lost`: updates and dead letters that are known to be
    lost; a part that was hidden from the indexes, too, is not in it.
    """

    reason: str
    moved_to: Path
    recovered: Mapping[str, int]
    lost: int


def leave_mark(path: Path, reason: str) -> None:
    """Let the next start replace the file; a mark that is there already stays."""
    stamp = name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    number = 1
    while _aside(path, name).exists():
        number += 1
        name = f"{stamp}-{number}"
    descriptor = os.open(_mark(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{name}\n{reason}\n")
        file.flush()
        os.fsync(descriptor)
    sync(path.parent)


def is_marked(path: Path) -> bool:
    """Whether damage was found before, and the file was not replaced yet."""
    return _mark(path).exists()


def mend(path: Path, reason: str) -> Damage:
    """Put the file aside and make a new one of what can be read, or go on with what a mark says was begun.

    Raises:
        StoreRefusedError: the file is another program's, or a newer version's; it is left as it is.
        StoreError: there is no room for the new file, or it cannot be written; to be tried again.
    """
    try:
        if not is_marked(path):
            _see_that_it_is_ours(path)
            leave_mark(path, reason)
        name, *reasons = _mark(path).read_text().splitlines() or [""]
        aside = _aside(path, name or "unknown")
        reason = reasons[0] if reasons else reason
        for suffix in (*JOURNALS, ""):
            _move(path.with_name(path.name + suffix), aside.with_name(aside.name + suffix))
        sync(path.parent)
        fresh = path.with_name(path.name + MENDING_SUFFIX)
        result = _take_over(aside, fresh)
        sync(fresh)
        fresh.replace(path)
        _mark(path).unlink()
        sync(path.parent)
    except sqlite3.Error as error:
        raise store_error(f"cannot replace the damaged {path}", error) from error
    except OSError as error:
        message = f"cannot replace the damaged {path}: {error}"
        raise StoreError(message) from error
    return Damage(reason, aside, result.recovered, result.lost)


def _mark(path: Path) -> Path:
    return path.with_name(path.name + MARK_SUFFIX)


def _aside(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}{MARK_SUFFIX}-{name}")


def _see_that_it_is_ours(path: Path) -> None:
    """A header that cannot be read is a damaged one of ours: nobody else writes under our name."""
    with path.open("rb") as file:
        header = file.read(100).ljust(100, b"\0")
    if not header.startswith(MAGIC) or path.stat().st_size <= PAGE:
        return
    (version,), (owner,) = struct.unpack_from(">i", header, 60), struct.unpack_from(">i", header, 68)
    if owner != APPLICATION_ID or version > SCHEMA_VERSION:
        message = f"{path} is damaged, and another program's or a newer version's: it is left as it is"
        raise StoreRefusedError(message)


def _move(source: Path, target: Path) -> None:
    if source.exists() and not target.exists():
        source.rename(target)


def _take_over(aside: Path, fresh: Path) -> Salvaged:
    """Make `fresh` of what can be read at `aside`, which stays as it is."""
    _remove(fresh)
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(fresh, isolation_level=None)) as target:
        prepare(target, fresh, "full")
        if not aside.exists():
            return Salvaged()
        copy = partial(_copied, aside, fresh)
        try:
            return _salvage(aside, target, copy)
        except _UnreadableError:
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        try:
            # every inbox has its tables at the same pages, so a new one's first page leads to them
            with copy(fresh.read_bytes()[:PAGE]) as headed:
                return _salvage(headed, target, copy)
        except _UnreadableError:
            return Salvaged()


class _UnreadableError(Exception):
    """Not even the list of the tables can be read."""


def _salvage(
    path: Path, target: sqlite3.Connection, copied: Callable[[], AbstractContextManager[Path]]
) -> Salvaged:
    def find(wanted: Mapping[int, int], columns: int) -> Iterator[tuple[Any, ...]]:
        with copied() as copy:
            yield from find_rows(copy, wanted, columns)

    with closing(read_only(path)) as source:
        try:
            source.execute("SELECT count(*), sum(length(sql)) FROM sqlite_schema").fetchone()
            source.execute("PRAGMA table_info(inbox)").fetchone()
        except sqlite3.DatabaseError as error:
            raise _UnreadableError from error
        return salvage(source, target, find)


@contextmanager
def _copied(aside: Path, fresh: Path, first_page: bytes | None = None) -> Iterator[Path]:
    """A copy of the file with its journal moved into it, or else with another first page; removed again."""
    copy = fresh.with_name(f"{fresh.name}-{'headed' if first_page else 'copy'}")
    _remove(copy)
    try:
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(aside.with_name(aside.name + suffix), copy.with_name(copy.name + suffix))
        if first_page is None:
            with suppress(sqlite3.Error), closing(sqlite3.connect(copy, isolation_level=None)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            page = bytearray(first_page)
            # https://sqlite.org/fileformat.html, "The Database Header": pages in the file, its free pages
            struct.pack_into(">III", page, 28, max(1, copy.stat().st_size // PAGE), 0, 0)
            with copy.open("r+b") as file:
                file.write(page)
        yield copy
    finally:
        _remove(copy)


def _remove(path: Path) -> None:
    for suffix in ("", *JOURNALS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
