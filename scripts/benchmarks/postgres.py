"""Accept and done per second on a PostgreSQL server of this machine, in turns with SQLite on the same disk.

PostgreSQL is measured as a daemon has it that has the database for itself, and as a node of a cluster has it.
With `--snapshot` a transaction is held open beside it meanwhile, as pg_dump does, and the rate is
printed every half minute.
"""

from __future__ import annotations

import gc
import math
import sys
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import trio

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "postgres"))

from postgres_server import Server

from benchmarks.inbox import measure_pairs
from trioworkers.inbox.postgres.alone import Alone
from trioworkers.inbox.postgres.store import postgres_store
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.run import COLLECT, SWITCH_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS: dict[str, Any] = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
}
EVERY = 30.0  # seconds between two lines under a snapshot


class OfNode:
    """The lease of a node that nobody evicts."""

    is_shared = True

    def __init__(self) -> None:
        self.life: UUID = uuid4()
        self._is_new = True

    def see_joined(self) -> None:
        """It begins with its first connection."""

    def attach(self, connection: psycopg.Connection[Any], former: int) -> None:
        if self._is_new:
            connection.execute("INSERT INTO node (id, name) VALUES (%s, 'a')", (self.life,))
        self._is_new = False


def run(producers: list[int], bots: int, seconds: float, rounds: int, snapshot: float) -> None:
    """Print a line for each number of producers, which share so many bots; all figures are medians."""
    sys.setswitchinterval(SWITCH_INTERVAL)  # as the daemon does
    gc.freeze()
    gc.set_threshold(*COLLECT)
    with closing(Server(**SETTINGS)) as server:
        server.start()
        if snapshot:
            _run_under_snapshot(server, producers[-1], bots, snapshot)
            return
        print(f"{'producers':>9}  {'SQLite':>9}  {'PostgreSQL':>10}  {'of a node':>9}  ratios to SQLite")
        ways: list[Callable[[int], float]] = [
            partial(_sqlite, bots=bots, seconds=seconds),
            partial(_postgres, server, Alone, bots=bots, seconds=seconds),
            partial(_postgres, server, OfNode, bots=bots, seconds=seconds),
        ]
        for number in producers:
            turns = [[way(number) for way in ways] for _ in range(rounds)]
            lite, alone, node = (median(rates) for rates in zip(*turns, strict=True))
            shown = f"{number:>9}  {lite:>7,.0f}/s  {alone:>8,.0f}/s  {node:>7,.0f}/s"
            print(f"{shown}  {alone / lite:.2f} {node / lite:.2f}", flush=True)


def _sqlite(producers: int, bots: int, seconds: float) -> float:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        store = open_sqlite(Path(folder) / "inbox.db")
        return trio.run(measure_pairs, store, producers, bots, 1, seconds)


def _postgres(
    server: Server, lease: Callable[[], Alone | OfNode], producers: int, bots: int, seconds: float
) -> float:
    store = postgres_store(server.admin(server.database()), lease())
    store.open()
    return trio.run(measure_pairs, store, producers, bots, 1, seconds)


def _run_under_snapshot(server: Server, producers: int, bots: int, seconds: float) -> None:
    """Print the rate in each half minute: one before the snapshot, those with it, and two after it."""
    url = server.admin(server.database())
    print(f"{'seconds':>9}  {'snapshot':>8}  accept + done with {producers} producers")
    with psycopg.connect(url, autocommit=True) as other:
        turns = 3 + math.ceil(seconds / EVERY)
        for turn in range(turns):
            is_open = 0 < turn < turns - 2
            if is_open and turn == 1:
                other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                other.execute("SELECT count(*) FROM trioworkers.seen")
            elif turn == turns - 2:
                other.execute("COMMIT")
            store = postgres_store(url, Alone())
            store.open()
            first = 1 + turn * 10**8
            rate = trio.run(measure_pairs, store, producers, bots, 1, EVERY, first)
            print(f"{turn * EVERY:>9.0f}  {'open' if is_open else '-':>8}  {rate:>7,.0f}/s", flush=True)
