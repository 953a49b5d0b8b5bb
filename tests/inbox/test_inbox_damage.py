"""A damaged file: put aside as it is, replaced by what can be read, and told."""

from __future__ import annotations

import os
import sqlite3
import zlib
from contextlib import closing
from typing import Any

import pytest
import trio

from trioworkers.breakage import Breakage
from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite import damage as damage_module
from trioworkers.inbox.sqlite.file import open_file
from trioworkers.inbox.sqlite.salvage import readable
from trioworkers.inbox.sqlite.schema import SCHEMA_VERSION, STEPS
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import (
    ANY,
    Accept,
    BeginCall,
    EndCall,
    Filter,
    Finish,
    Kept,
    MoveToDead,
    PutValue,
    Replay,
    Reschedule,
    StoreDamagedError,
    StoreError,
    StoreRefusedError,
)
from trioworkers.records import Arrival, Attempt, Once

BOT, OTHER = 7_000_000_001, 7_000_000_002
PAGE = 4096
UPDATES = 800  # of each bot
FILTERED_UPDATES = 150
VALUES = 300


def body(number):
    """Some of them need pages of their own."""
    return b'{"update_id":%d,"text":"%s"}' % (number, b"x" * (9000 if number % 50 == 0 else 300))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "inbox.db"


@pytest.fixture
def whole(path):
    """A file with something in every table; what was in it, by table and key."""
    store = open_sqlite(path)
    for bot in (BOT, OTHER):
        store.commit([Accept(bot, n, str(n % 20), body(n), 1.0) for n in range(UPDATES)])
    store.commit([Finish(id_, BOT, "done") for id_ in range(1, 201)])
    store.commit([MoveToDead(id_, BOT, str((id_ - 1) % 20), 1, "no", 2.0) for id_ in range(201, 401)])
    store.commit([BeginCall(id_, "sendMessage 1 1", 1.0) for id_ in range(401, 501)])
    store.commit([EndCall(id_, "sendMessage 1 1", b'{"message_id":1}') for id_ in range(401, 501)])
    update = store.waiting(BOT, Fetch(after=500, limit=1)).updates[0]
    store.commit([Reschedule(update, Attempt(1.0, "ValueError"))])
    store.commit([Accept(OTHER, UPDATES, "alone", b"{}", 1.0)])
    store.commit([MoveToDead(2 * UPDATES + 1, OTHER, "alone", 1, "no", 2.0)])
    once = [(Once(f"{n} {'x' * 90}", 30.0), Once(f"another {n}", 60.0)) for n in range(FILTERED_UPDATES)]
    for n, keys in enumerate(once, UPDATES + 1):
        (kept,) = store.commit([Accept(OTHER, n, "once", b"{}", 1.0, once=keys)])
        assert isinstance(kept, Kept)
        store.commit([Finish(kept.id, OTHER, "done"), Filter(BOT, n, 1.0)])
    store.commit([PutValue("p", f"{n} {'x' * 90}", b"x" * 300, 30.0, ANY, 1.0) for n in range(VALUES)])
    before = contents(store)
    store.close()
    return before


def contents(store):
    return {
        table: {row[:keys]: row for row in store._execute(f"SELECT * FROM {table}").fetchall()}
        for table, keys in (
            ("inbox", 1),
            ("dead", 1),
            ("tally", 1),
            ("seen", 2),
            ("gaps", 2),
            ("calls", 2),
            ("once", 2),
            ("plugin_values", 1),
        )
    }


def overwrite(path, *pages, content=b"\xa5" * PAGE):
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * PAGE)
            file.write(content)


def pages_of(path, *names):
    """The first pages of tables and indexes."""
    with sqlite3.connect(path) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_schema"))
    connection.close()
    return [roots[name] for name in names]


def reopen(path):
    """Open it, and read everything; when damage is found on the way, open it again. What was told."""
    told: list[Any] = []
    store = open_file(path, damaged=told.append)
    try:
        for bot in (BOT, OTHER):
            store.waiting(bot, Fetch(after=0, limit=10**6))
        store.dead(limit=10**6)
        store.tallies()
    except StoreDamagedError:
        store.close()
        store = open_file(path, damaged=told.append)
    assert len(told) <= 1
    return store, told[0] if told else None


def assert_usable(store):
    """SQLite and the tallies agree that it is whole; a new update gets an id that was never given."""
    assert store._execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for bot, tally in store.tallies().items():
        ends = tally.done + tally.dropped + tally.expired + tally.dead + tally.purged
        assert tally.accepted == ends + tally.pending, bot
    (kept,) = store.commit([Accept(BOT, 10**6, "new", b"{}", 3.0)])
    assert kept.id > 2 * UPDATES + 1
    store.close()


def header(path):
    overwrite(path, 1, content=bytes(100))


def first_page(path):
    overwrite(path, 1)


def list_of_tables(path):
    with path.open("r+b") as file:
        file.seek(108)
        file.write(b"\xff" * 3500)


def root_of_inbox(path):
    overwrite(path, *pages_of(path, "inbox"))


def root_of_inbox_and_dead(path):
    overwrite(path, *pages_of(path, "inbox", "dead"))


def indexes(path):
    overwrite(path, *pages_of(path, "inbox_by_key", "inbox_by_bot", "dead_by_bot", "dead_by_time"))


@pytest.mark.parametrize(
    "ruin", [header, first_page, list_of_tables, root_of_inbox, root_of_inbox_and_dead, indexes]
)
def test_nothing_is_lost_with_a_page_that_holds_no_rows(path, whole, ruin):
    """Header, list of tables, indexes, and what leads to the rows: every row is taken over as it was."""
    ruin(path)
    damaged = path.read_bytes()
    told: list[Any] = []
    with closing(sqlite3.connect(path)):  # another process that has the file open
        store, damage = reopen(path)
    if ruin is indexes and damage is None:  # nobody asked them
        store.close()
        path.with_name("inbox.db.damaged").write_text("20260101T000000Z\ntest\n")
        store = open_file(path, damaged=told.append)
        damage = told[0]
    assert contents(store) == whole
    assert damage.lost == 0
    assert damage.recovered["inbox"] == len(whole["inbox"])
    assert damage.moved_to.read_bytes() == damaged
    assert_usable(store)


def leaves(path, table):
    """The pages with rows of a table, as its own first page lists them, two levels deep."""
    data = path.read_bytes()
    found, pages = [], pages_of(path, table)
    while pages:
        number = pages.pop()
        page = data[(number - 1) * PAGE : number * PAGE]
        if page[0] == 0x0D:
            found.append(number)
            continue
        cells = int.from_bytes(page[3:5], "big")
        offsets = [int.from_bytes(page[12 + 2 * n : 14 + 2 * n], "big") for n in range(cells)]
        pages += [int.from_bytes(page[at : at + 4], "big") for at in offsets]
        pages.append(int.from_bytes(page[8:12], "big"))
    return sorted(found)


@pytest.mark.parametrize("every", [2, 7, 40])
def test_only_what_stood_on_ruined_pages_is_lost(path, whole, every):
    """Rows between are taken over as they were; what is lost is counted, and its chats get a gap."""
    overwrite(path, *leaves(path, "inbox")[every // 2 :: every])
    store, damage = reopen(path)
    now = contents(store)
    assert set(now["inbox"]) < set(whole["inbox"])
    missing = set(whole["inbox"]) - set(now["inbox"])
    assert damage.lost == len(missing)
    for table in ("dead", "seen"):
        assert now[table] == whole[table]
    calls = {key: row for key, row in whole["calls"].items() if (key[0],) not in missing}
    assert now["calls"] == calls
    after_gap = {id_ for (id_,), row in now["inbox"].items() if row[11]}
    for (id_,) in missing:
        bot, key = whole["inbox"][(id_,)][1], whole["inbox"][(id_,)][3]
        following = [n for (n,), row in now["inbox"].items() if (row[1], row[3]) == (bot, key) and n > id_]
        if following:
            assert min(following) in after_gap
        else:
            assert (bot, key) in now["gaps"]
    assert_usable(store)


@pytest.mark.parametrize("part", [0.25, 0.5, 0.9])
def test_a_file_that_was_cut_gives_what_is_left(path, whole, part):
    """Rows before the cut are found even where what led to them is gone; none comes back from the dead."""
    os.truncate(path, int(path.stat().st_size * part) // PAGE * PAGE)
    store, damage = reopen(path)
    now = contents(store)
    assert damage is not None
    for table in ("inbox", "dead"):
        for id_, row in now[table].items():
            assert row[:9] == whole[table][id_][:9]
    assert len(now["inbox"]) + len(now["dead"]) > 0
    assert_usable(store)


def test_what_is_no_database_is_put_aside(path):
    """Nothing can be read of it; it is still there, and the inbox begins anew."""
    path.write_bytes(os.urandom(50_000))
    store, damage = reopen(path)
    assert damage.recovered["inbox"] == 0
    assert damage.moved_to.stat().st_size == 50_000
    store.commit([Accept(BOT, 1, "1", b"{}", 1.0)])
    store.close()


@pytest.mark.parametrize("ruined", [False, True])
def test_another_programs_database_is_left_alone(path, tmp_path, ruined):
    """Whole or damaged: it is refused, not a byte of it changed, and nothing is left beside it."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (what TEXT)")
        connection.executemany("INSERT INTO theirs VALUES (?)", [("x" * 500,)] * 100)
    connection.close()
    if ruined:
        overwrite(path, 2, 3)
        with path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xff" * 200)
    before = path.read_bytes()
    with pytest.raises(StoreRefusedError, match="another program"):
        open_file(path)
    assert path.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} <= {"inbox.db", "inbox.db.ballast"}


def test_a_newer_versions_file_is_left_alone_even_when_damaged(path, whole):
    """What this version does not know it cannot take over."""
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    list_of_tables(path)
    before = path.read_bytes()
    with pytest.raises(StoreRefusedError, match="newer"):
        open_file(path)
    assert path.read_bytes() == before


def test_an_earlier_versions_damaged_file_is_taken_over(path):
    """What its tables have in common with ours comes along."""
    with sqlite3.connect(path) as connection:
        connection.executescript(
            f"PRAGMA auto_vacuum = INCREMENTAL; {STEPS[0]}"
            " PRAGMA application_id = 0x74726977; PRAGMA user_version = 1"
        )
        connection.executemany(
            "INSERT INTO inbox (bot_id, update_id, key, kind, body, checksum, accepted_at)"
            " VALUES (?, ?, 'a', 'message', ?, ?, 1.0)",
            [(BOT, n, body(n), zlib.crc32(body(n))) for n in range(500)],
        )
    connection.close()
    overwrite(path, *leaves(path, "inbox")[1::3])
    path.with_name("inbox.db.damaged").write_text("20260101T000000Z\ntest\n")
    store, damage = reopen(path)
    assert 0 < damage.recovered["inbox"] < 500
    assert damage.recovered["inbox"] + damage.lost == 500
    waiting = store.waiting(BOT, Fetch(after=0, limit=1000)).updates
    assert all(update.body == body(update.update_id) for update in waiting)
    store.close()


def test_a_file_that_was_not_closed_is_checked(path, whole):
    """After a kill the tables are walked before anything is written; after a farewell they are not."""
    page = leaves(path, "inbox")[3]
    told: list[Any] = []
    overwrite(path, page)
    open_file(path, damaged=told.append).close()
    assert told == []
    survivor = open_sqlite(path)
    survivor.commit([Accept(OTHER, 77_777, "1", b"{}", 1.0)])  # and its process is killed now
    store = open_file(path, damaged=told.append)
    assert len(told) == 1
    assert "not whole" in told[0].reason
    assert [u.update_id for u in store.waiting(OTHER, Fetch(after=0, limit=10**5)).updates][-1] == 77_777
    store.close()
    survivor.close()


@pytest.mark.parametrize("ruined", [True, False])
def test_a_journal_that_is_broken_in_the_midst_is_told(path, whole, tmp_path, ruined):
    """SQLite ends at the break and says nothing; one that is torn at its end is no damage."""
    store = open_sqlite(path)
    for number in range(20):
        store.commit([Accept(OTHER, 77_000 + number, "1", b"{}", 1.0)])
    killed = tmp_path / "killed"
    killed.mkdir()
    for suffix in ("", "-wal"):
        (killed / f"inbox.db{suffix}").write_bytes(path.with_name(f"inbox.db{suffix}").read_bytes())
    store.close()
    journal = killed / "inbox.db-wal"
    size = journal.stat().st_size
    with journal.open("r+b") as file:
        file.seek(size // 2 if ruined else size - 100)
        file.write(b"\xa5" * 8)
    told: list[Any] = []
    store = open_file(killed / "inbox.db", damaged=told.append)
    assert [damage.reason.rpartition(": ")[2] for damage in told] == (
        ["its journal is broken in the midst"] if ruined else []
    )
    assert set(whole["inbox"]) <= set(contents(store)["inbox"])
    assert_usable(store)


@pytest.mark.parametrize("fails_at", range(1, 13))
def test_a_replacement_that_is_broken_off_is_ended_by_the_next_start(path, whole, fails_at, monkeypatch):
    """At whatever step the process dies, nothing is lost and nothing taken over twice."""
    overwrite(path, *leaves(path, "inbox")[::9])
    store, _ = reopen(path)  # what an undisturbed one gives
    expected = contents(store)
    store.close()
    damaged = next(p for p in path.parent.glob("*.damaged-*") if not p.name.endswith(("-wal", "-shm")))
    for file in path.parent.iterdir():
        if file != damaged:
            file.unlink()
    damaged.rename(path)
    steps = 0

    class DiedError(BaseException):
        pass

    def counted(function):
        def step(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps == fails_at:
                raise DiedError
            return function(*args, **kwargs)

        return step

    told: list[Any] = []
    with monkeypatch.context() as patch:
        for name in ("sync", "_move", "_remove", "_take_over"):
            patch.setattr(damage_module, name, counted(getattr(damage_module, name)))
        try:
            damage_module.mend(path, "test")
        except DiedError:
            pass
        else:
            assert fails_at > steps
    begun = damage_module.is_marked(path) or fails_at == 1
    store = open_file(path, damaged=told.append)
    assert contents(store) == expected
    assert len(told) == begun
    assert not damage_module.is_marked(path)
    assert not list(path.parent.glob("*mending*"))
    assert_usable(store)


async def test_damage_while_running_ends_the_inbox(path, whole, tmp_path):
    """Nothing more is written, what runs inside is cancelled, why is told; the next start takes over."""
    heard: list[Any] = []
    told: list[Any] = []

    async def run():
        async with open_inbox(open_file(path), trouble=heard.append) as inbox:
            overwrite(path, *leaves(path, "inbox"))
            inbox.claim(BOT, Breakage())
            await trio.sleep_forever()

    with trio.fail_after(30), pytest.raises(ExceptionGroup) as raised:
        await run()
    assert isinstance(raised.value.exceptions[0], StoreDamagedError)
    assert isinstance(heard[0], StoreDamagedError)
    assert (tmp_path / "inbox.db.damaged").exists()
    store = open_file(path, damaged=told.append)
    assert told[0].reason == str(heard[0])
    assert told[0].lost == len(whole["inbox"])
    assert contents(store)["seen"] == whole["seen"]
    assert_usable(store)


async def test_who_waits_for_a_damaged_store_is_told(path, whole):
    """An accept is refused with the reason; an acknowledgement is not taken for written."""

    async def run():
        store = open_file(path)
        async with open_inbox(store) as inbox:
            store._guard._condemn("test")
            with pytest.raises(StoreDamagedError, match="test"):
                await inbox.accept(BOT, [Arrival(10**6, "message", "1", None, None, b"{}")])
            await trio.sleep_forever()

    with trio.fail_after(30), pytest.raises(ExceptionGroup):
        await run()


def test_a_damaged_store_does_nothing_any_more(path, whole):
    """Neither writes nor reads reach the file once damage was found."""
    store = open_file(path)
    store._guard._condemn("test")
    for attempt in (
        lambda: store.commit([Finish(1, BOT, "done")]),
        lambda: store.commit([Replay(201, BOT)]),
        lambda: store.waiting(BOT, Fetch(after=0, limit=1)),
        store.tallies,
        store.tend,
    ):
        with pytest.raises(StoreDamagedError, match="test"):
            attempt()
    store.close()


def test_a_number_that_no_id_can_be_is_no_damage(path, whole, tmp_path):
    """Whoever asks for it is refused; the file is as good as before."""
    store = open_file(path)
    with pytest.raises(StoreError, match="64 bits"):
        store.dead(ids=[10**30], limit=1)
    assert len(store.dead(ids=[201], limit=1)) == 1
    assert not (tmp_path / "inbox.db.damaged").exists()
    store.close()


@pytest.mark.parametrize("column", ["key", "kind"])
def test_a_text_that_cannot_be_read_is_damage_and_not_quoted(path, whole, column):
    """Its bytes stand in no message: they are somebody's data."""
    store = open_file(path)
    store._execute(f"UPDATE inbox SET {column} = CAST(x'ff736563726574' AS TEXT) WHERE id = 700")
    with pytest.raises(StoreDamagedError) as raised:
        store.waiting(BOT, Fetch(after=0, limit=10**6))
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None
    store.close()
    told: list[Any] = []
    store = open_file(path, damaged=told.append)
    assert told[0].lost == 0
    assert len(store.waiting(BOT, Fetch(after=0, limit=10**6)).updates) == UPDATES - 400
    store.close()


def test_a_log_of_attempts_that_cannot_be_read_holds_nobody_up(path, whole):
    """The update can still be retried; as a dead letter it is damage, and the letter survives it."""
    store = open_file(path)
    store._execute("UPDATE inbox SET history = '[[' WHERE id = 700")
    store._execute("UPDATE dead SET history = '[[' WHERE id = 201")
    update = store.waiting(BOT, Fetch(after=699, limit=1)).updates[0]
    store.commit([Reschedule(update, Attempt(2.0, "KeyError"))])
    with pytest.raises(StoreDamagedError):
        store.dead(limit=1000)
    store.close()
    told: list[Any] = []
    store = open_file(path, damaged=told.append)
    assert [letter.history for letter in store.dead(ids=[201], limit=1)] == [()]
    assert told[0].lost == 0
    assert_usable(store)


def test_every_inbox_has_its_tables_at_the_same_pages(tmp_path):
    """A file that came from an earlier version is led by the first page of a new one, too."""
    roots = []
    for first in range(len(STEPS) + 1):
        path = tmp_path / f"{first}.db"
        if first:
            with sqlite3.connect(path) as connection:
                connection.executescript(
                    f"PRAGMA auto_vacuum = INCREMENTAL; {''.join(STEPS[:first])}"
                    f" PRAGMA application_id = 0x74726977; PRAGMA user_version = {first}"
                )
                connection.execute("INSERT INTO seen VALUES (1, 1, 1.0)")
            connection.close()
        open_file(path).close()
        with sqlite3.connect(path) as connection:
            roots.append(
                connection.execute("SELECT name, rootpage FROM sqlite_schema ORDER BY name").fetchall()
            )
        connection.close()
    assert roots[1:] == roots[:-1]


class Tangled:
    """A table that a damaged tree leads through in a circle: keys that are garbage, and then an error."""

    def __init__(self, *keys: object) -> None:
        self.keys = keys
        self.asked = 0

    def execute(self, query: str, values: Any) -> Any:
        self.asked += 1
        assert self.asked < 1000
        rows = [(key, key) for key in self.keys if not isinstance(key, int) or key > values[0] or key == 0]
        if query.endswith("LIMIT 1"):
            return iter_rows(rows[:1])
        return self.fail_after(rows)

    def fail_after(self, rows: Any) -> Any:
        yield from rows
        raise sqlite3.DatabaseError


def iter_rows(rows: Any) -> Any:
    class Cursor:
        def fetchone(self) -> Any:
            return rows[0] if rows else None

    return Cursor()


@pytest.mark.parametrize("keys", [(0,), (5, 0), (5, 0, 2**63 - 1), (None, 3), ("x", 7, b"y"), (5, 6, 2**62)])
def test_reading_a_tangled_table_ends(keys):
    """Whatever its keys are, and however often they come round again."""
    found = set()
    for (value,) in readable(Tangled(*keys), "SELECT", ()):  # type: ignore[arg-type]
        found.add(value)
    assert found <= set(keys)
