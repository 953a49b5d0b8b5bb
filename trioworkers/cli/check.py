"""`trioworkers check` and `trioworkers schema`: the fleet file, without running it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from trioworkers.cli.failures import refuse
from trioworkers.cli.fleet import read_fleet
from trioworkers.cli.handlers import handler_problems

if TYPE_CHECKING:
    from pathlib import Path

CHECK_HELP = """Validate the fleet file: exit 0, or 78 with one line for each problem.

\b
Each line is FILE:LINE:COLUMN: KEY: what is wrong, what was expected.
  trioworkers -c fleet.toml check
  trioworkers -c fleet.toml check --handlers
"""
SCHEMA_HELP = """Print the JSON Schema of the fleet file, for completion in editors.

\b
  trioworkers schema > fleet.schema.json
  and as the first line of fleet.toml: #:schema ./fleet.schema.json
"""


@click.command(help=CHECK_HELP)
@click.option("--handlers", is_flag=True, help="Import each handler too, in a process that is thrown away.")
@click.pass_obj
def check(config: Path | None, handlers: bool) -> None:
    fleet = read_fleet(config)
    problems = handler_problems(fleet) if handlers else []
    if problems:
        refuse(problems)
    bots = "1 bot" if len(fleet.bots) == 1 else f"{len(fleet.bots)} bots"
    click.echo(f"{fleet.path}: good, {bots}")


@click.command(help=SCHEMA_HELP)
def schema() -> None:
    from trioworkers.config import fleet_schema

    click.echo(json.dumps(fleet_schema(), indent=2))
