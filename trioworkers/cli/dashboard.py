"""`trioworkers dashboard`: a fresh login link, printed on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from trioworkers.cli.control import ask_or_fail
from trioworkers.cli.exits import USAGE
from trioworkers.cli.failures import fail
from trioworkers.cli.shown import printable

if TYPE_CHECKING:
    from pathlib import Path

HELP = """Print a link that signs a browser in to the dashboard; it works once, within ten minutes.

\b
It is printed on a terminal only, since anybody who has it controls the fleet.

\b
  trioworkers dashboard
"""


@click.command(help=HELP)
@click.pass_obj
def dashboard(config: Path | None) -> None:
    if not sys.stdout.isatty():
        fail("a login link is printed on a terminal only, not into a file or a pipe (ssh needs -t)", USAGE)
    made = ask_or_fail(config, "/api/login-link", {})
    click.echo(printable(made["url"]))
    click.echo(f"It works once, within {made['expires_in'] / 60:.0f} minutes.", err=True)
