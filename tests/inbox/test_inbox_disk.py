"""A disk without room: what is refused, what goes on, and that it comes back by itself."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
from tended import open_tended  # type: ignore[import-not-found] # it lies beside

from trioworkers.breakage import Breakage
from trioworkers.inbox import writer as writer_module
from trioworkers.inbox.sqlite.disk import BALLAST, BALLAST_SUFFIX, LOOK_EVERY, LOW_WATER, Room, marks
from trioworkers.inbox.sqlite.file import open_file
from trioworkers.inbox.sqlite.guard import FREED_PAGES, KEPT_PAGES
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import (
    ANY,
    Accept,
    BeginCall,
    EndCall,
    Finish,
    Kept,
    PutValue,
    StoreError,
    StoreFullError,
    StoreWrite,
)
from trioworkers.inbox.writer import Writer
from trioworkers.records import Arrival

if TYPE_CHECKING:
    from trioworkers.inbox.store import Store

BOT = 7_000_000_001
BODY = b'{"text":"' + b"x" * 600 + b'"}'
LARGE = 10**12  # bytes of a disk that nothing is small on


class Disk:
    """A disk that says of itself what a test wants, and a clock that stands still."""

    def __init__(self):
        self.free, self.total, self.now, self.looks = LARGE, LARGE, 0.0, 0

    def measure(self, _):
        self.looks += 1
        return self.free, self.total

    def room(self, path):
        return Room(path, clock=lambda: self.now, free_and_total=self.measure)


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "inbox.db"


@pytest.fixture
def ballast(path):
    return path.with_name(path.name + BALLAST_SUFFIX)


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A real disk of 64 MB; skips where this process may not mount one."""
    monkeypatch.setattr(writer_module, "PAUSE_AFTER_FAILURE", 0.01)
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a disk can be mounted by root only")
    yield folder
    subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


def fill(folder):
    """Take all that is free; return the file that has it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while file.write(b"\0" * size) == size:
                    pass
    assert os.statvfs(folder).f_bavail == 0
    return filler


def arrivals(first, last):
    return [Arrival(n, "message", str(n % 7), None, None, BODY) for n in range(first, last)]


async def until(condition):
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - the other side is a thread
            await trio.sleep(0.002)


# -- the marks, on a disk that is only said to be ------------------------------------------------


def test_the_ballast_lies_beside_the_database(disk, path, ballast):
    """It is made when the file is opened, has its full size on the disk, and is ours alone."""
    disk.room(path)
    stat = ballast.stat()
    assert stat.st_size == BALLAST
    assert stat.st_blocks * 512 >= BALLAST
    assert stat.st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("free", "refused", "has_ballast"),
    [
        (LOW_WATER + BALLAST, False, True),
        (LOW_WATER + BALLAST - 1, False, False),
        (LOW_WATER, False, False),
        (LOW_WATER - 1, True, False),
        (0, True, False),
    ],
)
def test_updates_are_refused_below_the_low_water_mark(disk, path, ballast, free, refused, has_ballast):
    """From the mark on they are accepted; the ballast is made only where it leaves that much."""
    disk.free = free
    room = disk.room(path)
    if refused:
        with pytest.raises(StoreFullError, match="expected 64 MB"):
            room.check()
    else:
        room.check()
    assert ballast.exists() is has_ballast


def test_accepting_begins_again_with_some_more_than_it_ends_with(disk, path):
    """A disk that stays at the mark does not make it stop and go."""
    room = disk.room(path)
    disk.free = LOW_WATER - 1
    with pytest.raises(StoreFullError):
        room.look()
    disk.free = LOW_WATER * 5 // 4 - 1
    with pytest.raises(StoreFullError):
        room.look()
    disk.free += 1
    room.look()
    disk.free = LOW_WATER
    room.look()


def test_the_disk_is_looked_at_by_time_not_by_update(disk, path):
    """A thousand commits at one moment cost no look; the next one is due after a quarter of a second."""
    room = disk.room(path)
    for _ in range(1000):
        room.check()
    assert disk.looks == 1
    disk.now, disk.free = LOOK_EVERY, 0
    with pytest.raises(StoreFullError):
        room.check()
    disk.free = LARGE
    with pytest.raises(StoreFullError):
        room.check()
    assert disk.looks == 2
    disk.now += LOOK_EVERY
    room.check()


def test_what_was_given_up_is_put_back_before_updates_are_accepted(disk, path, ballast):
    """After SQLite found no room the disk has to hold ballast and reserve again, and the ballast is made."""
    room = disk.room(path)
    room.spend()
    assert not ballast.exists()
    with pytest.raises(StoreFullError, match="the disk is full"):
        room.check()
    disk.free = LOW_WATER * 5 // 4 + BALLAST - 1
    with pytest.raises(StoreFullError):
        room.look()
    assert not ballast.exists()
    disk.free += 1
    room.look()
    assert ballast.stat().st_size == BALLAST


def test_a_quota_that_the_disk_does_not_tell_keeps_the_inbox_closed(disk, path, ballast, monkeypatch):
    """While the ballast cannot be made again there is no room, whatever statvfs says."""
    room = disk.room(path)
    room.spend()

    def refuse(*_):
        raise OSError(122, "Disk quota exceeded")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(StoreFullError):
            room.look()
        assert not ballast.exists()
    room.look()
    assert ballast.exists()


def test_a_smaller_disk_has_smaller_marks():
    """A quarter and an eighth of the disk at most."""
    assert marks(LARGE) == (LOW_WATER, BALLAST)
    assert marks(64 << 20) == (16 << 20, 8 << 20)
    assert marks(0) == (0, 0)


def test_a_disk_that_cannot_be_asked_stops_nothing(disk, path):
    """SQLite will say what is the matter."""
    room = disk.room(path)

    def fail(_):
        raise OSError(5, "Input/output error")

    room._measure = fail
    room.look()
    room.check()


def test_the_store_refuses_updates_and_goes_on_with_the_rest(disk, path):
    """Below the mark an end and a call are still written down, and nothing of a refused batch is."""
    store = open_sqlite(path, room=disk.room(path))
    store.commit([Accept(BOT, 1, "1", BODY, 1.0)])
    disk.free, disk.now = 0, 1.0
    with pytest.raises(StoreFullError):
        store.commit([Accept(BOT, 2, "1", BODY, 1.0), Finish(1, BOT, "done")])
    assert store.tallies()[BOT].pending == 1
    store.commit([BeginCall(1, "sendMessage 1 1", 1.0)])
    store.commit([Finish(1, BOT, "done")])
    assert store.tallies()[BOT].done == 1
    store.close()


def test_without_room_no_value_is_put_but_those_of_ends_are_written(disk, path):
    """Below the mark a plugin's write is refused; it may remove, and updates end with what they write."""
    store = open_sqlite(path, room=disk.room(path))
    store.commit([Accept(BOT, 1, "1", BODY, 1.0), PutValue("p", "k", b"1", None, ANY, 1.0)])
    disk.free, disk.now = 0, 1.0
    for expected in (ANY, b"1"):
        with pytest.raises(StoreFullError):
            store.commit([PutValue("p", "k", b"2", None, expected, 1.0)])
    assert store.value("p", "k", 1.0) == b"1"
    store.commit([Finish(1, BOT, "done", (StoreWrite("p", "end", b"3"),))])
    assert store.commit([PutValue("p", "k", None, None, ANY, 1.0)]) == [True]
    assert store.values("p", "", "", 9, 1.0) == [("end", b"3")]
    store.close()


# -- real disks that are really full --------------------------------------------------------------


async def test_on_a_full_disk_ends_are_written_and_updates_come_back_by_themselves(small_disk):
    """Refused and told, every end and call durable meanwhile, and told when there is room again."""
    path = small_disk / "inbox.db"
    heard: list[Any] = []
    async with open_tended(open_file(path), trouble=heard.append) as inbox:
        await inbox.accept(BOT, arrivals(0, 2000))
        backlog = inbox.claim(BOT, Breakage())
        filler = fill(small_disk)
        with pytest.raises(StoreFullError):
            await inbox.accept(BOT, arrivals(2000, 2001))
        handled = 0
        with trio.fail_after(30):
            while inbox.tally(BOT).done < 2000:
                while (update := backlog.ordinary.take()) is not None:
                    backlog.calling(update, "sendMessage 1 1")
                    backlog.called(update, "sendMessage 1 1", b"{}")
                    backlog.finish(update, "done")
                    handled += 1
                with trio.move_on_after(0.05):
                    await backlog.ordinary.wait_change()
        assert handled == 2000
        with pytest.raises(StoreFullError):
            await inbox.accept(BOT, arrivals(2000, 2001))
        assert heard
        assert all(isinstance(error, StoreFullError) for error in heard)
        filler.unlink()
        await until(lambda: heard[-1] is None)
        assert heard.count(None) == 1
        results = await inbox.accept(BOT, arrivals(0, 2001))
        assert [isinstance(result, Kept) for result in results].count(True) == 1
        assert path.with_name(path.name + BALLAST_SUFFIX).exists()
    store = open_file(path)
    tally = store.tallies()[BOT]
    assert (tally.accepted, tally.done, tally.pending) == (2001, 2000, 1)
    store.close()


async def test_the_ballast_makes_room_for_ends_when_sqlite_has_none(small_disk):
    """The disk is filled while the journal is empty: ends need new room, and get the ballast's."""
    path = small_disk / "inbox.db"
    store = open_file(path)
    ballast = path.with_name(path.name + BALLAST_SUFFIX)
    store.commit([Accept(BOT, n, "1", BODY, 1.0) for n in range(500)])
    store._execute("PRAGMA wal_checkpoint(TRUNCATE)")
    fill(small_disk)
    ends = [Finish(n, BOT, "done") for n in range(1, 501)]
    with pytest.raises(StoreFullError):
        store.commit(ends)
    assert not ballast.exists()
    store.commit(ends)
    assert store.tallies()[BOT].pending == 0
    store.close()


def test_a_full_disk_does_not_keep_the_file_from_being_opened(small_disk):
    """A daemon that is started on a full disk gives the ballast up, and handles what it has."""
    path = small_disk / "inbox.db"
    store = open_file(path)
    store.commit([Accept(BOT, n, "1", BODY, 1.0) for n in range(500)])
    store.close()
    filler = fill(small_disk)
    store = open_file(path)
    assert not path.with_name(path.name + BALLAST_SUFFIX).exists()
    store.commit([Finish(n, BOT, "done") for n in range(1, 501)])
    with pytest.raises(StoreFullError):
        store.commit([Accept(BOT, 1000, "1", BODY, 1.0)])
    filler.unlink()
    store.tend()
    store.commit([Accept(BOT, 1000, "1", BODY, 1.0)])
    assert store.tallies()[BOT].pending == 1
    store.close()


def test_updates_stop_before_the_disk_is_full(small_disk, monkeypatch):
    """A flood ends at the low-water mark: the disk never gets full, and all that was accepted is there."""
    monkeypatch.setattr("trioworkers.inbox.sqlite.disk.LOOK_EVERY", 0.0)
    path = small_disk / "inbox.db"
    store = open_file(path)
    low, _ = marks(64 << 20)
    accepted = 0
    with suppress(StoreFullError):
        while True:
            store.commit([Accept(BOT, n, "1", BODY, 1.0) for n in range(accepted, accepted + 500)])
            accepted += 500
    assert path.with_name(path.name + BALLAST_SUFFIX).exists()
    disk = os.statvfs(small_disk)
    assert low // 4 < disk.f_bavail * disk.f_frsize < low
    store.close()
    store = open_file(path)
    assert store.tallies()[BOT].pending == accepted
    store.close()


# -- what is told, and what proves that it is over ------------------------------------------------


class Failing:
    """A store whose parts fail as a test says."""

    def __init__(self):
        self.commits: StoreError | None = None
        self.accepts: StoreError | None = None

    def commit(self, operations):
        accepts = any(isinstance(operation, Accept) for operation in operations)
        error = self.commits or (self.accepts if accepts else None)
        if error:
            raise error
        return [None] * len(operations)

    def tend(self, *, prove=False):
        error = self.accepts or (self.commits if prove else None)
        if error:
            raise error
        return 0

    def holders(self):
        return ()


async def test_trouble_is_over_when_what_failed_works_again(nursery, monkeypatch):
    """A read is no proof for a disk that cannot be written, an end none for one that is full; upkeep is."""
    monkeypatch.setattr(writer_module, "PAUSE_AFTER_FAILURE", 0.002)
    store = Failing()
    heard: list[Any] = []
    writer = Writer(cast("Store", store), heard.append)
    await nursery.start(writer.serve)
    accept = partial(writer.commit, [Accept(BOT, 1, "", b"{}", 1.0)], lambda _: None)
    finish = partial(writer.commit, [Finish(1, BOT, "done")], lambda _: None)
    store.commits = StoreError("attempt to write a readonly database")
    with pytest.raises(StoreError):
        await accept()
    await writer.read(lambda _: None)
    assert heard == [store.commits]
    store.commits = None
    await finish()
    assert heard.pop() is None
    heard.clear()
    store.accepts = StoreFullError("full")
    with pytest.raises(StoreFullError):
        await accept()
    await finish()
    await writer.read(lambda _: None)
    writer.tend(lambda store: None)
    await writer.read(lambda _: None)
    assert heard == [store.accepts]
    store.accepts = None
    writer.tend(lambda store: None)
    await writer.read(lambda _: None)
    assert heard[1:] == [None]
    writer.close()


async def test_a_database_that_cannot_be_written_is_told_and_comes_back(path, monkeypatch):
    """Accepting fails with a reason, is told once, and goes on as soon as the file can be written again."""
    monkeypatch.setattr(writer_module, "PAUSE_AFTER_FAILURE", 0.002)
    store = open_file(path)
    heard: list[Any] = []
    async with open_tended(store, trouble=heard.append) as inbox:
        store._execute("PRAGMA query_only = ON")
        for _ in range(3):
            with pytest.raises(StoreError, match="readonly"):
                await inbox.accept(BOT, arrivals(0, 3))
        assert [str(error) for error in heard] == [
            "the inbox could not commit: attempt to write a readonly database"
        ]
        store._execute("PRAGMA query_only = OFF")
        assert await inbox.accept(BOT, arrivals(0, 3)) == [Kept(1), Kept(2), Kept(3)]
        assert heard[1:] == [None]


# -- room that is given back ----------------------------------------------------------------------


def test_free_pages_go_back_to_the_disk_a_few_at_a_time(path):
    """A burst that was handled leaves no large file behind: upkeep cuts it, and keeps some for the next."""
    store = open_sqlite(path)

    def free():
        return store._execute("PRAGMA freelist_count").fetchone()[0]

    store.commit([Accept(BOT, n, "1", BODY, 1.0) for n in range(10_000)])
    store.commit([Finish(n, BOT, "done") for n in range(1, 10_001)])
    before = free()
    store.tend()
    assert before - free() == FREED_PAGES
    for _ in range(before // FREED_PAGES):
        store.tend()
    assert KEPT_PAGES - FREED_PAGES < free() <= KEPT_PAGES
    store.close()


def test_a_busy_writer_gives_no_pages_back(path):
    """Unless the disk is short of room, which that is to end."""
    disk = Disk()
    store = open_sqlite(path, room=disk.room(path))
    for n in range(100):
        store.commit([Accept(BOT, n * 100 + m, "1", BODY, 1.0) for m in range(100)])
    store.commit([Finish(n, BOT, "done") for n in range(1, 10_001)])
    (before,) = store._execute("PRAGMA freelist_count").fetchone()
    store.tend()
    assert store._execute("PRAGMA freelist_count").fetchone() == (before,)
    for n in range(100):
        store.commit([EndCall(n, "x", None)])
    disk.free = 0
    with pytest.raises(StoreFullError):
        store.tend()
    assert store._execute("PRAGMA freelist_count").fetchone()[0] < before
    store.close()
