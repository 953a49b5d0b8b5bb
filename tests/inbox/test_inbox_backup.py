"""Copies of the inbox's file: whole, consistent, private, and no hindrance to the writer."""

from __future__ import annotations

import os
import sqlite3
import stat
from functools import partial
from typing import Any

import pytest
import trio

from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite import backup as backup_module
from trioworkers.inbox.sqlite.backup import copy_database
from trioworkers.inbox.sqlite.file import open_file
from trioworkers.inbox.sqlite.schema import SCHEMA_VERSION, STEPS
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import (
    ANY,
    Accept,
    Finish,
    PutValue,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreWrite,
)
from trioworkers.records import Arrival

BOT = 7_000_000_001


@pytest.fixture
def path(tmp_path):
    return tmp_path / "inbox.db"


@pytest.fixture
def store(path):
    store = open_sqlite(path)
    store.commit([Accept(BOT, n, "1", b"{}", 1.0) for n in range(1000)])
    yield store
    store.close()


async def until(condition):
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - the other side is a thread
            await trio.sleep(0.001)


def left(folder):
    return sorted(file.name for file in folder.iterdir())


async def test_a_copy_is_consistent_while_updates_come_and_go(tmp_path, path):
    """Taken at five moments of a running inbox: each is whole, and its tallies count what is in it."""
    async with open_inbox(open_file(path)) as inbox:

        async def traffic():
            number = 0
            while True:
                batch = [Arrival(n, "message", "1", None, None, b"{}") for n in range(number, number + 10)]
                await inbox.accept(BOT, batch)
                number += 10

        async with trio.open_nursery() as nursery:
            nursery.start_soon(traffic)
            await until(lambda: inbox.tally(BOT).accepted)
            sizes = []
            for n in range(5):
                before = inbox.tally(BOT).accepted
                await inbox.backup(tmp_path / f"{n}.db")
                await until(lambda before=before: inbox.tally(BOT).accepted > before)
                copy = open_sqlite(tmp_path / f"{n}.db")
                tally = copy.tallies()[BOT]
                assert copy._execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert (
                    tally.accepted
                    == tally.pending
                    == len(copy.waiting(BOT, Fetch(after=0, limit=10**6)).updates)
                )
                assert tally.accepted >= before
                sizes.append(tally.accepted)
                copy.close()
            nursery.cancel_scope.cancel()
    assert sizes == sorted(sizes)


def test_a_copy_is_an_inbox_of_ours_alone(store, tmp_path):
    """Mode 0600 under any umask, our version, free pages can be given back, nothing left beside."""
    umask = os.umask(0)
    try:
        store.backup(tmp_path / "copy.db")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        pragmas = [copy.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "auto_vacuum")]
    copy.close()
    assert pragmas == [SCHEMA_VERSION, 2]
    assert left(tmp_path) == ["copy.db", "inbox.db", "inbox.db-shm", "inbox.db-wal"]


def test_a_copy_has_the_values_of_plugins(store, tmp_path):
    """As they were when it was made, those of ended updates among them."""
    store.commit([PutValue("p", "put", b"1", None, ANY, 1.0), PutValue("q", "put", b"2", 90.0, ANY, 1.0)])
    store.commit([Finish(1, BOT, "done", (StoreWrite("p", "end", b"3"),))])
    store.backup(tmp_path / "copy.db")
    store.commit([PutValue("p", "put", b"4", None, ANY, 1.0)])
    copy = open_sqlite(tmp_path / "copy.db")
    assert copy.values("p", "", "", 9, 1.0) == [("end", b"3"), ("put", b"1")]
    assert (copy.value("q", "put", 89.9), copy.value("q", "put", 90.0)) == (b"2", None)
    copy.close()


def test_a_copy_replaces_an_earlier_one_in_whole(store, tmp_path, monkeypatch):
    """While it is made, and when it fails, the earlier one is there."""
    target = tmp_path / "copy.db"
    store.backup(target)
    store.commit([Finish(n, BOT, "done") for n in range(1, 1001)])
    earlier = target.read_bytes()

    def fail(_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(backup_module, "sync", fail)
        with pytest.raises(StoreError, match="input/output error"):
            store.backup(target)
    assert target.read_bytes() == earlier
    assert left(tmp_path) == ["copy.db", "inbox.db", "inbox.db-shm", "inbox.db-wal"]
    store.backup(target)
    copy = open_sqlite(target)
    assert copy.tallies()[BOT].done == 1000
    copy.close()


@pytest.mark.parametrize("name", ["inbox.db", "inbox.db-wal", "inbox.db-shm"])
def test_the_inbox_is_not_overwritten_by_its_copy(store, tmp_path, name):
    """Neither the file nor its journal, by whatever path."""
    (tmp_path / "link").symlink_to(tmp_path / name)
    for target in (tmp_path / name, tmp_path / ".." / tmp_path.name / name, tmp_path / "link"):
        with pytest.raises(StoreError, match="the inbox itself"):
            store.backup(target)
    assert store.tallies()[BOT].pending == 1000


def test_a_copy_that_would_take_the_last_room_is_not_made(store, tmp_path, monkeypatch):
    """It is refused before a byte is written, with what is free and what would be needed."""
    monkeypatch.setattr(backup_module, "measure", lambda _: (70 << 20, 10**12))
    store.backup(tmp_path / "copy.db")
    monkeypatch.setattr(backup_module, "measure", lambda _: (64 << 20, 10**12))
    with pytest.raises(StoreFullError, match="64 MB are free"):
        store.backup(tmp_path / "other.db")
    assert "other.db" not in left(tmp_path)


def test_a_folder_that_is_not_there_is_told(store, tmp_path):
    """The message has the path and the reason."""
    with pytest.raises(StoreError, match=r"nowhere.*no such file or directory"):
        store.backup(tmp_path / "nowhere" / "copy.db")


def test_damage_that_a_copy_meets_is_damage_of_the_inbox(path, tmp_path):
    """The copy is not made, the file is marked, and the store does nothing any more."""
    store = open_sqlite(path)
    store.commit([Accept(BOT, n, "1", b"x" * 500, 1.0) for n in range(2000)])
    store.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096 * 3)
    store = open_sqlite(path)
    with pytest.raises(StoreDamagedError):
        store.backup(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    with pytest.raises(StoreDamagedError):
        store.tallies()
    store.close()
    told: list[Any] = []
    open_file(path, damaged=told.append).close()
    assert len(told) == 1


async def test_one_copy_is_made_at_a_time(path, tmp_path):
    """Two that are asked for at once are both there in the end."""
    async with open_inbox(open_file(path)) as inbox, trio.open_nursery() as nursery:
        for name in ("a", "b", "a"):
            nursery.start_soon(partial(inbox.backup, tmp_path / name))
    assert {"a", "b"} <= set(left(tmp_path))
    assert not [name for name in left(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
@pytest.mark.parametrize("closed", [True, False])
def test_a_file_of_an_earlier_version_is_copied_before_it_is_changed(path, version, closed):
    """`inbox.db.v1.bak` has everything as it was, what stood in the journal included."""
    old = sqlite3.connect(path, isolation_level=None)
    old.executescript(
        f"PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; BEGIN; {''.join(STEPS[:version])}"
        f" PRAGMA application_id = 0x74726977; PRAGMA user_version = {version}; COMMIT"
    )
    old.execute("INSERT INTO seen VALUES (1, 2, 3.0)")
    if closed:
        old.close()
    open_file(path).close()
    old.close()
    backup = path.with_name(f"inbox.db.v{version}.bak")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with sqlite3.connect(backup) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (version,)
        assert copy.execute("SELECT * FROM seen").fetchall() == [(1, 2, 3.0)]
    copy.close()
    with sqlite3.connect(path) as now:
        assert now.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert now.execute("SELECT * FROM seen").fetchall() == [(1, 2, 3.0)]
    now.close()


def test_without_a_copy_nothing_is_migrated(path, monkeypatch):
    """When there is no room for it, the file stays of its version, and the start says why."""
    with sqlite3.connect(path) as old:
        old.executescript(f"{STEPS[0]} PRAGMA application_id = 0x74726977; PRAGMA user_version = 1")
    old.close()
    monkeypatch.setattr(backup_module, "measure", lambda _: (0, 10**12))
    with pytest.raises(StoreFullError, match="for a copy"):
        open_file(path)
    with sqlite3.connect(path) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (1,)
    old.close()


def test_names_that_mean_something_in_an_address_are_only_names(tmp_path):
    """A question mark or percent sign in a path is part of it."""
    folder = tmp_path / "a?mode=rw&b%41#c"
    folder.mkdir()
    store = open_sqlite(folder / "inbox.db")
    store.commit([Accept(BOT, 1, "1", b"{}", 1.0)])
    copy_database(folder / "inbox.db", folder / "copy?.db")
    store.close()
    assert (folder / "copy?.db").stat().st_size > 0
