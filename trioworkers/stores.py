"""Opens the store that the fleet file names, and waits for its server where it has one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from trioworkers.call_marks import FOLDER
from trioworkers.inbox.left_calls import take_over
from trioworkers.inbox.sqlite.copied import SqliteTables
from trioworkers.inbox.sqlite.file import open_file
from trioworkers.inbox.store import StoreFencedError, StoreRefusedError, StoreUnreachableError, store_problem
from trioworkers.inbox.trouble import StartTrouble
from trioworkers.shortage import in_thread

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.config import Fleet
    from trioworkers.holdings import Holdings
    from trioworkers.inbox.postgres.copied import PostgresTables
    from trioworkers.inbox.postgres.session import Lease
    from trioworkers.inbox.postgres.store import PostgresStore
    from trioworkers.inbox.store import Store
    from trioworkers.reports import Reports

DATABASE = "inbox.db"
AGAIN = 1.0  # seconds between two looks for a server that cannot be reached


def database_of(fleet: Fleet) -> Path | None:
    """The file of the store; None: it is on a server."""
    return fleet.state_dir / DATABASE if fleet.store.url == "sqlite" else None


async def open_store(
    fleet: Fleet, reports: Reports, holdings: Holdings, stop: trio.Event, lease: Lease | None = None
) -> Store:
    """Open the store, and record in it what workers of the last run had called and not reported.

    A server that cannot be reached is reported, and waited for until `stop`. `lease`: of a node of a cluster;
    None: this daemon has the store for itself.

    Raises:
        StoreRefusedError, StoreForbiddenError: it cannot be used as it is.
        StoreUnreachableError: the daemon is to stop, and the server was not reached before.
        StoreError: it cannot be opened, or written to.
        OSError: the folder of the workers' marks cannot be made or read.
    """
    store = await _open(fleet, reports, holdings, stop, lease)
    try:
        await in_thread(take_over, store, fleet.state_dir / FOLDER, time.time())
    except BaseException:
        store.close()
        raise
    return store


async def _open(
    fleet: Fleet, reports: Reports, holdings: Holdings, stop: trio.Event, lease: Lease | None
) -> Store:
    path = database_of(fleet)
    if path is not None:
        return open_file(
            path,
            durability=fleet.store.durability,
            damaged=reports.inbox_damaged,
            reclaim=holdings.reclaim,
        )
    store = connected_store(fleet, lease)
    trouble = StartTrouble(reports.inbox_trouble)
    while True:
        try:
            await in_thread(store.open)
        except (StoreUnreachableError, StoreFencedError) as error:  # a node that is fenced begins anew
            trouble.failed(error)
            with trio.move_on_after(AGAIN):
                await stop.wait()
                raise
        else:
            trouble.worked()
            return store


def tables_of(url: str, state_dir: Path) -> SqliteTables | PostgresTables:
    """A store as its tables, to copy it; no daemon may use it.

    Raises:
        StoreRefusedError: the address is not one, or the driver is not installed.
        StoreTakenError: a daemon uses it.
        StoreError: it cannot be opened.
    """
    if url == "sqlite":
        return SqliteTables(state_dir / DATABASE)
    if problem := store_problem(url):
        raise StoreRefusedError(problem)
    from trioworkers.inbox.postgres.alone import Alone
    from trioworkers.inbox.postgres.copied import PostgresTables
    from trioworkers.inbox.postgres.session import Session

    return PostgresTables(Session(url, Alone()))


def connected_store(fleet: Fleet, lease: Lease | None = None) -> PostgresStore:
    """The store on the server of `store.url`, by a node's lease or for a daemon alone; not opened yet.

    Raises:
        StoreRefusedError: the address is not one, or the driver is not installed.
    """
    if problem := store_problem(fleet.store.url):
        message = f"store.url: {problem}"
        raise StoreRefusedError(message)
    from trioworkers.inbox.postgres.alone import Alone
    from trioworkers.inbox.postgres.store import postgres_store

    return postgres_store(fleet.store.url, lease or Alone(), fleet.store.durability)
