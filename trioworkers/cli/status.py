"""`trioworkers status`: what the fleet is doing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.exits import NOT_RUNNING
from trioworkers.cli.shown import printable
from trioworkers.top.words import span

if TYPE_CHECKING:
    from pathlib import Path

HELP = """Show what the fleet is doing: exit 0, or 3 when no daemon runs.

\b
  trioworkers status
  trioworkers status --json | jq '.workers[] | select(.state == "failed")'
"""
MOST = 10**15  # no memory, uptime or count comes near it
COLOURS = {"running": "green", "failed": "red", "backoff": "yellow", "draining": "yellow", "starting": "cyan"}


@click.command(help=HELP)
@click.option("--json", "as_json", is_flag=True, help="The status document, as the API gives it.")
@click.pass_obj
def status(config: Path | None, as_json: bool) -> None:
    from trioworkers.cli.control import Codes, ask_or_fail

    document = ask_or_fail(config, "/api/workers/status", codes=Codes(absent=NOT_RUNNING))
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from trioworkers.config.worker_places import held_back_now
    from trioworkers.status import summary

    fleet, workers = document["fleet"], document["workers"]
    table = Table(
        "bot", "state", "pid", "transport", "up", "handled", "errors", "waiting", "dead", "memory", box=None,
        pad_edge=False,
    )  # fmt: skip
    for worker in workers:
        queue = worker["queue"]
        reason = f" ({printable(worker['reason'])})" if worker["reason"] else ""
        memory = worker["memory_bytes"]
        table.add_row(
            worker["bot"],
            Text(worker["state"] + reason, COLOURS.get(worker["state"], "")),
            str(worker["pid"] or "-"),
            worker["transport"],
            span(worker["uptime_ms"]),
            _figure(worker["messages"]),
            _figure(worker["errors"]),
            _figure(queue["ready"] + queue["in_flight"] + queue["retry"]),
            _figure(queue["dead"]),
            "-" if memory is None else "?" if _is_absurd(memory) else f"{memory / 2**20:.1f} MB",
        )
    console = Console(highlight=False, soft_wrap=True)
    up = span(fleet["uptime_ms"])
    console.print(f"fleet {fleet['name']}: {fleet['state']}, pid {fleet['pid']}, up {up}", markup=False)
    console.print(summary(workers), markup=False)
    if (waits := held_back_now(workers)) is not None:
        console.print(printable(waits), markup=False)
    if fleet["config"]["error"] is not None:
        console.print("the fleet was changed and is refused; what was in force is:", style="red")
        for line in fleet["config"]["error"].splitlines():
            console.print(f"  {printable(line)}", markup=False)
    if workers:
        console.print(table)


def _is_absurd(number: float) -> bool:
    """Whether a figure cannot be meant; a worker, which runs a bot's own code, may report any."""
    return not -MOST <= number <= MOST


def _figure(number: float) -> str:
    return "?" if _is_absurd(number) else str(number)
