"""`trioworkers status`: what the fleet is doing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from trioworkers.cli.exits import NOT_RUNNING

if TYPE_CHECKING:
    from pathlib import Path

HELP = """Show what the fleet is doing: exit 0, or 3 when no daemon runs.

\b
What is not well comes first, with what to do. A terminal shows as many columns as it has room for;
a file or a program gets all of them, a line for each bot.

\b
  trioworkers status
  trioworkers status --json | jq '.workers[] | select(.state == "failed")'
"""


@click.command(help=HELP)
@click.option("--json", "as_json", is_flag=True, help="The status document, as the API gives it.")
@click.pass_obj
def status(config: Path | None, as_json: bool) -> None:
    from trioworkers.cli.control import Codes, ask_or_fail
    from trioworkers.cli.fleet_screen import fleet_lines
    from trioworkers.cli.shown import find_paper

    document = ask_or_fail(config, "/api/workers/status", codes=Codes(absent=NOT_RUNNING))
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for line in fleet_lines(document, find_paper(), time.time()):
        click.echo(line)
