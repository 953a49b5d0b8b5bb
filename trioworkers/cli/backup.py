"""`trioworkers backup`: a consistent copy of the state, made by the running daemon."""

from __future__ import annotations

import os
from pathlib import Path

import click

HELP = """Copy the state of the running fleet: one consistent database file, of mode 0600.

\b
PATH is a new file, or a folder, in which the copy gets a name of its own. Without PATH, the copy goes to
backups/ in the state directory. The daemon writes it, and needs permission to write there.

\b
  trioworkers backup
  trioworkers backup /mnt/backups/
"""


@click.command(help=HELP)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def backup(config: Path | None, path: Path | None) -> None:
    from trioworkers.cli.control import ask_or_fail
    from trioworkers.cli.shown import printable

    where = {} if path is None else {"path": os.path.abspath(path)}  # symlinks stay as they are
    made = ask_or_fail(config, "/api/backup", where, timeout=None)
    click.echo(f"{printable(made['path'])}: {made['bytes'] / 2**20:.1f} MB")
