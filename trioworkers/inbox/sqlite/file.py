"""Opens the inbox's file whatever happened to it: a crash, an update of trioworkers, damage, a full disk."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from trioworkers.inbox.sqlite.backup import copy_database, read_only
from trioworkers.inbox.sqlite.damage import is_marked, mend
from trioworkers.inbox.sqlite.disk import Room
from trioworkers.inbox.sqlite.errors import store_error
from trioworkers.inbox.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION
from trioworkers.inbox.sqlite.store import SqliteStore, open_sqlite
from trioworkers.inbox.store import StoreDamagedError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trioworkers.inbox.sqlite.damage import Damage

WAL_HEADER, FRAME_HEADER = 32, 24  # bytes
TORN_COMMITS = 2  # commits that a power cut or a failed write may leave behind, of which nobody was told
CHECKED_SIZE = 2 << 30  # bytes; checking takes 1 s for each GB that is in memory, some more from a disk


def open_file(
    path: Path,
    *,
    durability: str = "full",
    damaged: Callable[[Damage], None] = lambda _: None,
    room: Room | None = None,
    reclaim: Callable[[], object] | None = None,
) -> SqliteStore:
    """Open or create the inbox's file, mode 0600, guarded against a full disk.

    A file of an earlier version is copied to `<name>.v<version>.bak` before it is changed. After an end
    without a farewell the file is checked, up to 2 GB. A damaged one is put aside, and `damaged` hears what a
    new one took over from it. Where the disk is full the ballast is given up for it.

    Args:
        path: the database file; its folder exists.
        durability: as :func:`~trioworkers.inbox.sqlite.store.open_sqlite` has it.
        damaged: called at most once, before this returns.
        room: of the disk, for tests.
        reclaim: as :func:`~trioworkers.inbox.sqlite.store.open_sqlite` has it.

    Raises:
        StoreRefusedError: the file is not an inbox, or was written by a newer trioworkers.
        StoreForbiddenError: it may not be written.
        StoreError: it cannot be opened.
    """
    room = room or Room(path)
    opened = partial(open_sqlite, path, durability=durability, room=room, reclaim=reclaim)
    try:
        return _open_whole(path, opened, damaged)
    except StoreFullError:
        room.spend()
        return _open_whole(path, opened, damaged)


def _open_whole(
    path: Path, opened: Callable[[], SqliteStore], damaged: Callable[[Damage], None]
) -> SqliteStore:
    if is_marked(path):
        damaged(mend(path, "it was found before"))
    try:
        _prepare(path)
        return opened()
    except StoreDamagedError as error:
        damaged(mend(path, str(error)))
        return opened()


def _prepare(path: Path) -> None:
    """Copy a file that will be migrated, check one that was not closed."""
    if not _size(path):
        return
    journal = path.with_name(path.name + "-wal")
    unclean = _size(journal) > 0 and _size(path) <= CHECKED_SIZE
    try:
        with closing(read_only(path)) as connection:
            version, owner = (
                int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
                for pragma in ("user_version", "application_id")
            )
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if unclean else "ok"
            if unclean and _unread_commits(path) > TORN_COMMITS:
                found = "its journal is broken in the midst"
    except sqlite3.Error as error:
        raise store_error(f"cannot use {path}", error) from error
    if owner != APPLICATION_ID:
        return
    if found != "ok":
        what = found if found.startswith("its ") else "its tables are not whole"
        message = f"{path} is damaged: {what}"
        raise StoreDamagedError(message)
    if 0 < version < SCHEMA_VERSION:
        copy_database(path, path.with_name(f"{path.name}.v{version}.bak"))


def _unread_commits(path: Path) -> int:
    """How many commits stand in the journal past the last one that SQLite reads, after it has looked.

    It reads up to the first frame whose checksum is wrong, and says nothing of what follows
    (https://sqlite.org/fileformat.html, "WAL Frame Format"; https://sqlite.org/walformat.html).
    """
    (last,) = struct.unpack("=I", _read(path.with_name(path.name + "-shm"), 16, 4) or bytes(4))
    journal = path.with_name(path.name + "-wal")
    header = _read(journal, 0, WAL_HEADER)
    if len(header) < WAL_HEADER:
        return 0
    (page,) = struct.unpack_from(">I", header, 8)
    unread = 0
    with journal.open("rb") as file:
        for at in range(WAL_HEADER + last * (FRAME_HEADER + page), _size(journal), FRAME_HEADER + page):
            file.seek(at)
            frame = file.read(FRAME_HEADER)
            unread += frame[8:16] == header[16:24] and any(frame[4:8])
    return unread


def _read(path: Path, at: int, size: int) -> bytes:
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(at)
        return file.read(size)
    return b""


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
