"""`trioworkers plugins`: what extends the running daemon, and how it fares."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.shown import find_paper, printable
from trioworkers.cli.table import Column, folded, table_lines

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.cli.shown import Paper

HELP = """Show the plugins of the running daemon: version, origin, hooks, calls, failures, time.

\b
STATE is active, inactive (the plugin waits for its table in the fleet file), off (switched off after
failures; a change of its settings or a restart of the daemon switches it on again) or not loaded.

\b
  trioworkers plugins
  trioworkers plugins --json | jq '.[] | select(.failures > 0)'
"""
COLUMNS = (
    Column("plugin"),
    Column("version", 1),
    Column("state"),
    Column("calls", 4, is_right=True),
    Column("failures", 5, is_right=True),
    Column("time", 3, is_right=True),
    Column("slowest", 2, is_right=True),
    Column("hooks", 2, is_text=True, least=16),
)
PREFIX = "trioworkers_"


@click.command(help=HELP)
@click.option("--json", "as_json", is_flag=True, help="A list of objects.")
@click.pass_obj
def plugins(config: Path | None, as_json: bool) -> None:
    from trioworkers.cli.control import ask_or_fail

    found = ask_or_fail(config, "/api/plugins")["plugins"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for line in plugin_lines(found, find_paper()):
        click.echo(line)


def plugin_lines(rows: list[dict[str, Any]], paper: Paper) -> list[str]:
    """The lines of `plugins`; those that are not loaded or were switched off come first, with the reason."""
    if not rows:
        return ["no plugins"]
    lines = []
    for row in rows:
        if row["reason"]:
            lines += folded(
                f"{printable(row['name'])} is {row['state']}: {printable(row['reason'])}", paper.width
            )
            lines += folded(f"  from {printable(row['origin'])}", paper.width)
        if row["missed_events"]:
            missed = f"{row['missed_events']:,} events came faster than it took them, and were lost"
            lines += folded(f"{printable(row['name'])}: {missed}", paper.width)
    return lines + table_lines(COLUMNS, [tuple(map(printable, _cells(row))) for row in rows], paper)


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
