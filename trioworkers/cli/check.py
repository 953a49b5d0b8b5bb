"""`trioworkers check` and `trioworkers schema`: the fleet file, without running it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from trioworkers.cli.failures import refuse
from trioworkers.cli.handlers import handler_problems
from trioworkers.cli.plugin_tables import plugin_problems
from trioworkers.cli.shown import counted
from trioworkers.cli.start_problems import start_problems

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.config import Fleet

CHECK_HELP = """Validate the fleet file: exit 0, or 78 with one line for each problem.

\b
Each line is FILE:LINE:COLUMN: KEY: what is wrong, what was expected. Tokens that come from variables are
looked up in the environment of this command, while a daemon uses its own.

\b
  trioworkers -c fleet.toml check
  trioworkers -c fleet.toml check --handlers
"""
VARIABLE = "the environment variable "
ABSENT = "variables are looked up in this environment; what counts is that of the daemon, say of its unit"
SCHEMA_HELP = """Print the JSON Schema of the fleet file, for completion in editors.

\b
It includes the settings of plugins: of those that the fleet file loads, or, without a fleet file, of those
that are installed.

\b
  trioworkers schema > fleet.schema.json
  and as the first line of fleet.toml: #:schema ./fleet.schema.json
"""


@click.command(help=CHECK_HELP)
@click.option("--handlers", is_flag=True, help="Also import each handler, in a process of its own.")
@click.pass_obj
def check(config: Path | None, handlers: bool) -> None:
    from trioworkers.config.worker_places import held_back, places_of
    from trioworkers.machine import this_machine

    fleet = _read(config)
    problems = start_problems(fleet) + (handler_problems(fleet) if handlers else [])
    if fleet.plugins:
        from trioworkers.plugins import load_plugins

        problems += plugin_problems(fleet, load_plugins(fleet))
    if problems:
        refuse(problems)
    click.echo(f"{fleet.path}: good, {counted(len(fleet.bots), 'bot')}")
    if (waits := held_back(fleet, places_of(fleet.limits, this_machine()))) is not None:
        click.echo(f"on this machine, {waits}")
    for name in sorted(fleet.secret_env_names & os.environ.keys()):
        click.echo(f"  {name} was taken from this environment; a daemon takes it from its own")


def _read(config: Path | None) -> Fleet:
    """The fleet; where a variable is missing, it is said whose environment a daemon has."""
    from trioworkers.config import FleetFileError, find_fleet_file, load_fleet

    try:
        return load_fleet(find_fleet_file(config, os.environ), os.environ)
    except FleetFileError as error:
        problems = [str(problem) for problem in error.problems]
        if any(f": {VARIABLE}" in problem for problem in problems):
            click.echo(f"trioworkers: {ABSENT}", err=True)
        refuse(problems)


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
