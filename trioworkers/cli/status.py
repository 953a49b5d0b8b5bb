"""`trioworkers status`: what the fleet is doing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.exits import NOT_PERMITTED, NOT_RUNNING, UNREACHABLE
from trioworkers.cli.main import fail, refuse

if TYPE_CHECKING:
    from pathlib import Path

HELP = """Show what the fleet is doing: exit 0, or 3 when no daemon runs.

\b
  trioworkers status
  trioworkers status --json | jq '.workers[] | select(.state == "failed")'
"""
COLOURS = {"running": "green", "failed": "red", "backoff": "yellow", "draining": "yellow", "starting": "cyan"}


@click.command(help=HELP)
@click.option("--json", "as_json", is_flag=True, help="The status document, as the API gives it.")
@click.pass_obj
def status(config: Path | None, as_json: bool) -> None:
    from trioworkers.cli.control import NotRunningError, UnreachableError, ask, find_socket
    from trioworkers.config import FleetFileError

    try:
        document = ask(find_socket(config), "/api/workers/status")
    except FleetFileError as error:
        refuse([str(problem) for problem in error.problems])
    except NotRunningError as error:
        fail(str(error), NOT_RUNNING)
    except PermissionError as error:
        fail(str(error), NOT_PERMITTED)
    except UnreachableError as error:
        fail(str(error), UNREACHABLE)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from trioworkers.status import summary

    fleet, workers = document["fleet"], document["workers"]
    table = Table(
        "bot", "state", "pid", "transport", "up", "handled", "errors", "waiting", "dead", "memory", box=None,
        pad_edge=False,
    )  # fmt: skip
    for worker in workers:
        queue = worker["queue"]
        colour = COLOURS.get(worker["state"], "default")
        reason = f" ({worker['reason']})" if worker["reason"] else ""
        table.add_row(
            worker["bot"],
            f"[{colour}]{worker['state']}{reason}[/]",
            str(worker["pid"] or "-"),
            worker["transport"],
            _duration(worker["uptime_ms"]),
            str(worker["messages"]),
            str(worker["errors"]),
            str(queue["ready"] + queue["in_flight"] + queue["retry"]),
            str(queue["dead"]),
            "-" if worker["memory_bytes"] is None else f"{worker['memory_bytes'] / 2**20:.1f} MB",
        )
    console = Console(highlight=False, soft_wrap=True)
    up = _duration(fleet["uptime_ms"])
    console.print(f"fleet {fleet['name']}: {fleet['state']}, pid {fleet['pid']}, up {up}", markup=False)
    console.print(summary(workers), markup=False)
    if workers:
        console.print(table)


def _duration(milliseconds: int | None) -> str:
    """`42s`, `7m 05s`, `3h 12m`, `9d 04h`."""
    if milliseconds is None:
        return "-"
    seconds = milliseconds // 1000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02}s"
    if seconds < 86400:
        return f"{seconds // 3600}h {seconds % 3600 // 60:02}m"
    return f"{seconds // 86400}d {seconds % 86400 // 3600:02}h"
