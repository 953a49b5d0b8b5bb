"""`trioworkers migrate-store`: copies everything that is kept into another store."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trioworkers.cli.exits import BAD_CONFIGURATION
from trioworkers.cli.failures import fail, run_or_fail
from trioworkers.cli.fleet import read_fleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.config import Fleet

SHOWN_EVERY = 2.0  # seconds
HELP = """Copy everything that the fleet's store keeps into another store, while no daemon runs.

\b
TO is `sqlite`, the file in the state directory, or the address of a PostgreSQL server. env:NAME and file:PATH
name a variable or a file that holds the address, so that its password does not appear among the arguments of
a process. An address without a password may be given directly.

Waiting updates, retries, dead letters, recorded calls, ids that were seen, tallies, values of plugins, paused
bots and the webhooks' secret are copied, and compared afterwards, by number and digest. The command may be
repeated: a copy that was interrupted begins anew, and one that is complete is left as it is. A target that
holds anything else is refused. The old store is left alone; set store.url to use the new one.

\b
  trioworkers migrate-store env:DATABASE_URL
  trioworkers migrate-store postgresql://bots@db.example.org/fleet
  trioworkers migrate-store sqlite
"""


@click.command(name="migrate-store", help=HELP)
@click.argument("to", metavar="TO")
@click.pass_obj
def migrate_store(config: Path | None, to: str) -> None:
    fleet = read_fleet(config)
    url = _address(to)
    if url == fleet.store.url:
        fail("store.url: names this store already, expected another one", BAD_CONFIGURATION)
    run_or_fail(lambda: _migrate(fleet, url))


def _address(to: str) -> str:
    """The store that is meant; exits with 78 when that cannot be known."""
    kind, _, name = to.partition(":")
    if kind == "env":
        url = os.environ.get(name, "")
    elif kind == "file":
        try:
            url = Path(name).read_text().strip()
        except (OSError, UnicodeDecodeError):
            fail(f"TO: {name} cannot be read, expected a file with an address", BAD_CONFIGURATION)
    else:
        url = to
        if "@" in to and ":" in to.partition("://")[2].rpartition("@")[0]:
            message = "TO: the address has a password, which others see among the arguments of processes"
            fail(f"{message}, expected env:NAME or file:PATH", BAD_CONFIGURATION)
    if url != "sqlite" and not url.startswith("postgresql://"):
        source = to if kind in ("env", "file") else "it"
        fail(f"TO: {source} is not sqlite or an address that begins with postgresql://", BAD_CONFIGURATION)
    return url


def _migrate(fleet: Fleet, url: str) -> None:
    from trioworkers.fleet_state import read_files, write_files
    from trioworkers.folders import DAEMON_LOCK, locked, make_folder
    from trioworkers.inbox.copying import copy_store
    from trioworkers.inbox.sqlite.copied import SqliteTables
    from trioworkers.stores import tables_of

    make_folder(fleet.state_dir)
    with (
        locked(fleet.state_dir / DAEMON_LOCK, f"runs on {fleet.state_dir}"),
        closing(tables_of(fleet.store.url, fleet.state_dir)) as source,
        closing(tables_of(url, fleet.state_dir)) as target,
    ):
        contents = copy_store(source, target, _progress())
        state = read_files(fleet.state_dir) if isinstance(source, SqliteTables) else source.state()
        if isinstance(target, SqliteTables):
            write_files(fleet.state_dir, state)
        else:
            target.put_state(state)
    for name, one in contents.items():
        click.echo(f"{name}: {one.rows} rows, {one.digest}")
    click.echo("copied, and the same on both sides: set store.url to the new store, and start the daemon")


def _progress() -> Callable[[str, int], None]:
    shown_at = time.monotonic()

    def show(table: str, rows: int) -> None:
        nonlocal shown_at
        if time.monotonic() >= shown_at + SHOWN_EVERY:
            shown_at = time.monotonic()
            click.echo(f"copying {table}: {rows} rows", err=True)

    return show
