"""Files of earlier versions: everything in them is in place afterwards."""

from __future__ import annotations

import sqlite3

import pytest

from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION, STEPS
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import (
    ANY,
    DUPLICATE,
    Accept,
    Kept,
    MoveToDead,
    OnceSeen,
    PutValue,
    Replay,
    StoreError,
    StoreRefusedError,
)
from trioworkers.inbox.tally import Tally
from trioworkers.records import Attempt, DeadLetter, Once, RecordedCall, Waiting

BOT, OTHER = 7_000_000_001, 7_000_000_002
BODY, CHECKSUM = b'{"update_id":1}', 376840400
FIRST_ROWS = f"""
INSERT INTO seen VALUES ({BOT}, 1, 100.0), ({BOT}, 2, 101.0), ({BOT}, 3, 102.0), ({OTHER}, 1, 103.0);
INSERT INTO inbox VALUES
    (3, {BOT}, 2, 'a', 'message', CAST('{BODY.decode()}' AS BLOB), :crc, 101.0,
     2, 555.5, 110.0, 1, 'KeyError'),
    (4, {BOT}, 3, 'a', 'message', CAST('{BODY.decode()}' AS BLOB), :crc, 102.0, 0, 0, NULL, 0, ''),
    (5, {OTHER}, 1, '', 'poll', x'00ff', 0, 103.0, 1, 0, NULL, 0, 'ValueError: "naïve"');
INSERT INTO dead VALUES
    (1, {BOT}, 1, 'a', 'callback_query', CAST('{BODY.decode()}' AS BLOB), :crc, 100.0, 8, 50.0, 200.0,
     'failed 8 times', 'TimeoutError'),
    (2, {BOT}, 9, 'b', 'message', CAST('{BODY.decode()}' AS BLOB), :crc, 100.0, 0, NULL, 201.0, 'no use', '');
INSERT INTO tally VALUES ({BOT}, 7, 5, 2, 1, 0, 4, 2), ({OTHER}, 1, 0, 0, 0, 0, 1, 0);
"""
SECOND_ROWS = f"""
INSERT INTO seen VALUES ({BOT}, 1, 100.0), ({BOT}, 2, 101.0);
INSERT INTO inbox (id, bot_id, update_id, key, kind, body, checksum, accepted_at, attempt, suspect, crashes)
    VALUES (3, {BOT}, 2, 'a', 'message', CAST('{BODY.decode()}' AS BLOB), {CHECKSUM}, 101.0, 2, 1, 1);
INSERT INTO dead (id, bot_id, update_id, key, kind, body, checksum, accepted_at, attempts, died_at, reason,
    history) VALUES (1, {BOT}, 1, 'a', 'message', CAST('{BODY.decode()}' AS BLOB), {CHECKSUM}, 100.0, 8,
    200.0, 'failed', '[[199.0,"KeyError"]]');
INSERT INTO tally VALUES ({BOT}, 7, 5, 2, 1, 0, 4, 1, 2);
INSERT INTO gaps VALUES ({BOT}, 'gone');
INSERT INTO calls VALUES (3, 'sendMessage 1', 102.0, CAST('{{}}' AS BLOB), 0);
"""
THIRD_ROWS = f"""
INSERT INTO seen VALUES ({BOT}, 1, 100.0), ({BOT}, 2, 101.0);
INSERT INTO inbox (id, bot_id, update_id, key, kind, body, checksum, accepted_at, attempt)
    VALUES (3, {BOT}, 2, 'a', 'message', CAST('{BODY.decode()}' AS BLOB), {CHECKSUM}, 101.0, 2);
INSERT INTO tally VALUES ({BOT}, 7, 5, 2, 1, 0, 4, 1, 2, 6);
INSERT INTO once VALUES ({BOT}, 'k', 190.0, 220.0);
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "inbox.db"


def of_version(path, version, rows=""):
    """Make a file as the trioworkers of that schema did, with these rows in it."""
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript("".join(STEPS[:version]) + rows)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def shape(path):
    """All tables, their columns and indexes, however they came about."""
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {
        table: (
            sorted(row[1:] for row in connection.execute(f"PRAGMA table_info({table})")),
            sorted(row[1:] for row in connection.execute(f"PRAGMA index_list({table})")),
        )
        for table in tables
    }
    connection.close()
    return found


def test_a_file_of_the_first_version_is_in_place_in_this_one(path):
    """Every row of every table: what waits, its retries and gaps, dead letters with their errors, tallies."""
    of_version(path, 1, FIRST_ROWS.replace(":crc", str(CHECKSUM)))
    store = open_sqlite(path)
    assert store.waiting(BOT, Fetch(after=0, limit=9)).updates == [
        Waiting(3, BOT, 2, "a", BODY, 101.0, attempt=2, due=555.5, started_at=110.0, after_gap=True),
        Waiting(4, BOT, 3, "a", BODY, 102.0),
    ]
    assert store.waiting(OTHER, Fetch(after=0, limit=9)).updates == [
        Waiting(5, OTHER, 1, "", b"\x00\xff", 103.0, attempt=1, damaged=True, kind="poll")
    ]
    assert store.dead(limit=9) == [
        DeadLetter(
            *(1, BOT, 1, "a", "callback_query", BODY, 100.0, 8, 200.0, "failed 8 times"),
            history=(Attempt(200.0, "TimeoutError"),),
        ),
        DeadLetter(2, BOT, 9, "b", "message", BODY, 100.0, 0, 201.0, "no use"),
    ]
    assert store.tallies() == {
        BOT: Tally(7, 5, done=2, dropped=1, retried=4, dead=2, pending=2),
        OTHER: Tally(1, retried=1, pending=1),
    }
    assert store.calls(3) == []
    assert store.commit([Accept(BOT, 1, "a", b"", 1.0), Accept(BOT, 4, "a", b"", 1.0)]) == [
        DUPLICATE,
        Kept(6),
    ]
    store.close()


def test_errors_of_the_first_version_stay_in_the_log(path):
    """The last error of what waited then is the first entry of its log now."""
    of_version(path, 1, FIRST_ROWS.replace(":crc", str(CHECKSUM)))
    store = open_sqlite(path)
    store.commit(
        [
            MoveToDead(3, BOT, "a", 3, "x", 300.0, Attempt(299.0, "IndexError", ("sendMessage 1",))),
            MoveToDead(4, BOT, "a", 0, "x", 300.0),
            MoveToDead(5, OTHER, "", 1, "x", 300.0),
        ]
    )
    assert [letter.history for letter in store.dead(ids=[3, 4, 5], limit=9)] == [
        (Attempt(110.0, "KeyError"), Attempt(299.0, "IndexError", ("sendMessage 1",))),
        (),
        (Attempt(103.0, 'ValueError: "naïve"'),),
    ]
    assert store.commit([Replay(1, BOT)]) == [Kept(6, after_gap=True)]
    store.commit([MoveToDead(6, BOT, "a", 1, "x", 301.0, Attempt(300.5, "OSError"))])
    assert [attempt.error for attempt in store.dead(ids=[6], limit=9)[0].history] == [
        "TimeoutError",
        "OSError",
    ]
    store.close()


@pytest.mark.parametrize("version", range(SCHEMA_VERSION + 1))
def test_a_file_of_every_version_becomes_one_of_this(path, tmp_path, version):
    """The same tables, columns and indexes as in a new file; it works, and is not changed a second time."""
    of_version(path, version) if version else path.touch()
    for _ in range(2):
        store = open_sqlite(path)
        store.commit([Accept(BOT, 1, "a", b"{}", 1.0)])
        assert [update.id for update in store.waiting(BOT, Fetch(after=0, limit=9)).updates] == [1]
        store.close()
    open_sqlite(tmp_path / "new.db").close()
    assert shape(path) == shape(tmp_path / "new.db")
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


def test_a_file_of_the_second_version_is_in_place_in_this_one(path):
    """Waiting updates with calls, gaps, dead letters and tallies; nothing counts as filtered or once."""
    of_version(path, 2, SECOND_ROWS)
    store = open_sqlite(path)
    assert store.waiting(BOT, Fetch(after=0, limit=9)).updates == [
        Waiting(3, BOT, 2, "a", BODY, 101.0, attempt=2, suspect=True, crashes=1, called=True)
    ]
    assert store.calls(3) == [RecordedCall("sendMessage 1", 102.0, b"{}")]
    assert [letter.history for letter in store.dead(limit=9)] == [(Attempt(199.0, "KeyError"),)]
    assert store.tallies() == {BOT: Tally(7, 5, done=2, dropped=1, retried=4, dead=1, purged=2, pending=1)}
    assert store.known(BOT, [1, 2, 3]) == {1, 2}
    assert store.forget_keys(1e12, 9) == 0
    once = (Once("k", 30.0),)
    assert store.commit(
        [
            Accept(BOT, 2, "a", b"", 200.0, once=once),
            Accept(BOT, 5, "gone", b"", 200.0, once=once),
            Accept(BOT, 6, "a", b"", 229.0, once=once),
        ]
    ) == [DUPLICATE, Kept(4, after_gap=True), OnceSeen("k")]
    assert store.tallies()[BOT] == Tally(
        8, 6, done=2, dropped=1, retried=4, dead=1, purged=2, filtered=1, pending=2
    )
    store.close()


def test_a_file_of_the_third_version_is_in_place_in_this_one(path):
    """Waiting updates, once keys that still count and tallies; there are no values, and some can be put."""
    of_version(path, 3, THIRD_ROWS)
    store = open_sqlite(path)
    assert store.waiting(BOT, Fetch(after=0, limit=9)).updates == [
        Waiting(3, BOT, 2, "a", BODY, 101.0, attempt=2)
    ]
    assert store.tallies()[BOT] == Tally(
        7, 5, done=2, dropped=1, retried=4, dead=1, purged=2, filtered=6, pending=1
    )
    assert store.commit([Accept(BOT, 3, "a", b"", 200.0, once=(Once("k", 30.0),))]) == [OnceSeen("k")]
    assert store.values("p", "", "", 9, 0.0) == []
    assert store.commit([PutValue("p", "k", b"1", None, ANY, 200.0)]) == [True]
    store.close()
    store = open_sqlite(path)
    assert store.value("p", "k", 200.0) == b"1"
    store.close()


@pytest.mark.parametrize(
    ("version", "table"),
    [(1, "calls"), (1, "once"), (2, "once"), *((version, "plugin_values") for version in (1, 2, 3))],
)
def test_a_step_that_fails_leaves_the_file_as_it_was(path, version, table):
    """A table of a later version's name stands in the way: nothing of any step took effect."""
    of_version(path, version, f"CREATE TABLE {table} (x);")
    before = shape(path)
    with pytest.raises(StoreError, match="already exists"):
        open_sqlite(path)
    assert shape(path) == before
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    connection.execute(f"DROP TABLE {table}")
    connection.close()
    open_sqlite(path).close()


def test_a_newer_schema_is_refused(path):
    """It is left alone, and both versions are named."""
    open_sqlite(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    before = path.read_bytes()
    with pytest.raises(
        StoreRefusedError, match=f"has schema 99 of a newer trioworkers, this one knows {SCHEMA_VERSION}"
    ):
        open_sqlite(path)
    assert path.read_bytes() == before
