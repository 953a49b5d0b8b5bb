"""What only SQLite's store has: its file, its statements, and that it holds what was committed."""

from __future__ import annotations

import sqlite3
import stat

import pytest
from msgspec.structs import replace

from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.sqlite.seen import BEFORE_ALL
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import (
    ANY,
    DUPLICATE,
    FILTERED,
    Accept,
    BeginCall,
    EndCall,
    Filter,
    Finish,
    Kept,
    MoveToDead,
    OnceSeen,
    Purge,
    PutValue,
    Replay,
    Reschedule,
    StoreError,
    StoreRefusedError,
    StoreRejectedError,
    StoreWrite,
)
from trioworkers.inbox.tally import Tally
from trioworkers.records import Attempt, Once

BOT, OTHER = 7_000_000_001, 7_000_000_002
CHUNKS = [1, 2, 3, 511, 512, 513, 1023, 1024, 1537]
FAILURE = Attempt(90.0, "ValueError")
MANY = 20_000  # rows of each table
MOST_STEPS = 3  # times as many of SQLite's steps as with few rows


@pytest.fixture
def path(tmp_path):
    return tmp_path / "inbox.db"


@pytest.fixture
def store(path):
    with_store = open_sqlite(path)
    yield with_store
    with_store.close()


def accept(store, *update_ids, bot=BOT, key="1", at=100.0):
    return store.commit([Accept(bot, n, key, b'{"update_id":%d}' % n, at) for n in update_ids])


def ids(store, **which):
    which = {"after": 0, "limit": 10_000} | which
    return [update.id for update in store.waiting(which.pop("bot_id", BOT), Fetch(**which)).updates]


def again(store, id_, **changes):
    (update,) = store.waiting(BOT, Fetch(after=id_ - 1, until=id_, limit=1)).updates
    return Reschedule(replace(update, **changes), FAILURE)


def rows(store, query):
    return store._connection.execute(query).fetchall()


@pytest.mark.parametrize("size", CHUNKS)
def test_statements_of_many_rows_take_all_of_them(store, size):
    """Around the number of rows that one takes; their number of texts stays small."""
    accept(store, *range(size))
    store.commit([BeginCall(id_, "k", 1.0) for id_ in range(1, size + 1)])
    assert rows(store, "SELECT count(*), sum(id) FROM calls") == [(size, size * (size + 1) // 2)]
    store.commit([Finish(id_, BOT, "done") for id_ in range(1, size + 1)])
    assert rows(store, "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM calls)") == [(0, 0)]
    store._seen._examined = BEFORE_ALL
    assert store.forget(101.0, 5000) == size
    assert rows(store, "SELECT count(*) FROM seen") == [(0,)]


@pytest.mark.parametrize("size", CHUNKS)
def test_statements_of_many_keys_take_all_of_them(store, size):
    """Three keys an update: each of them is there afterwards, and found again."""
    keys = [tuple(Once(f"{n} {name}", 30.0) for name in "abc") for n in range(size)]
    store.commit([Accept(BOT, n, "1", b"{}", 100.0, once=keys[n]) for n in range(size)])
    assert rows(store, "SELECT count(*), count(DISTINCT key) FROM once") == [(3 * size, 3 * size)]
    again = [Accept(BOT, size + n, "1", b"{}", 100.0, once=(keys[n][n % 3],)) for n in range(size)]
    assert store.commit(again) == [OnceSeen(keys[n][n % 3].key) for n in range(size)]
    assert store.forget_keys(130.0, 5000) == 3 * size
    assert rows(store, "SELECT count(*) FROM once") == [(0,)]


def test_keys_cost_a_batch_one_insert(store):
    """However many they are, and one deletion if some of them are known and do not count any more.

    A batch without keys is not one statement longer than it ever was.
    """

    def statements(*operations):
        said: list[str] = []
        store._connection.set_trace_callback(said.append)
        store.commit(operations)
        store._connection.set_trace_callback(None)
        return [statement.split("(")[0].split()[:3] for statement in said]

    usual = [
        ["BEGIN", "IMMEDIATE"],
        ["INSERT", "INTO", "seen"],
        ["INSERT", "INTO", "inbox"],
        ["INSERT", "INTO", "tally"],
        ["COMMIT"],
    ]
    plain = [Accept(BOT, n, "1", b"{}", 1.0) for n in range(10)]
    assert statements(*plain) == usual
    assert statements(Filter(BOT, 10, 1.0), Accept(BOT, 11, "1", b"{}", 1.0)) == usual
    once = tuple(Once(key, 30.0) for key in "abcdefg")
    keyed = [Accept(n, 20, "1", b"{}", 1.0, once=once) for n in range(10)]
    new = ["INSERT", "INTO", "once"]
    assert statements(*keyed, Accept(BOT, 30, "1", b"{}", 1.0)) == [*usual[:2], new, *usual[2:]]
    again = [Accept(n, 21, "1", b"{}", 40.0, once=once) for n in range(10)]
    assert statements(*again) == [*usual[:2], ["DELETE", "FROM", "once"], new, *usual[2:]]


def test_values_cost_a_batch_one_look_one_insert_and_one_removal(store):
    """However many there are, and each only where it is needed; a batch without values has none of them."""

    def statements(*operations):
        said: list[str] = []
        store._connection.set_trace_callback(said.append)
        store.commit(operations)
        store._connection.set_trace_callback(None)
        about_values = [statement.split("(")[0] for statement in said if "plugin" in statement]
        return [" ".join(statement.split()[:3]) for statement in about_values]

    look, new, gone = "WITH asked", "INSERT INTO plugin_values", "WITH asked"
    accept(store, *range(20))
    assert statements(Accept(BOT, 20, "1", b"{}", 1.0), Finish(1, BOT, "done"), EndCall(2, "k", None)) == []
    writes = tuple(StoreWrite("p", key, b"1") for key in "abcdefg")
    assert statements(
        *[Finish(id_, BOT, "done", writes) for id_ in (2, 3)], Accept(BOT, 21, "1", b"{}", 1.0, writes=writes)
    ) == [new]
    puts = [PutValue("p", key, b"2", None, ANY, 1.0) for key in "abcdefg"]
    assert statements(*puts) == [new]
    assert statements(*puts, *[PutValue("p", key, None, None, b"2", 1.0) for key in "abc"]) == [
        *(look, new, gone)
    ]
    removed = tuple(StoreWrite("p", key, None) for key in "defg")
    assert statements(Finish(4, BOT, "done", removed)) == [gone]
    assert rows(store, "SELECT count(*) FROM plugin_values") == [(0,)]


def test_a_late_call_leaves_nothing_in_memory(store):
    """What is recorded for an update that is gone is not recorded, and not remembered either."""
    accept(store, 1, 2)
    store.commit([Finish(1, BOT, "done")])
    store.commit([BeginCall(1, "k", 1.0), EndCall(1, "k", b"1"), BeginCall(2, "k", 1.0)])
    assert [id_ in store._calls.ids for id_ in (1, 2)] == [False, True]


def test_forgetting_looks_at_so_many_rows_and_goes_on_where_it_stopped(store):
    """Whether they are old or not: a round costs the same whatever there is."""
    for bot in (BOT, OTHER):
        for number in range(-5, 20):
            accept(store, number, bot=bot, at=float(number))
    assert sum(store.forget(10.0, 7) for _ in range(8)) == 30
    assert [store.forget(20.0, 7) for _ in range(4)] == [7, 7, 6, 0]


def test_a_damaged_body_is_told(store, path):
    """Bytes that are not those that were written are known by their checksum; others are not suspected."""
    accept(store, 1, 2)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE inbox SET body = CAST('{\"update_id\":9}' AS BLOB) WHERE id = 1")
    other.close()
    assert [
        (update.id, update.damaged) for update in store.waiting(BOT, Fetch(after=0, limit=9)).updates
    ] == [
        (1, True),
        (2, False),
    ]


# -- failures -----------------------------------------------------------------------------------


def fill_disk(store):
    """Let SQLite say that the disk is full, as it does when it is."""
    (pages,) = rows(store, "PRAGMA page_count")[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_takes_nothing_of_the_batch(store):
    """All or nothing: rows, ids and tallies are as before, and it works again once there is room."""
    accept(store, 1)
    fill_disk(store)
    many = [Accept(BOT, number, "1", b"x" * 500, 1.0) for number in range(2, 500)]
    with pytest.raises(StoreError, match="the inbox could not commit: database or disk is full"):
        store.commit([Finish(1, BOT, "done"), *many])
    assert ids(store) == [1]
    assert store.tallies() == {BOT: Tally(1, pending=1)}
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert accept(store, 2, 3) == [Kept(2), Kept(3)]
    assert store.tallies() == {BOT: Tally(3, pending=3)}


@pytest.mark.parametrize(
    "table", ["seen", "inbox", "dead", "calls", "gaps", "tally", "once", "plugin_values"]
)
@pytest.mark.parametrize("event", ["INSERT", "UPDATE", "DELETE"])
def test_whichever_table_refuses_nothing_of_the_batch_happened(store, table, event):
    """A fault at each write of a commit that has every kind of operation; then it works as if new."""
    accept(store, 1, 2, 3, 4, 5, 6, 7)
    accept(store, 8, 9, key="2")
    store.commit([Accept(OTHER, 1, "", b"{}", 1.0, once=(Once("old", 30.0),))])
    store.commit([BeginCall(id_, "k", 1.0) for id_ in (1, 2, 5)])
    store.commit([MoveToDead(id_, BOT, "1", 1, "no", 1.0) for id_ in (5, 6, 7)])
    store.commit([PutValue("p", key, b"1", None, ANY, 1.0) for key in ("old", "gone")])
    before = list(store._connection.iterdump())
    store._connection.execute(
        f"CREATE TEMP TRIGGER fault BEFORE {event} ON main.{table} BEGIN SELECT RAISE(ABORT, 'broken'); END"
    )
    batch = [
        Accept(BOT, 10, "1", b"{}", 1.0),
        Accept(BOT, 1, "1", b"{}", 1.0),
        BeginCall(2, "k", 2.0),
        BeginCall(3, "k", 2.0),
        Finish(1, BOT, "done"),
        again(store, 2, attempt=1),
        MoveToDead(3, BOT, "1", 1, "no", 1.0),
        MoveToDead(8, BOT, "2", 1, "no", 1.0),
        MoveToDead(9, BOT, "2", 1, "no", 1.0),
        Replay(5, BOT),
        Purge(6, BOT),
        Filter(OTHER, 2, 1.0),
        Accept(OTHER, 3, "", b"{}", 100.0, once=(Once("old", 30.0), Once("new", 30.0))),
        Accept(OTHER, 4, "", b"{}", 100.0, once=(Once("new", 30.0),)),
        PutValue("p", "old", b"2", None, b"1", 100.0),
        PutValue("p", "gone", None, None, ANY, 100.0),
        PutValue("p", "new", b"1", None, b"1", 100.0),
    ]
    never = {
        ("seen", "UPDATE"),
        ("seen", "DELETE"),
        ("dead", "UPDATE"),
        ("gaps", "UPDATE"),
        ("tally", "DELETE"),
        ("once", "UPDATE"),
    }
    if (table, event) not in never:
        with pytest.raises(StoreError, match="the inbox could not commit: broken"):
            store.commit(batch)
        assert list(store._connection.iterdump()) == before
        store._connection.execute("DROP TRIGGER fault")
    assert store.commit(batch) == [
        *(Kept(11, after_gap=True), DUPLICATE, *[None] * 7, Kept(13), True),
        *(FILTERED, Kept(12), OnceSeen("new"), True, True, False),
    ]
    assert store.tallies() == {
        BOT: Tally(10, 1, done=1, retried=1, dead=4, purged=1, pending=4),
        OTHER: Tally(2, filtered=2, pending=2),
    }
    assert accept(store, 11, key="2") == [Kept(14, after_gap=True)]


def test_values_that_sqlite_cannot_hold_leave_nothing_open(store):
    """The batch fails as a whole, and the next one works."""
    with pytest.raises(StoreRejectedError, match="a number in it cannot be stored"):
        store.commit([Accept(BOT, 1, "", b"", 1.0), Accept(2**64, 2, "", b"", 1.0)])
    assert not store._connection.in_transaction
    assert accept(store, 1) == [Kept(1)]


def test_a_store_that_is_locked_says_so(store, path):
    """Somebody else writes: nothing took effect."""
    store._connection.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="database is locked"):
        accept(store, 1)
    other.execute("ROLLBACK")
    other.close()
    assert accept(store, 1) == [Kept(1)]


def test_a_store_that_cannot_be_read_says_so(store):
    """Reads have the same kind of error."""
    store._connection.execute("ALTER TABLE inbox RENAME TO away")
    for read in (store.tallies, lambda: ids(store)):
        with pytest.raises(StoreError, match="the inbox could not be read: no such table"):
            read()


# -- the file -----------------------------------------------------------------------------------


def test_the_file_is_for_its_owner_only(path, store):
    """Mode 0600, the log and the shared memory beside it too."""
    accept(store, 1)
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["inbox.db", "inbox.db-shm", "inbox.db-wal"]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3


def test_everything_is_there_after_reopening(path):
    """Also without closing, as after a kill: a commit that returned is in the file."""
    first = open_sqlite(path)
    accept(first, 1, 2, 3)
    first.commit([again(first, 2, attempt=4, due=9.0, started_at=8.0), MoveToDead(1, BOT, "1", 1, "no", 1.0)])
    told, tallies = first.waiting(BOT, Fetch(after=0, limit=9)).updates, first.tallies()
    second = open_sqlite(path)
    assert second.waiting(BOT, Fetch(after=0, limit=9)).updates == told
    assert second.tallies() == tallies == {BOT: Tally(3, retried=1, dead=1, pending=2)}
    assert accept(second, 1, 4) == [DUPLICATE, Kept(4)]
    first.close()
    second.close()


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_durability_is_really_set(path, durability, level):
    """FULL syncs each commit; the log is a WAL; freed pages can be given back."""
    store = open_sqlite(path, durability=durability)
    assert rows(store, "PRAGMA synchronous") == [(level,)]
    assert rows(store, "PRAGMA journal_mode") == [("wal",)]
    assert rows(store, "PRAGMA auto_vacuum") == [(2,)]
    store.close()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_durability_is_set_on_a_file_that_exists(path, durability):
    """The level belongs to the connection, not to the file."""
    open_sqlite(path, durability="normal").close()
    store = open_sqlite(path, durability=durability)
    assert rows(store, "PRAGMA synchronous") == [(2 if durability == "full" else 1,)]
    store.close()


def test_another_programs_database_is_refused(path):
    """Its tables are not touched."""
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreRefusedError, match="is a database of another program"):
        open_sqlite(path)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    other.close()


def test_what_is_no_database_is_refused(path):
    """A text file stays a text file."""
    path.write_text("dear diary, " * 100)
    with pytest.raises(StoreError, match=r"cannot use .*inbox\.db: file is not a database"):
        open_sqlite(path)
    assert path.read_text().startswith("dear diary")


def test_a_damaged_file_is_an_error_of_the_store(path):
    """Not a traceback of SQLite's: every page but the first is overwritten."""
    store = open_sqlite(path)
    accept(store, *range(200))
    store.close()
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))
    with pytest.raises(StoreError, match=r"cannot use .*inbox\.db: database disk image is malformed"):
        open_sqlite(path)


def test_a_missing_folder_is_told(tmp_path):
    """With the path and the system's words."""
    with pytest.raises(StoreError, match=r"cannot open .*nowhere/inbox\.db: .*No such file or directory"):
        open_sqlite(tmp_path / "nowhere" / "inbox.db")


# -- speed --------------------------------------------------------------------------------------

FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many}),
    chat (i, key) AS (SELECT i, CASE WHEN i % 2 THEN 'blocked' ELSE i END FROM n)
INSERT INTO {into} FROM chat;
"""
TABLES = (
    "seen (bot_id, update_id, at) SELECT 7000000001 + i % 3, i, i",
    "inbox (bot_id, update_id, key, kind, body, checksum, accepted_at)"
    " SELECT 7000000001 + i % 3, i, key, 'message', x'7b7d', 0, i",
    "dead (id, bot_id, update_id, key, kind, body, checksum, accepted_at, attempts, died_at, reason)"
    " SELECT i + 1000000, 7000000001 + i % 3, i, key, 'message', x'7b7d', 0, i, 1, i, ''",
    "calls (id, key, at, repeated) SELECT i, 'k', 1.0, 0",
    "calls (id, key, at, repeated) SELECT i + 1000000, 'k', 1.0, 0",
    "gaps (bot_id, key) SELECT 7000000001 + i % 3, 'gone ' || i",
    "once (bot_id, key, at, until) SELECT 7000000001 + i % 3, 'once ' || i, 100.0, 130.0 + i",
    "plugin_values (plugin, key, value, until) SELECT 'p', printf('%08d', i), x'31', 130.0 + i",
    "plugin_values (plugin, key, value) SELECT 'q', printf('%08d', i), x'31'",
)
SCANS = ("SCAN seen", "SCAN inbox", "SCAN dead", "SCAN calls", "SCAN gaps", "SCAN once", "SCAN plugin_values")


def filled(path, many):
    """A store whose tables have so many rows, half of them of one chat."""
    open_sqlite(path, durability="normal").close()
    with sqlite3.connect(path) as other:
        other.executescript("".join(FILL.format(many=many, into=into) for into in TABLES))
    other.close()
    return open_sqlite(path, durability="normal")


def hot_paths(store):
    """What is done while bots run, each with a few rows to touch."""
    (head, second, third) = store.waiting(BOT, Fetch(after=0, key="blocked", limit=3)).updates
    letters = store.dead(limit=4)
    new = [Accept(BOT, 10**6 + n, key, b"{}", 1.0) for n, key in enumerate(["blocked", "gone 3", "new", ""])]
    yield "accept", lambda: store.commit([*new, Accept(BOT, 3, "x", b"{}", 1.0)])
    once = tuple(Once(f"once {n}", 30.0) for n in (3, 4, 5, -1))
    yield "once", lambda: store.commit([Accept(BOT, 10**7, "new", b"{}", 500.0, once=once)])
    yield "seen once", lambda: store.commit([Accept(BOT, 10**7 + 1, "new", b"{}", 501.0, once=once)])
    yield "filter", lambda: store.commit([Filter(BOT, 10**7 + 2, 1.0), Filter(BOT, 3, 1.0)])
    yield "known", lambda: store.known(BOT, [3, 4, 5, 10**8])
    yield "no old keys", lambda: store.forget_keys(1.0, 64)
    yield "few old keys", lambda: store.forget_keys(134.0, 64)
    yield "many old keys", lambda: store.forget_keys(1e9, 64)
    puts = [PutValue("p", f"{n:08}", b"2", None, b"1", 100.0) for n in (3, 4, -1)]
    yield "put", lambda: store.commit([*puts, PutValue("p", f"{5:08}", None, None, ANY, 100.0)])
    writes = tuple(StoreWrite("q", f"{n:08}", value) for n, value in ((3, b"2"), (4, None), (-1, b"2")))
    yield "writes", lambda: store.commit([Accept(BOT, 10**7 + 3, "new", b"{}", 1.0, writes=writes)])
    yield "value", lambda: store.value("q", f"{7:08}", 100.0)
    yield "values", lambda: store.values("q", "000", f"{9:08}", 8, 100.0)
    yield "values by prefix", lambda: store.values("q", f"{12:08}"[:7], "", 8, 100.0)
    yield "no old values", lambda: store.forget_values(1.0, 64)
    yield "few old values", lambda: store.forget_values(134.0, 64)
    yield "many old values", lambda: store.forget_values(1e9, 64)
    yield "calling", lambda: store.commit([BeginCall(head.id, "k", 1.0), BeginCall(second.id, "l", 1.0)])
    yield "called", lambda: store.commit([EndCall(head.id, "k", b"1"), EndCall(second.id, "l", None)])
    yield "reschedule", lambda: store.commit([again(store, head.id, attempt=1)])
    yield "skip", lambda: store.commit([again(store, head.id, attempt=2, skipped=True)])
    yield "dead_letter", lambda: store.commit([MoveToDead(second.id, BOT, "blocked", 1, "", 1.0, FAILURE)])
    yield "finish", lambda: store.commit([Finish(third.id, BOT, "done"), Finish(999_999, BOT, "done")])
    yield "replay", lambda: store.commit([Replay(letters[0].id, BOT), Replay(999_999, BOT)])
    yield "purge", lambda: store.commit([Purge(letters[1].id, BOT), Purge(999_999, BOT)])
    yield "refill", lambda: store.waiting(BOT, Fetch(after=store._last_id // 2, limit=8))
    yield "others", lambda: store.waiting(BOT, Fetch(after=9, without=["blocked", "b"], limit=8, most=64))
    yield "lane", lambda: store.waiting(BOT, Fetch(after=9, until=store._last_id - 9, key="blocked", limit=8))
    yield "calls", lambda: store.calls(head.id)
    yield "recorded", lambda: store.recorded([(head.id, "k"), (second.id, "l"), (999_999, "k")])
    yield "page", lambda: store.dead(after=letters[3].id, limit=8)
    yield "page of a bot", lambda: store.dead(bot_id=BOT, after=letters[3].id, limit=8)
    yield "letters", lambda: store.dead(ids=[letters[2].id, letters[3].id], bot_id=BOT, limit=8)
    yield "no old ones", lambda: store.dead(died_by=0.5, limit=8)
    yield "few old ones", lambda: store.dead(died_by=9.0, limit=8)
    yield "forget", lambda: store.forget(1.0, 64)


def test_no_hot_statement_scans_a_table(path):
    """Whatever the tables hold, each statement goes straight to its own rows."""
    store = filled(path, MANY)
    said: list[str] = []
    for _, do in hot_paths(store):
        store._connection.set_trace_callback(said.append)
        do()
        store._connection.set_trace_callback(None)
    scans = []
    for statement in said:
        if statement.split()[0] in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"):
            plan = [row[3] for row in rows(store, f"EXPLAIN QUERY PLAN {statement}")]
            scans += [(statement[:80], step) for step in plan if step.startswith(SCANS)]
            if "FROM inbox" in statement:
                scans += [(statement[:80], step) for step in plan if "TEMP B-TREE" in step]
    store.close()
    assert scans == []


def test_what_is_done_often_costs_the_same_whatever_waits(tmp_path):
    """Counted in SQLite's own steps: a table of many rows costs no more than one of a few hundred."""
    costs = []
    for many in (MANY // 40, MANY):
        store = filled(tmp_path / f"{many}.db", many)
        cost = {}
        for name, do in hot_paths(store):
            steps = [0]

            def step(steps=steps):
                steps[0] += 1

            store._connection.set_progress_handler(step, 1)
            do()
            store._connection.set_progress_handler(None, 0)
            cost[name] = steps[0]
        store.close()
        costs.append(cost)
    few, much = costs
    assert {
        name: (few[name], steps) for name, steps in much.items() if steps > MOST_STEPS * few[name] + 50
    } == {}
