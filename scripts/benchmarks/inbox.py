"""Accept and done per second with full durability, beside what the store and SQLite do without a loop.

The inbox: producers that each accept an update, take it and finish it, over and over, on one loop, with
the writer's thread behind it. The store: the same tables and statements in one thread without a loop, as
many updates accepted in each commit as there are producers, and those before finished: the ceiling of
what the inbox promises. Bare SQLite: one table of bodies, as many rows: the ceiling of this disk.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
import tempfile
import time
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from trioworkers.arrivals import read_update
from trioworkers.breakage import Breakage
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import Accept, Finish, Kept
from trioworkers.run import COLLECT, SWITCH_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.inbox.backlog import Backlog
    from trioworkers.inbox.store import Store
    from trioworkers.records import Arrival

BODY = msgspec.json.encode(
    {
        "update_id": 1,
        "message": {
            "message_id": 1,
            "date": 1700000000,
            "chat": {"id": 1, "type": "private", "first_name": "Alice"},
            "from": {"id": 1, "is_bot": False, "first_name": "Alice", "language_code": "en"},
            "text": "x" * 400,
        },
    }
)
CHATS = 1000
BATCH = 16


def run(producers: list[int], bots: int, seconds: float) -> None:
    """Print a line for each number of producers, which share so many bots."""
    print(
        f"accept + done of updates of {len(BODY)} bytes, synchronous=FULL, SQLite {sqlite3.sqlite_version};"
    )
    print(f"{bots} bots of {CHATS} chats; each accept brings one update, or {BATCH} as a poll may")
    ratios = "ratios to the store"
    print(
        f"{'producers':>9}  {'alone':>9}  {f'by {BATCH}':>9}  {'the store':>9}  {'bare SQLite':>11}  {ratios}"
    )
    sys.setswitchinterval(SWITCH_INTERVAL)  # as the daemon does
    gc.freeze()
    gc.set_threshold(*COLLECT)
    for number in producers:
        ways: list[Callable[[Path], float]] = [
            partial(_run_inbox, producers=number, bots=bots, batch=1, seconds=seconds),
            partial(_run_inbox, producers=number, bots=bots, batch=BATCH, seconds=seconds),
            partial(_store, batch=number, bots=bots, seconds=seconds),
            partial(_bare, batch=number, seconds=seconds),
        ]
        alone, batched, store, bare = map(_in_folder, ways)
        shown = f"{number:>9}  {alone:>7,.0f}/s  {batched:>7,.0f}/s  {store:>7,.0f}/s  {bare:>9,.0f}/s"
        print(f"{shown}  {alone / store:.2f} {batched / store:.2f}", flush=True)


def _in_folder(measure: Callable[[Path], float]) -> float:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        return measure(Path(folder))


def _run_inbox(folder: Path, producers: int, bots: int, batch: int, seconds: float) -> float:
    return trio.run(measure_pairs, open_sqlite(folder / "inbox.db"), producers, bots, batch, seconds)


async def measure_pairs(
    store: Store, producers: int, bots: int | range, batch: int, seconds: float, first: int = 1
) -> float:
    """Return how many updates were accepted and finished per second, in a store, which this closes.

    `bots`: how many, or their ids. `first`: the number of the first update; updates of these numbers must not
    have come before.
    """
    ids = range(bots) if isinstance(bots, int) else bots
    head = read_update(BODY)
    numbers = count(first)
    done = 0
    async with open_inbox(store) as inbox:
        backlogs = [inbox.claim(bot_id, Breakage()) for bot_id in ids]
        began = trio.current_time()

        def arrive() -> Arrival:
            number = next(numbers)
            return msgspec.structs.replace(head, update_id=number, key=str(number % CHATS))

        async def produce(place: int) -> None:
            nonlocal done
            while trio.current_time() - began < seconds:
                await inbox.accept(ids[place], [arrive() for _ in range(batch)])
                finish(backlogs[place])
                done += batch

        def finish(backlog: Backlog) -> None:
            while update := backlog.ordinary.take():
                backlog.finish(update, "done")

        async with trio.open_nursery() as nursery:
            for producer in range(producers):
                nursery.start_soon(produce, producer % len(ids))
        while any(backlog.pending for backlog in backlogs):
            for backlog in backlogs:
                finish(backlog)
            await trio.sleep(0.001)
        return done / (trio.current_time() - began)


def _store(folder: Path, batch: int, bots: int, seconds: float) -> float:
    store = open_sqlite(folder / "inbox.db")
    numbers = count(1)
    finishes: list[Finish] = []
    done = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        accepts = [
            Accept(number % bots, number, str(number % CHATS), BODY, began)
            for number in islice(numbers, batch)
        ]
        results = store.commit([*finishes, *accepts])[len(finishes) :]
        finishes = [
            Finish(kept.id, accept.bot_id, "done")
            for accept, kept in zip(accepts, results, strict=True)
            if isinstance(kept, Kept)
        ]
        done += batch
    store.close()
    return done / (time.perf_counter() - began)


def _bare(folder: Path, batch: int, seconds: float) -> float:
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB)")
    insert = f"INSERT INTO bodies (id, body) VALUES {', '.join(['(?, ?)'] * batch)}"
    delete = f"DELETE FROM bodies WHERE id IN ({', '.join('?' * batch)})"
    done = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        ids = range(done, done + batch)
        for statement, values in (
            (insert, [value for id_ in ids for value in (id_, BODY)]),
            (delete, [*ids]),
        ):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(statement, values)
            connection.execute("COMMIT")
        done += batch
    connection.close()
    return done / (time.perf_counter() - began)
