"""`trioworkers plugins`: what extends the running daemon, and how it fares."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

HELP = """Show the plugins of the running daemon: version, origin, hooks, calls, failures, time.

\b
STATE is active, inactive (the plugin waits for its table in the fleet file), off (switched off after
failures; a change of its settings or a restart of the daemon switches it on again) or not loaded.

\b
  trioworkers plugins
  trioworkers plugins --json | jq '.[] | select(.failures > 0)'
"""
COLUMNS = ("plugin", "version", "state", "calls", "failures", "time", "slowest", "hooks")
NUMBERS = ("calls", "failures", "time", "slowest")
PIPED = 1000  # columns, so that a line of a plugin stays one line for grep
NARROW = 70  # columns, below which only the essential columns are shown
ESSENTIAL = ("plugin", "state", "calls", "failures")
PREFIX = "trioworkers_"


@click.command(help=HELP)
@click.option("--json", "as_json", is_flag=True, help="A list of objects.")
@click.pass_obj
def plugins(config: Path | None, as_json: bool) -> None:
    from rich.console import Console

    from trioworkers.cli.control import ask_or_fail
    from trioworkers.cli.shown import printable

    found = ask_or_fail(config, "/api/plugins")["plugins"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED)
    console.print(table_of(found, console.width) if found else "no plugins")
    for row in found:
        if row["missed_events"]:
            missed = f"{row['missed_events']:,} events came faster than it took them, and were lost"
            console.print(f"{printable(row['name'])}: {missed}", markup=False)
        if row["reason"]:
            console.print(f"{printable(row['name'])}: {printable(row['reason'])}", markup=False)
            console.print(f"  from {printable(row['origin'])}", markup=False)


def table_of(rows: list[dict[str, Any]], width: int) -> Table:
    """The table for a terminal of so many columns; no name, state or number is cut off in a narrow one."""
    from rich.table import Table

    from trioworkers.cli.shown import printable

    table = Table(box=None, pad_edge=False)
    shown = [place for place, name in enumerate(COLUMNS) if width >= NARROW or name in ESSENTIAL]
    for name in (COLUMNS[place] for place in shown):
        justify: Literal["left", "right"] = "right" if name in NUMBERS else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name != "hooks")
    for row in rows:
        cells = _cells(row)
        table.add_row(*(printable(cells[place]) for place in shown))
    return table


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    hooks = " ".join(hook.removeprefix(PREFIX) for hook in row["hooks"])
    return (
        row["name"],
        row["version"] or "-",
        row["state"],
        f"{row['calls']:,}",
        f"{row['failures']:,}",
        f"{row['seconds']:.2f}s",
        f"{row['slowest_ms']:.1f}ms",
        hooks or "-",
    )
