"""A store that is copied into another kind, and back: the same in every row, or an error says what is not."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from postgres_server import needs_postgres, postgres_server

from trioworkers.inbox import copying
from trioworkers.inbox.copying import TABLES, copy_store
from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.postgres.alone import Alone
from trioworkers.inbox.postgres.copied import PostgresTables
from trioworkers.inbox.postgres.store import postgres_store
from trioworkers.inbox.sqlite.copied import SqliteTables
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
    StoreError,
    StoreRefusedError,
    StoreTakenError,
)
from trioworkers.records import Attempt, Once
from trioworkers.stores import tables_of

if TYPE_CHECKING:
    from pathlib import Path

BOT, OTHER = 7_000_000_001, 7_000_000_002


@pytest.fixture(autouse=True)
def _server_is_there(monkeypatch):
    needs_postgres()
    monkeypatch.setattr(copying, "PAGE", 3)
    monkeypatch.setattr("trioworkers.inbox.postgres.alone.PATIENCE", 0.1)


@pytest.fixture
def url():
    """The address of an empty database."""
    return postgres_server().admin(postgres_server().database())


def fill(path):
    """An inbox with rows of every kind, some of them odd."""
    store = open_sqlite(path, durability="normal")
    for number in range(1, 12):
        once = (Once(f"k\0{number}\u2028", 30.0 + number / 3),)
        key = ["-100/7", "", "b\0c", "ü"][number % 4]
        store.commit([Accept(BOT, number, key, b"\x00\xff%d" % number, 1e9 + number / 7, "message", once)])
    store.commit([Accept(OTHER, 2**62, "a", b"", 0.1), Filter(OTHER, 5, 2.0), Accept(BOT, 1, "a", b"", 3.0)])
    waiting = {one.id: one for one in store.waiting(BOT, Fetch(0, 99)).updates}
    store.commit(
        [
            *(BeginCall(id_, "sendMessage 1 1", 5.5) for id_ in (1, 2, 3)),
            EndCall(1, "sendMessage 1 1", b'{"ok":true}'),
            Reschedule(
                replace(waiting[2], attempt=3, due=1e9 + 0.1, started_at=7.25, suspect=True, crashes=1),
                Attempt(5.0, 'Value"Error\0\n', ("sendMessage 1",)),
            ),
            Reschedule(replace(waiting[3], attempt=1, skipped=True), Attempt(6.0, "KeyError")),
            Finish(4, BOT, "done"),
            Finish(5, BOT, "expired"),
            MoveToDead(6, BOT, "b\0c", 2, "no\0 use", 9.0, Attempt(8.0, "TypeError")),
            MoveToDead(7, BOT, "ü", 0, "damaged", 9.5),
            MoveToDead(8, BOT, "-100/7", 0, "replayed", 9.5),
            *(PutValue(plugin, f"k\0{n}", bytes([n]), n * 1.5 if n % 2 else None, ANY, 1.0)
              for plugin in ("handoff", "Z") for n in range(4)),
        ]
    )  # fmt: skip
    store.commit([Replay(8, BOT), Accept(OTHER, 6, "gap", b"", 1.0)])
    (last,) = [one for one in store.waiting(OTHER, Fetch(0, 9)).updates if one.key == "gap"]
    store.commit([MoveToDead(last.id, OTHER, "gap", 1, "no use", 9.0)])
    store.close()


def everything(tables):
    """All rows of all tables, and the last id."""
    return {table.name: list(copying._pages(tables, table)) for table in TABLES}, tables.last_id()


def copied(source, target, progress=lambda table, rows: None):
    """Copy from one place to another, both as `tables_of` takes them, and return what is in the target."""
    with closing(tables_of(*source)) as one, closing(tables_of(*target)) as other:
        contents = copy_store(one, other, progress)
        found = everything(other)
        assert everything(one) == found
    return contents, found


def test_a_round_trip_changes_nothing(tmp_path: Path, url: str) -> None:
    """From SQLite to PostgreSQL and into a new file: each row is the same, and stores read the same."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    fill(tmp_path / "a" / "inbox.db")
    seen: dict[str, int] = {}
    contents, there = copied(("sqlite", tmp_path / "a"), (url, tmp_path), seen.__setitem__)
    assert seen == {name: one.rows for name, one in contents.items() if one.rows}
    assert {name for name, rows in there[0].items() if rows} == {table.name for table in TABLES}
    _, back = copied((url, tmp_path), ("sqlite", tmp_path / "b"))
    assert back == there

    def shown(store: Any) -> Any:
        with closing(store):
            updates = [store.waiting(bot, Fetch(0, 99)).updates for bot in (BOT, OTHER)]
            letters = store.dead(limit=99)
            ids = [one.id for one in (*updates[0], *updates[1], *letters)]
            values = [store.values(plugin, "", "", 99, 1.0) for plugin in ("handoff", "Z", "fleet")]
            once = store.commit([Accept(BOT, 99, "a", b"", 1e9, once=(Once("k\0" + "3\u2028", 99.0),))])
            (kept,) = store.commit([Accept(BOT, 100, "b\0c", b"", 2.0)])
            calls = [store.calls(id_) for id_ in ids]
            # ids of texts with NUL differ by it alone
            return str((updates, letters, calls, values, once, kept)).replace("\\x00", "\ufffd"), kept.id

    server, ours = postgres_store(url, Alone()), open_sqlite(tmp_path / "b" / "inbox.db")
    server.open()
    text, id_ = shown(server)
    assert (text, id_) == shown(ours)
    assert id_ > max(row[0] for page in there[0]["inbox"] for row in page)


def test_a_copy_may_be_repeated(tmp_path: Path, url: str) -> None:
    """What is complete is left as it is; a target that has changed since is refused, and left alone."""
    fill(tmp_path / "inbox.db")
    source, target = ("sqlite", tmp_path), (url, tmp_path)
    first = copied(source, target)
    pages: list[object] = []
    assert copied(source, target, lambda *page: pages.append(page)) == first
    assert pages == []
    store = postgres_store(url, Alone())
    with closing(store):
        store.open()
        assert isinstance(store.commit([Accept(BOT, 777, "a", b"", 1.0)])[0], Kept)
    with pytest.raises(
        StoreRefusedError, match=r"the target is in use, with 9 rows in inbox, .* an empty one"
    ):
        copied(source, target)


@pytest.mark.parametrize("back", [False, True])
def test_a_copy_that_was_interrupted_begins_anew(tmp_path: Path, url: str, back: bool) -> None:
    """At each page in turn; the mark tells a half from a whole, and goes with the last one."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    fill(tmp_path / "a" / "inbox.db")
    source, target = ("sqlite", tmp_path / "a"), (url, tmp_path)
    if back:
        copied(source, target)
        source, target = target, ("sqlite", tmp_path / "b")
    left = 1

    def interrupt(table: str, rows: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    for pages in range(1, 100):
        left = pages
        try:
            copied(source, target, interrupt)
        except KeyboardInterrupt:
            with closing(tables_of(*target)) as tables:
                assert tables.is_marked()
        else:
            break
    assert pages > 10
    with closing(tables_of(*target)) as tables:
        assert not tables.is_marked()


def test_a_copy_that_is_not_the_same_is_found_out(tmp_path: Path, url: str, monkeypatch) -> None:
    """A row that got lost, or another byte: the target stays marked, and is not to be used."""
    fill(tmp_path / "inbox.db")
    with closing(tables_of("sqlite", tmp_path)) as one, closing(tables_of(url, tmp_path)) as other:
        write = other.write
        spoil = [
            lambda rows: rows[:-1],
            lambda rows: [(*row[:5], b"other", *row[6:]) if len(row) == 16 else row for row in rows],
        ]
        for spoiled in spoil:
            monkeypatch.setattr(other, "write", lambda table, rows, s=spoiled: write(table, s(rows)))
            with pytest.raises(
                StoreRefusedError, match=r"the copy of inbox is not the same: . rows, expected 8"
            ):
                copy_store(one, other, lambda *_: None)
            assert other.is_marked()


def test_a_database_that_a_daemon_uses_is_refused(tmp_path: Path, url: str) -> None:
    """As the source and as the target."""
    with closing(postgres_store(url, Alone())) as store:
        store.open()
        with pytest.raises(StoreTakenError, match="another daemon uses this database"):
            tables_of(url, tmp_path)
    tables_of(url, tmp_path).close()


def test_errors_are_the_stores(tmp_path: Path, url: str) -> None:
    """Of a full disk or a lost server, in words."""
    fill(tmp_path / "inbox.db")
    with closing(SqliteTables(tmp_path / "inbox.db")) as tables:
        tables._connection.execute("ALTER TABLE seen RENAME TO away")
        with pytest.raises(StoreError, match="the file of SQLite: no such table: seen"):
            everything(tables)
    with closing(tables_of(url, tmp_path)) as there:
        assert isinstance(there, PostgresTables)
        there._session.connection().execute("ALTER TABLE seen RENAME TO away")
        with pytest.raises(StoreError, match='the database: relation "seen" does not exist'):
            everything(there)
