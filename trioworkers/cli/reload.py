"""`trioworkers reload`: the running daemon reads its fleet anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

HELP = """Read the fleet file again now, and apply what changed; print what was done.

\b
The daemon does this by itself when a file changes, unless fleet.watch is false. --dry-run shows what a change
would do; if the daemon has applied the change already, it shows what was done. If there is a problem, nothing
changes, and all problems are printed, with exit code 78.

\b
  trioworkers reload
  trioworkers reload --dry-run
  trioworkers reload --quiet     (in a unit: the daemon logs the plan and the problems)
"""


@click.command(help=HELP)
@click.option("--dry-run", is_flag=True, help="Print what would be done; do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as an object.")
@click.option(
    "-q", "--quiet", is_flag=True, help="Print neither the plan nor the problems, which the daemon logs."
)
@click.pass_obj
def reload(config: Path | None, dry_run: bool, as_json: bool, quiet: bool) -> None:
    from trioworkers.cli.control import Codes, ask_or_fail
    from trioworkers.cli.exits import BAD_CONFIGURATION
    from trioworkers.cli.plans import dry_run_lines, has_changes, print_plan

    if quiet and (dry_run or as_json):
        raise click.UsageError("expected --quiet without --dry-run and --json")
    codes = Codes(quiet=frozenset({BAD_CONFIGURATION} if quiet else ()))
    plan = ask_or_fail(config, "/api/reload", {"dry_run": dry_run}, timeout=None, codes=codes)
    if dry_run and not as_json:
        past = None
        if not has_changes(plan):
            past = next(iter(ask_or_fail(config, "/api/reloads?limit=1")["reloads"]), None)
        for line in dry_run_lines(plan, past):
            click.echo(line)
    elif not quiet:
        print_plan(plan, as_json=as_json)
