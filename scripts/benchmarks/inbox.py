"""Accept and done per second with full durability, beside bare SQLite with the same commits.

The inbox: producers that each accept an update, take it and finish it, over and over, on one loop, with
the writer's thread behind it. Bare SQLite: one thread, one table of bodies, as many rows in each commit
as there are producers: the ceiling of this disk and this SQLite.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import trio

from trioworkers.daemon import SWITCH_INTERVAL
from trioworkers.inbox.inbox import Inbox, open_inbox
from trioworkers.inbox.sqlite import open_sqlite
from trioworkers.records import Arrival, read_update

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
CHATS = 30


def run(producers: list[int], seconds: float) -> None:
    """Print a line for each number of producers."""
    print(f"accept + done of updates of {len(BODY)} bytes, synchronous=FULL, SQLite {sqlite3.sqlite_version}")
    print(f"{'producers':>9}  {'inbox':>9}  {'bare SQLite':>11}  ratio")
    sys.setswitchinterval(SWITCH_INTERVAL)
    for count in producers:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            ours = trio.run(_inbox, Path(folder), count, seconds)
            bare = _bare(Path(folder), count, seconds)
        print(f"{count:>9}  {ours:>7,.0f}/s  {bare:>9,.0f}/s  {ours / bare:.2f}")


async def _inbox(folder: Path, producers: int, seconds: float) -> float:
    head = read_update(BODY)
    done = 0
    async with open_inbox(open_sqlite(folder / "inbox.db")) as inbox:
        backlogs = [inbox.backlog(bot_id) for bot_id in range(producers)]
        began = trio.current_time()

        async def produce(bot_id: int) -> None:
            nonlocal done
            number = 0
            while trio.current_time() - began < seconds:
                number += 1
                await _accept_and_finish(inbox, bot_id, number, head)
                done += 1

        async with trio.open_nursery() as nursery:
            for bot_id in range(producers):
                nursery.start_soon(produce, bot_id)
        while any(backlog.pending for backlog in backlogs):
            await trio.sleep(0.001)
        return done / (trio.current_time() - began)


async def _accept_and_finish(inbox: Inbox, bot_id: int, number: int, head: Arrival) -> None:
    arrival = msgspec.structs.replace(head, update_id=number, key=str(number % CHATS))
    await inbox.accept(bot_id, [arrival])
    update = inbox.backlog(bot_id).take()
    assert update is not None
    inbox.backlog(bot_id).finish(update, "done")


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
