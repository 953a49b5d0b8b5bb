"""How PostgreSQL looks rows up where its statistics are of another time: it never reads a whole index."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import psycopg
import pytest
from postgres_server import needs_postgres, postgres_server

from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.postgres.alone import Alone
from trioworkers.inbox.postgres.store import PostgresStore, postgres_store
from trioworkers.inbox.store import (
    Accept,
    BeginCall,
    EndCall,
    Finish,
    Kept,
    MoveToDead,
    Purge,
    Replay,
    Reschedule,
)
from trioworkers.records import Attempt, Once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BOT = 7_000_000_001
FAILED = Attempt(1.0, "no")
FIRST = {  # the first column of each index
    "inbox_pkey": "id",
    "inbox_by_bot": "bot_id",
    "inbox_by_key": "bot_id",
    "dead_pkey": "id",
    "dead_by_bot": "bot_id",
    "dead_by_time": "died_at",
    "calls_pkey": "id",
    "once_pkey": "bot_id",
    "once_by_time": "until",
    "seen_pkey": "bot_id",
    "gaps_pkey": "bot_id",
    "delta_by_batch": "node",
    "mark_pkey": "node",
    "tally_pkey": "bot_id",
    "plugin_values_pkey": "plugin",
}
SCAN = re.compile(r"(?:Scan using|Bitmap Index Scan on) (\w+)[^\n]*\n\s*(?:Index Cond: (.*))?")


@pytest.fixture
def url() -> str:
    needs_postgres()
    return postgres_server().admin(postgres_server().database())


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    with closing(postgres_store(url, Alone())) as store:
        store.open()
        yield store


def accepted(store: PostgresStore, first: int) -> list[int]:
    """The ids of a hundred updates that are new."""
    operations = [
        Accept(BOT, number, f"{number % 10}", b"{}", 1.0, once=(Once(f"{number}", 9.0),))
        for number in range(first, first + 100)
    ]
    return [kept.id for kept in store.commit(operations) if isinstance(kept, Kept)]


def used(store: PostgresStore, ids: Sequence[int]) -> None:
    """Everything that is done with updates, which are gone in the end."""
    store.commit([BeginCall(id_, "c", 1.0) for id_ in ids])
    store.commit([EndCall(id_, "c", b"{}") for id_ in ids] + [EndCall(ids[0], "c", None)])
    for fetch in (Fetch(0, 9), Fetch(0, 9, most=50), Fetch(0, 9, key="3"), Fetch(0, 9, without=("3",))):
        page = store.waiting(BOT, fetch)
        assert len(page.updates) == 9
    store.calls(ids[0])
    assert len(store.recorded([(id_, "c") for id_ in ids])) == len(ids)
    again = msgspec.structs.replace(page.updates[0], attempt=1)
    store.commit([Reschedule(again, FAILED)])
    store.commit([MoveToDead(id_, BOT, "k", 1, "no", 1.0) for id_ in ids[40:60]])
    assert len(store.dead(bot_id=BOT, limit=99)) == len(store.dead(ids=ids, limit=99)) == 20
    (replayed,) = store.commit([Replay(ids[40], BOT)])
    assert isinstance(replayed, Kept)
    store.commit([Purge(id_, BOT) for id_ in ids[41:60]])
    store.commit([Finish(id_, BOT, "done") for id_ in [*ids[:40], *ids[60:], replayed.id]])
    store.news({BOT: ids[0]})
    store.tend()
    store.forget_keys(99.0, 1000)


def test_an_index_is_never_read_to_its_end(store: PostgresStore, url: str) -> None:
    """Each use of one names its first column, though all tables were empty when they were analysed.

    Their pages could not be given back, as a snapshot was open: so the planner takes all of them for empty,
    however many rows come.
    """
    with psycopg.connect(url) as snapshot:
        snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        snapshot.execute("SELECT count(*) FROM trioworkers.inbox")
        used(store, accepted(store, 0))
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("VACUUM ANALYZE")
            found = admin.execute(
                "SELECT reltuples, relpages > 0 FROM pg_class WHERE relname = 'inbox'"
            ).fetchone()
            assert found == (0, True)
        connection = store._session.connection()
        plans: list[str] = []
        connection.add_notice_handler(lambda said: plans.append(said.message_primary or ""))
        connection.execute("LOAD 'auto_explain'", prepare=False)
        connection.execute(
            "SET auto_explain.log_min_duration = 0; SET auto_explain.log_level = 'notice'", prepare=False
        )
        used(store, accepted(store, 1000))
    scans = [scan for plan in plans for scan in SCAN.findall(plan)]
    assert {index for index, _ in scans} >= {"inbox_pkey", "inbox_by_bot", "calls_pkey", "delta_by_batch"}
    assert [(index, how) for index, how in scans if not re.match(rf"\(+(\w+\.)?{FIRST[index]}\b", how)] == []
