"""Every statement of every operation fails once, or is the last before a SIGKILL: all or nothing is there."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress
from functools import partial
from typing import Any, cast

import pytest

from trioworkers.inbox.sqlite.place import Place
from trioworkers.inbox.sqlite.store import SqliteStore, open_sqlite
from trioworkers.inbox.store import (
    ANY,
    Accept,
    BeginCall,
    EndCall,
    Filter,
    Finish,
    MoveToDead,
    Purge,
    PutValue,
    Replay,
    Reschedule,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreWrite,
)
from trioworkers.records import Attempt, Once, Waiting

BOT = 7_000_000_001
TABLES = "inbox", "dead", "tally", "seen", "gaps", "calls", "once", "plugin_values", "sqlite_sequence"
AGAIN = Waiting(2, BOT, 1, "a", b"{}", 1.0, attempt=1, due=9.0, skipped=True)
WORK: dict[str, list[Any]] = {
    "accept": [Accept(BOT, n, "ab"[n % 2], b"{}", 1.0) for n in range(100, 105)],
    "calls": [
        BeginCall(2, "new", 2.0),
        EndCall(2, "new", b"{}"),
        EndCall(3, "open", None),
        BeginCall(4, "x", 2.0),
    ],
    "finish": [Finish(1, BOT, "done"), Finish(3, BOT, "expired"), Finish(999, BOT, "done")],
    "retry": [Reschedule(AGAIN, Attempt(1.0, "ValueError"))],
    "dead_letter": [
        MoveToDead(2, BOT, "a", 1, "no", 2.0, Attempt(1.0, "KeyError")),
        MoveToDead(4, BOT, "c", 1, "no", 2.0),
    ],
    "replay": [Replay(5, BOT), Replay(999, BOT)],
    "purge": [Purge(5, BOT)],
    "filter": [
        Filter(BOT, 200, 1.0),
        Accept(BOT, 201, "a", b"{}", 20.0, once=(Once("known", 30.0), Once("lost", 30.0))),
        Filter(BOT, 0, 20.0),
    ],
    "once": [
        Accept(BOT, 300, "a", b"{}", 20.0, once=(Once("new", 30.0), Once("other", 1.0))),
        Accept(BOT, 301, "b", b"{}", 50.0, once=(Once("known", 30.0),)),
        Accept(BOT, 302, "b", b"{}", 50.0, once=(Once("lost", 30.0), Once("known", 30.0))),
    ],
    "once, in doubt": [
        Accept(BOT, 400, "a", b"{}", 20.0, once=(Once("newest", 30.0),)),
        Accept(BOT, 1, "a", b"{}", 20.0, once=(Once("lost", 30.0),)),
    ],
    "values": [
        PutValue("p", "new", b"1", None, ANY, 20.0),
        PutValue("p", "known", b"2", 99.0, b"1", 20.0),
        PutValue("p", "ended", b"2", None, None, 20.0),
        PutValue("p", "gone", None, None, ANY, 20.0),
    ],
    "values with updates": [
        Accept(BOT, 500, "a", b"{}", 20.0, writes=(StoreWrite("q", "arrival", b"1", 99.0),)),
        Accept(BOT, 1, "a", b"{}", 20.0, writes=(StoreWrite("q", "lost", b"1"),)),
        Finish(4, BOT, "done", (StoreWrite("q", "end", b"1"), StoreWrite("q", "known", None))),
        Finish(999, BOT, "done", (StoreWrite("q", "lost", b"1"),)),
    ],
}
WORK["all"] = [operation for operations in list(WORK.values()) for operation in operations]
NO_MEMORY = "no memory"  # Python makes a MemoryError of it
REASONS = {
    "memory": (sqlite3.SQLITE_NOMEM, NO_MEMORY, StoreError),
    "write": (sqlite3.SQLITE_IOERR_WRITE, "disk I/O error", StoreError),
    "full": (sqlite3.SQLITE_FULL, "database or disk is full", StoreFullError),
}


class Faulty:
    """A connection whose n-th statement fails, before it is run or after."""

    def __init__(self, connection):
        self._connection = connection
        self.fails_at, self.after = 0, False
        self.error = sqlite3.Error()
        self.run = 0

    def execute(self, statement, values=()):
        if not self.fails_at or statement == "ROLLBACK" or statement.startswith("PRAGMA"):
            return self._connection.execute(statement, values)
        self.run += 1
        if self.run != self.fails_at:
            return self._connection.execute(statement, values)
        if self.after:
            self._connection.execute(statement, values)
        if self.error.args == (NO_MEMORY,):
            raise MemoryError
        raise self.error

    def __getattr__(self, name):
        return getattr(self._connection, name)


def opened_through(path, wrap):
    """A store whose connection is wrapped, and the wrapped connection."""
    place = Place(path, "full", None)
    wrapped = wrap(place.connection)
    place.connection = cast("sqlite3.Connection", wrapped)
    return SqliteStore(place, None), wrapped


def prepared(path):
    """Updates that wait, one with calls, one dead with calls; a once key; values of two plugins."""
    store = open_sqlite(path)
    store.commit([Accept(BOT, n, key, b"{}", 1.0) for n, key in enumerate("aaacd")])
    store.commit([BeginCall(2, "done", 1.0), EndCall(2, "done", b"{}"), BeginCall(3, "open", 1.0)])
    store.commit([BeginCall(5, "sent", 1.0), EndCall(5, "sent", b"{}")])
    store.commit([MoveToDead(5, BOT, "d", 1, "no", 1.0)])
    store.commit([Accept(BOT, 50, "e", b"{}", 1.0, once=(Once("known", 30.0),))])
    store.commit([PutValue("p", key, b"1", None, ANY, 1.0) for key in ("known", "gone")])
    store.commit([PutValue("p", "ended", b"1", 2.0, ANY, 1.0), PutValue("q", "known", b"1", None, ANY, 1.0)])
    return store


def snapshot(path):
    with sqlite3.connect(path) as connection:
        shown = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
    connection.close()
    return shown


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("work", WORK)
def test_a_failure_at_any_statement_leaves_all_or_nothing(tmp_path, work, after, reason):
    """The n-th statement fails, n growing until a run is clean; then the store goes on with a second try.

    One that fails although it was carried out is the worst of a disk; of a commit it leaves everything.
    """
    code, words, kind = REASONS[reason]
    prepared(tmp_path / "prepared.db").close()
    store = prepared(tmp_path / "reference.db")
    nothing = snapshot(tmp_path / "reference.db")
    results = store.commit(WORK[work])
    store.close()
    everything = snapshot(tmp_path / "reference.db")
    assert everything != nothing
    fails_at, failed = 0, True
    while failed:
        fails_at += 1
        path = tmp_path / f"{fails_at}.db"
        shutil.copyfile(tmp_path / "prepared.db", path)
        store, faulty = opened_through(path, Faulty)
        faulty.error = sqlite3.OperationalError(words)
        faulty.error.sqlite_errorcode = code
        faulty.fails_at, faulty.after = fails_at, after
        try:
            store.commit(WORK[work])
            failed = False
        except kind:
            pass
        committed = after and failed and faulty.run == fails_at and not faulty.in_transaction
        shown = snapshot(path)
        assert shown in (nothing, everything)
        assert failed or shown == everything
        if failed and shown == nothing:
            faulty.fails_at = 0
            assert store.commit(WORK[work]) == results
            assert snapshot(path) == everything
        elif failed:
            assert committed
        store.close()
    assert fails_at > 3


class Watched:
    """A connection that shows, before and after each statement, what a SIGKILL would leave of its file."""

    def __init__(self, connection, path, seen):
        self._connection = connection
        self._path = path
        self._seen = seen

    def execute(self, statement, values=()):
        self._look()
        cursor = self._connection.execute(statement, values)
        if not statement.startswith("SELECT"):
            self._look()
        return cursor

    def _look(self):
        copy = self._path.with_name("killed.db")
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{self._path}{suffix}", f"{copy}{suffix}")
        self._seen.append(snapshot(copy))
        for suffix in ("", "-wal", "-shm"):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)

    def __getattr__(self, name):
        return getattr(self._connection, name)


@pytest.mark.parametrize("work", WORK)
def test_a_kill_between_any_two_statements_leaves_all_or_nothing(tmp_path, work):
    """A once key above all is only ever remembered together with its update, and an id with its count."""
    path = tmp_path / "inbox.db"
    store = prepared(path)
    before = snapshot(path)
    shown: list[Any] = []
    store.close()
    store, _ = opened_through(path, partial(Watched, path=path, seen=shown))
    store.commit(WORK[work])
    after = snapshot(path)
    assert before != after
    changes = [index for index in range(1, len(shown)) if shown[index] != shown[index - 1]]
    assert (shown[0], shown[-1]) == (before, after)
    assert len(changes) == 1
    assert len(shown) > 6
    store.close()


def test_damage_at_any_statement_ends_all_writing(tmp_path):
    """The transaction is rolled back, and nothing is written from then on."""
    for fails_at in range(2, 12):
        path = tmp_path / f"{fails_at}.db"
        prepared(path).close()
        before = snapshot(path)
        store, faulty = opened_through(path, Faulty)
        faulty.error = sqlite3.DatabaseError("database disk image is malformed")
        faulty.error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        faulty.fails_at = fails_at
        for _ in range(2):
            with pytest.raises(StoreDamagedError, match="malformed"):
                store.commit(WORK["all"])
        assert snapshot(path) == before
        assert path.with_name(path.name + ".damaged").exists()
        store.close()
