"""`trioworkers check` and `trioworkers schema`: the fleet file, without running it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from trioworkers.cli.main import read_fleet, refuse

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.config import Fleet

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


def handler_problems(fleet: Fleet) -> list[str]:
    """What is wrong with the handlers of the bots that would start, one line for each bot."""
    from trioworkers.worker.probe import probe_handler

    environ = {name: value for name, value in os.environ.items() if name not in fleet.secret_env_names}
    path = [str(folder) for folder in fleet.python_path]
    found: dict[str, str | None] = {}
    problems = []
    for name, bot in fleet.bots.items():
        if not bot.enabled:
            continue
        if bot.handler not in found:
            found[bot.handler] = probe_handler(bot.handler, path, fleet.folder, environ)
        problem = found[bot.handler]
        if problem is not None:
            problems.append(str(fleet.problem_at(("bots", name, "handler"), problem)))
    return problems
