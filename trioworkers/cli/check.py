"""`trioworkers check` and `trioworkers schema`: the fleet file, without running it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from trioworkers.cli.failures import refuse
from trioworkers.cli.fleet import read_fleet
from trioworkers.cli.handlers import handler_problems
from trioworkers.cli.plugin_tables import plugin_problems

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
It includes the settings of plugins: those of the fleet file at hand, or those that are installed.

\b
  trioworkers schema > fleet.schema.json
  and as the first line of fleet.toml: #:schema ./fleet.schema.json
"""


@click.command(help=CHECK_HELP)
@click.option("--handlers", is_flag=True, help="Import each handler too, in a process that is thrown away.")
@click.pass_obj
def check(config: Path | None, handlers: bool) -> None:
    from trioworkers.config.worker_places import held_back, places_of
    from trioworkers.machine import this_machine

    fleet = read_fleet(config)
    problems = handler_problems(fleet) if handlers else []
    if fleet.plugins:
        from trioworkers.plugins import load_plugins

        problems += plugin_problems(fleet, load_plugins(fleet))
    if problems:
        refuse(problems)
    bots = "1 bot" if len(fleet.bots) == 1 else f"{len(fleet.bots)} bots"
    click.echo(f"{fleet.path}: good, {bots}")
    if (waits := held_back(fleet, places_of(fleet.limits, this_machine()))) is not None:
        click.echo(f"on this machine, {waits}")


@click.command(help=SCHEMA_HELP)
@click.pass_obj
def schema(config: Path | None) -> None:
    from trioworkers.config import FleetFileError, find_fleet_file, fleet_schema, load_fleet
    from trioworkers.plugins import load_installed, load_plugins

    try:
        plugins = load_plugins(load_fleet(find_fleet_file(config, os.environ), os.environ))
    except FleetFileError:
        plugins = load_installed()
    click.echo(json.dumps(fleet_schema(plugins.models()), indent=2))
