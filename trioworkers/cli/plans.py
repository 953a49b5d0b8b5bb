"""What a reload did, or would do, as commands print it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.shown import moment, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

CHANGES = ("added", "removed", "replaced", "retuned", "changed")


def print_plan(plan: Any, *, as_json: bool = False) -> None:
    """Print what a reload did, or would do."""
    from trioworkers.config import plan_lines

    if as_json:
        click.echo(json.dumps(plan, indent=2))
        return
    for line in plan_lines(plan):
        click.echo(printable(line))


def has_changes(plan: Mapping[str, Any]) -> bool:
    """Whether there is something to do; keys that wait for a restart do not count."""
    return any(plan[part] for part in CHANGES)


def dry_run_lines(plan: Mapping[str, Any], past: Mapping[str, Any] | None) -> list[str]:
    """What a reload would do; and where that is nothing, what the last one did, and when.

    `past`: the last reload of the history, None: there was none since the daemon's start.
    """
    from trioworkers.config import plan_lines

    if has_changes(plan):
        return ["a reload would do this:", *(f"  {printable(line)}" for line in plan_lines(plan))]
    lines = ["nothing to do: what the files say is in force"]
    if plan["kept"]:
        kept = printable(", ".join(plan["kept"]))
        lines = [f"{lines[0]}, but for keys that wait for `trioworkers restart --daemon`: {kept}"]
    if past is None:
        return lines
    lines.append(
        f"the last reload was {past['result']} at {moment(past['at'])}, caused by {printable(past['by'])}:"
    )
    told = plan_lines(past["plan"]) if past["plan"] else past["problems"]
    return [*lines, *(f"  {printable(line)}" for line in told)]
