"""The inbox's file: every operation, what is refused, and that it holds what was committed."""

from __future__ import annotations

import sqlite3
import stat
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trioworkers.inbox.sqlite import open_sqlite
from trioworkers.inbox.store import Accept, Bury, Finish, Reschedule, StoreError, StoreRefusedError, Tally
from trioworkers.records import Waiting

BOT, OTHER = 7_000_000_001, 7_000_000_002
CHUNKS = [1, 2, 3, 511, 512, 513, 1023, 1024, 1537]


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
    return [update.id for update in store.waiting(which.pop("bot_id", BOT), **which)]


def rows(store, query):
    return store._connection.execute(query).fetchall()


# -- operations ---------------------------------------------------------------------------------


def test_what_is_accepted_waits_as_it_came(store):
    """Every field is read back; ids are given in order."""
    assert store.commit([Accept(BOT, 5, "-100/7", b"\x00\xff", 12.5), Accept(OTHER, 5, "", b"{}", 13.0)]) == [
        1,
        2,
    ]
    assert store.waiting(BOT, after=0, limit=9) == [Waiting(1, BOT, 5, "-100/7", b"\x00\xff", 12.5)]
    assert store.waiting(OTHER, after=0, limit=9) == [Waiting(2, OTHER, 5, "", b"{}", 13.0)]


def test_an_update_is_accepted_once(store):
    """Not again in the same batch, in a later one, after it was done, nor after it is dead."""
    assert accept(store, 1, 2, 1) == [1, 2, None]
    assert accept(store, 2, 3) == [None, 3]
    store.commit([Finish(1, BOT, "done"), Bury(2, BOT, "1", 1, "no", 1.0)])
    assert accept(store, 1, 2, 3) == [None, None, None]
    assert accept(store, 1, bot=OTHER) == [4]
    assert store.tallies()[BOT] == Tally(accepted=3, duplicates=5, done=1, dead=1, pending=1)
    assert store.tallies()[OTHER] == Tally(accepted=1, pending=1)


@pytest.mark.parametrize("size", CHUNKS)
def test_batches_of_any_size_are_whole(store, size):
    """Around the number of rows that one statement takes: nothing is left out, nothing doubled."""
    assert accept(store, *range(size)) == list(range(1, size + 1))
    assert accept(store, *range(size)) == [None] * size
    assert [update.update_id for update in store.waiting(BOT, after=0, limit=size + 1)] == list(range(size))
    half = list(range(1, size + 1, 2))
    assert set(store.commit([Finish(id_, BOT, "done") for id_ in half])) == {None}
    assert ids(store) == list(range(2, size + 1, 2))
    tally = store.tallies()[BOT]
    assert (tally.accepted, tally.duplicates, tally.done) == (size, size, len(half))
    store._examined = (-(2**63), -(2**63))
    assert store.forget(101.0, 5000) == size
    assert rows(store, "SELECT count(*) FROM seen") == [(0,)]


@pytest.mark.parametrize(("outcome", "tally"), [("done", Tally(1, done=1)), ("dropped", Tally(1, dropped=1))])
def test_what_is_finished_is_gone(store, outcome, tally):
    """Counted once, also when it is finished twice in one batch and again in another."""
    accept(store, 1)
    store.commit([Finish(1, BOT, outcome), Finish(1, BOT, outcome)])
    store.commit([Finish(1, BOT, outcome)])
    assert ids(store) == []
    assert store.tallies() == {BOT: tally}


def test_what_is_rescheduled_keeps_its_place(store):
    """Attempt, due and first handling are kept; the order stays that of arrival."""
    accept(store, 1, 2)
    store.commit([Reschedule(1, BOT, 3, 555.5, 111.0, "ValueError")])
    again, other = store.waiting(BOT, after=0, limit=9)
    assert (again.id, again.attempt, again.due, again.started_at) == (1, 3, 555.5, 111.0)
    assert (other.id, other.attempt, other.due, other.started_at) == (2, 0, 0.0, None)
    assert store.tallies()[BOT].retried == 1
    assert rows(store, "SELECT error FROM inbox WHERE id = 1") == [("ValueError",)]


def test_what_is_buried_is_a_dead_letter_with_everything(store):
    """Body, attempts, reason and last error move; the next of its key, and no other, follows a gap."""
    accept(store, 1, 2, 3, key="a")
    accept(store, 4, key="b")
    store.commit([Reschedule(1, BOT, 1, 5.0, 4.0, "last words")])
    store.commit([Bury(1, BOT, "a", 2, "no use", 9.0)])
    assert [(w.id, w.after_gap) for w in store.waiting(BOT, after=0, limit=9)] == [
        (2, True),
        (3, False),
        (4, False),
    ]
    assert rows(
        store, "SELECT id, update_id, key, body, attempts, started_at, died_at, reason, error FROM dead"
    ) == [(1, 1, "a", b'{"update_id":1}', 2, 4.0, 9.0, "no use", "last words")]
    store.commit([Bury(1, BOT, "a", 2, "no use", 9.0)])
    assert store.tallies()[BOT] == Tally(4, retried=1, dead=1, pending=3)
    assert [w.id for w in store.waiting(BOT, after=0, limit=9) if w.after_gap] == [2]


def test_without_a_key_nothing_follows_a_gap(store):
    """Updates without a key have no next one; nor has the same chat at another bot."""
    accept(store, 1, 2, key="")
    accept(store, 3, key="a")
    accept(store, 4, key="a", bot=OTHER)
    store.commit([Bury(1, BOT, "", 1, "x", 1.0), Bury(3, BOT, "a", 1, "x", 1.0)])
    assert rows(store, "SELECT count(*) FROM inbox WHERE after_gap") == [(0,)]


@pytest.mark.parametrize(
    "operation", [Finish(9, BOT, "done"), Reschedule(9, BOT, 1, 1.0, 1.0, ""), Bury(9, BOT, "1", 1, "", 1.0)]
)
def test_what_is_not_there_is_left_alone(store, operation):
    """An operation on an update that is gone changes nothing, tallies included."""
    accept(store, 1)
    before = store.tallies()
    assert store.commit([operation]) == [None]
    assert store.tallies() == before
    assert ids(store) == [1]
    assert rows(store, "SELECT count(*) FROM dead") == [(0,)]


def test_results_stand_where_their_operations_stood(store):
    """A mixed batch: only what was accepted has an id."""
    accept(store, 1, 2)
    assert store.commit(
        [
            Finish(1, BOT, "done"),
            Accept(BOT, 3, "1", b"", 1.0),
            Finish(2, BOT, "done"),
            Accept(BOT, 1, "1", b"", 1.0),
        ]
    ) == [None, 3, None, None]


def test_waiting_reads_a_range_of_one_bot_and_one_key(store):
    """After is excluded, until included, the limit obeyed, the order by id."""
    for number in range(1, 13):
        accept(store, number, key="ab"[number % 2], bot=BOT if number < 11 else OTHER)
    assert ids(store) == list(range(1, 11))
    assert ids(store, after=3, until=6) == [4, 5, 6]
    assert ids(store, key="b") == [1, 3, 5, 7, 9]
    assert ids(store, key="b", after=3, until=8, limit=1) == [5]
    assert ids(store, bot_id=OTHER) == [11, 12]
    assert ids(store, key="c") == ids(store, limit=0) == ids(store, bot_id=3) == []


def test_a_damaged_body_is_told(store, path):
    """Bytes that are not those that were written are known by their checksum; others are not suspected."""
    accept(store, 1, 2)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE inbox SET body = CAST('{\"update_id\":9}' AS BLOB) WHERE id = 1")
    other.close()
    assert [(update.id, update.damaged) for update in store.waiting(BOT, after=0, limit=9)] == [
        (1, True),
        (2, False),
    ]


# -- forgetting ---------------------------------------------------------------------------------


def test_forgetting_walks_the_whole_table_in_steps(store):
    """Each call looks at so many rows, whether old or not, and goes on where the last one stopped."""
    for bot in (BOT, OTHER):
        for number in range(-5, 20):
            accept(store, number, bot=bot, at=float(number))
    forgotten = [store.forget(10.0, 7) for _ in range(8)]
    assert max(forgotten) <= 7
    assert sum(forgotten) == 30
    assert rows(store, "SELECT count(*), min(at) FROM seen") == [(20, 10.0)]
    assert [store.forget(20.0, 7) for _ in range(4)] == [7, 7, 6, 0]


def test_what_is_forgotten_is_new_again(store):
    """The price of a bounded memory; what waits is not touched."""
    accept(store, 1, at=1.0)
    assert store.forget(1.0, 10) == 0
    assert store.forget(1.5, 10) == 1
    assert ids(store) == [1]
    assert accept(store, 1) == [2]


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
    assert accept(store, 2, 3) == [2, 3]
    assert store.tallies() == {BOT: Tally(3, pending=3)}


@pytest.mark.parametrize("table", ["seen", "inbox", "dead", "tally"])
@pytest.mark.parametrize("event", ["INSERT", "UPDATE", "DELETE"])
def test_whichever_statement_fails_nothing_of_the_batch_happened(store, table, event):
    """A fault at each step of a commit that has every kind of operation."""
    accept(store, 1, 2, 3, 4)
    before = list(store._connection.iterdump())
    store._connection.execute(
        f"CREATE TEMP TRIGGER fault BEFORE {event} ON main.{table} BEGIN SELECT RAISE(ABORT, 'broken'); END"
    )
    batch = [
        Accept(BOT, 5, "1", b"{}", 1.0),
        Accept(BOT, 1, "1", b"{}", 1.0),
        Finish(1, BOT, "done"),
        Reschedule(2, BOT, 1, 1.0, 1.0, ""),
        Bury(3, BOT, "1", 1, "no", 1.0),
    ]
    meets = (table, event) not in {
        ("seen", "UPDATE"),
        ("seen", "DELETE"),
        ("dead", "UPDATE"),
        ("dead", "DELETE"),
        ("tally", "DELETE"),
    }
    if meets:
        with pytest.raises(StoreError, match="the inbox could not commit: broken"):
            store.commit(batch)
        assert list(store._connection.iterdump()) == before
        store._connection.execute("DROP TRIGGER fault")
    assert store.commit(batch) == [5, None, None, None, None]
    assert store.tallies() == {BOT: Tally(5, 1, done=1, retried=1, dead=1, pending=3)}


def test_values_that_sqlite_cannot_hold_leave_nothing_open(store):
    """The batch fails as a whole, and the next one works."""
    with pytest.raises(OverflowError):
        store.commit([Accept(BOT, 1, "", b"", 1.0), Accept(2**64, 2, "", b"", 1.0)])
    assert not store._connection.in_transaction
    assert accept(store, 1) == [1]


def test_a_store_that_is_locked_says_so(store, path):
    """Somebody else writes: nothing took effect."""
    store._connection.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="database is locked"):
        accept(store, 1)
    other.execute("ROLLBACK")
    other.close()
    assert accept(store, 1) == [1]


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
    first.commit([Reschedule(2, BOT, 4, 9.0, 8.0, "e"), Bury(1, BOT, "1", 1, "no", 1.0)])
    told, tallies = first.waiting(BOT, after=0, limit=9), first.tallies()
    second = open_sqlite(path)
    assert second.waiting(BOT, after=0, limit=9) == told
    assert second.tallies() == tallies == {BOT: Tally(3, retried=1, dead=1, pending=2)}
    assert accept(second, 1, 4) == [None, 4]
    first.close()
    second.close()


def test_an_id_is_never_used_again(path):
    """Not even when all updates are gone and the file was reopened: a stale acknowledgement hits nothing."""
    store = open_sqlite(path)
    assert accept(store, 1, 2) == [1, 2]
    store.commit([Finish(1, BOT, "done"), Finish(2, BOT, "done")])
    store.close()
    store = open_sqlite(path)
    assert accept(store, 3) == [3]
    store.close()


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


def test_a_newer_schema_is_refused(path):
    """It is left alone, and both versions are named."""
    open_sqlite(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreRefusedError, match="has schema 99 of a newer trioworkers, this one knows 1"):
        open_sqlite(path)
    assert path.read_bytes() == before


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


def test_no_hot_statement_scans_a_table(store, monkeypatch):
    """Whatever the tables hold, a commit, a read and a round of forgetting touch their own rows only."""
    plans: dict[str, str] = {}
    execute = store._execute

    def explain(statement, values=()):
        if statement.split()[0] in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"):
            plan = store._connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
            plans.update({detail: statement[:60] for *_, detail in plan})
        return execute(statement, values)

    monkeypatch.setattr(store, "_execute", explain)
    accept(store, *range(1000))
    store.commit(
        [Finish(id_, BOT, "done") for id_ in range(1, 600)]
        + [Reschedule(700, BOT, 1, 1.0, 1.0, ""), Bury(701, BOT, "1", 1, "", 1.0)]
    )
    ids(store)
    ids(store, until=900)
    ids(store, until=900, key="1")
    store.forget(1e9, 600)
    assert any(plan.startswith("SEARCH seen USING PRIMARY KEY") for plan in plans)
    assert any(plan.startswith("SEARCH inbox USING INDEX inbox_by_key") for plan in plans)
    assert [
        (plan, plans[plan])
        for plan in plans
        if plan.startswith(("SCAN seen", "SCAN inbox", "SCAN dead")) or "TEMP B-TREE" in plan
    ] == []


# -- against a model ----------------------------------------------------------------------------


class StoreMachine(RuleBasedStateMachine):
    """Any sequence of batches, failures and reopenings, beside the simplest thing that could be right."""

    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "inbox.db"
        self.store = open_sqlite(self.path, durability="normal")
        self.born = {}  # id → (bot, key), of all that ever were
        self.known = set()
        self.waits = {}
        self.counts = defaultdict(Counter)

    def teardown(self):
        self.store.close()
        self.folder.cleanup()

    @rule(
        accepts=st.lists(
            st.tuples(st.sampled_from([1, 2]), st.integers(0, 30), st.sampled_from("ab")), max_size=6
        ),
        ends=st.lists(
            st.tuples(st.sampled_from(["done", "dropped", "again", "bury"]), st.integers(1, 40)), max_size=6
        ),
        works=st.sampled_from([True, True, True, False]),
    )
    def commit(self, accepts, ends, works):
        ends = [(how, id_) for how, id_ in ends if id_ in self.born]
        batch = [Accept(bot, number, key, b"{}", 1.0) for bot, number, key in accepts]
        batch += [self.operation(how, id_) for how, id_ in ends]
        if works:
            assert self.store.commit(batch) == self.expected(accepts) + [None] * len(ends)
            self.expect_ends(ends)
            return
        self.store._connection.execute(
            "CREATE TEMP TRIGGER fault BEFORE INSERT ON main.tally BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )
        with suppress(StoreError):  # a batch that changes nothing writes no tally
            self.store.commit(batch)
        self.store._connection.execute("DROP TRIGGER fault")

    def operation(self, how, id_):
        bot, key = self.born[id_]
        if how == "again":
            return Reschedule(id_, bot, 1, 2.0, 1.0, "")
        return Bury(id_, bot, key, 1, "no", 1.0) if how == "bury" else Finish(id_, bot, how)

    def expected(self, accepts):
        """Accept in the model; the results."""
        results: list[int | None] = []
        for bot, number, key in accepts:
            self.counts[bot]["duplicates" if (bot, number) in self.known else "accepted"] += 1
            if (bot, number) in self.known:
                results.append(None)
                continue
            self.known.add((bot, number))
            id_ = len(self.born) + 1
            self.born[id_] = (bot, key)
            self.waits[id_] = (number, key, 0, False)
            results.append(id_)
        return results

    def expect_ends(self, ends):
        """End in the model; in one batch finishing comes first, burying last."""
        for kinds in (("done", "dropped"), ("again",), ("bury",)):
            for how, id_ in ends:
                if how not in kinds or id_ not in self.waits:
                    continue
                bot, key = self.born[id_]
                number, _, _, gap = self.waits[id_]
                self.counts[bot][{"again": "retried", "bury": "dead"}.get(how, how)] += 1
                if how == "again":
                    self.waits[id_] = (number, key, 1, gap)
                    continue
                del self.waits[id_]
                following = [other for other in sorted(self.waits) if self.born[other] == (bot, key)]
                if how == "bury" and following:
                    self.waits[following[0]] = (*self.waits[following[0]][:3], True)

    @rule()
    def reopen(self):
        self.store.close()
        self.store = open_sqlite(self.path, durability="normal")

    @rule()
    def reopen_without_closing(self):
        abandoned, self.store = self.store, open_sqlite(self.path, durability="normal")
        abandoned.close()

    @invariant()
    def what_waits_is_what_should(self):
        for bot in (1, 2):
            assert [
                (w.id, (w.update_id, w.key, w.attempt, w.after_gap))
                for w in self.store.waiting(bot, after=0, limit=1000)
            ] == [(id_, self.waits[id_]) for id_ in sorted(self.waits) if self.born[id_][0] == bot]

    @invariant()
    def the_tally_adds_up(self):
        tallies = self.store.tallies()
        for bot in (1, 2):
            tally = tallies.get(bot, Tally())
            assert tally.accepted == tally.done + tally.dropped + tally.dead + tally.pending
            expected = {name: count for name, count in self.counts[bot].items() if count}
            told = {name: count for name, count in asdict(tally).items() if count and name != "pending"}
            assert told == expected


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
"""`accepted = done + dropped + dead + pending`, and every row is where the model has it."""
