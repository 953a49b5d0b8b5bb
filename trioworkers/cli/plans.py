"""What a reload did, or would do, as commands print it."""

from __future__ import annotations

import json
from typing import Any

import click


def print_plan(plan: Any, *, as_json: bool = False) -> None:
    """Print what a reload did, or would do."""
    from trioworkers.cli.shown import printable
    from trioworkers.config import plan_lines

    if as_json:
        click.echo(json.dumps(plan, indent=2))
        return
    for line in plan_lines(plan):
        click.echo(printable(line))
