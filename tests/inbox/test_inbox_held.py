"""Another program has the inbox open: what it holds up is reported, and that it is over once it is."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest
import trio
from tended import open_tended  # type: ignore[import-not-found] # it lies beside

from trioworkers.inbox import writer as writer_module
from trioworkers.inbox.journal import JournalWatch
from trioworkers.inbox.sqlite import guard
from trioworkers.inbox.sqlite.file import open_file
from trioworkers.inbox.store import StoreError
from trioworkers.records import Arrival

BOT = 7_000_000_001
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM inbox").fetchone()
print("reads", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(writer_module, "PAUSE_AFTER_FAILURE", 0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "inbox.db"


def arrivals(first, count, size=10):
    return [
        Arrival(n, "message", "1", None, None, b'"' + b"x" * size + b'"') for n in range(first, first + count)
    ]


@pytest.fixture
def start_reader(path):
    """Starts another program that begins to read the inbox, and does not end."""
    readers: list[subprocess.Popen[bytes]] = []

    def start():
        reader = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        readers.append(reader)
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"reads\n"
        return reader

    yield start
    for reader in readers:
        reader.kill()
        reader.communicate()


async def until(condition):
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - the other side is a thread
            await trio.sleep(0.005)


async def test_recovery_is_reported_when_a_write_succeeded(path):
    """Another program has the write lock: that the store can be read meanwhile is no recovery."""
    heard: list[Any] = []
    store = open_file(path)
    store._connection.execute("PRAGMA busy_timeout = 20")
    async with open_tended(store, trouble=heard.append) as inbox:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                await inbox.accept(BOT, arrivals(1, 1))
            await until(lambda: heard)
            for _ in range(10):  # upkeep goes on, reads succeed
                await inbox.dead_letters(limit=1)
                await trio.sleep(0.02)
            assert None not in heard
            other.execute("ROLLBACK")
            await until(lambda: heard[-1] is None)
        assert heard.count(None) == 1
        assert {str(error) for error in heard[:-1]} == {"the inbox could not commit: database is locked"}


async def test_trouble_without_any_update_is_over_by_itself(path):
    """Nobody sends anything: upkeep writes something to see whether it can."""
    heard: list[Any] = []
    store = open_file(path)
    store._connection.execute("PRAGMA busy_timeout = 20")
    async with open_tended(store, trouble=heard.append) as inbox:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                await inbox.accept(BOT, arrivals(1, 1))
            other.execute("ROLLBACK")
        await until(lambda: heard and heard[-1] is None)


async def test_a_forgotten_reader_is_reported_with_the_size_of_the_journal(path, monkeypatch, start_reader):
    """With the process that reads; and that it is over, once it has ended."""
    monkeypatch.setattr(guard, "LARGE_JOURNAL", 1 << 20)
    told: list[Any] = []
    store = open_file(path)
    async with open_tended(store, journal=lambda *what: told.append(what)) as inbox:
        await inbox.accept(BOT, arrivals(0, 10))
        reader = await trio.to_thread.run_sync(start_reader)
        number = 10
        while not told:
            await inbox.accept(BOT, arrivals(number, 100, 2000))
            number += 100
            assert number < 50_000, "it was never reported"
        ((size, holders), *_) = told
        assert size >= 1 << 20
        assert any(f"(pid {reader.pid})" in holder for holder in holders)
        assert not any(f"(pid {os.getpid()})" in holder for holder in holders)
        reader.kill()
        await until(lambda: told[-1] == (0, ()))
    assert [size for size, _ in told].count(0) == 1


async def test_a_copy_of_our_own_is_no_forgotten_reader(path, tmp_path, monkeypatch):
    """`backup` reads, too, and ends by itself."""
    monkeypatch.setattr(guard, "LARGE_JOURNAL", 1)
    told: list[Any] = []
    store = open_file(path)
    async with open_tended(store, journal=lambda *what: told.append(what)) as inbox:
        for number in range(5):
            await inbox.accept(BOT, arrivals(number * 100, 100, 2000))
            await inbox.backup(tmp_path / "copy.db")
        await until(lambda: path.exists())
    assert told == []


def test_it_is_reported_at_each_doubling():
    """Not each second; and who holds it is looked for only then."""
    told: list[Any] = []
    looked: list[int] = []
    watch = JournalWatch(lambda *what: told.append(what))

    def holders():
        looked.append(1)
        return ["p"]

    for size in (0, 10, 11, 19, 20, 39, 45, 0, 0, 10):
        watch.note(size, holders)
    assert told == [(10, ["p"]), (20, ["p"]), (45, ["p"]), (0, ()), (10, ["p"])]
    assert len(looked) == 4
