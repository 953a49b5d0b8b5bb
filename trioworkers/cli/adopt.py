"""`trioworkers adopt`: bots that run elsewhere, as tables of the fleet file; shown, or written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.exits import FAILED, NOT_PERMITTED, USAGE
from trioworkers.cli.failures import fail, refuse
from trioworkers.cli.shown import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trioworkers.adopt import Bot, Proposal, Survey

HELP = """Read what runs your bots now, and write their tables for the fleet file.

\b
PATH is an ecosystem file of PM2, a configuration of supervisord, a file of Docker Compose, or a folder
with one of them, with package.json, requirements.txt or pyproject.toml, or with such folders in it.

\b
The tables are printed, and nothing is written unless you say --write. What is printed beside them says
which library each bot is written with, what has to be done, and what cannot be moved, with the reason.
No bot is started or imported. An ecosystem file in JavaScript is evaluated by node, alone. Tokens stay
where they are; none is printed.

\b
  trioworkers adopt ecosystem.config.js
  trioworkers adopt /etc/supervisor/supervisord.conf --only shop --write
  trioworkers -c fleet.toml adopt ../bots --write
"""


@click.command(help=HELP)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--write", is_flag=True, help="Append the tables to the fleet file, or make it.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this one; may be given several times.")
@click.option("--json", "as_json", is_flag=True, help="As an object.")
@click.pass_obj
def adopt(config: Path | None, path: Path, write: bool, only: tuple[str, ...], as_json: bool) -> None:
    from trioworkers.adopt import (
        AdoptError,
        bots_text,
        clashes,
        inspect,
        propose,
        read_fleet_text,
        refusals,
        survey,
        with_bots,
    )
    from trioworkers.config import FleetFileError

    try:
        fleet = read_fleet_text(_fleet_file(config))
        surveys = survey(path)
        found = [inspect(service, one) for one in surveys for service in one.services]
        proposal = propose(found, fleet.path.absolute().parent, fleet.variables)
    except AdoptError as error:
        fail(str(error))
    except FleetFileError as error:
        refuse([str(problem) for problem in error.problems])
    except OSError as error:
        fail(f"{error.filename}: {(error.strerror or type(error).__name__).lower()}")
    proposal = _chosen(proposal, only)
    there = clashes(fleet, proposal.bots)
    refused = refusals(fleet, proposal.bots)
    text = bots_text(proposal.bots)
    if as_json:
        click.echo(
            json.dumps(_document(surveys, proposal, there + refused, text), indent=2, ensure_ascii=False)
        )
    else:
        for line in _words(surveys, proposal):
            click.echo(printable(line), err=True)
        for line in there + refused:
            click.echo(printable(line), err=True)
        if not write:
            click.echo(text, nl=False)
    if not proposal.bots:
        fail(f"{path}: no bot that can be moved was found")
    if not write:
        if not as_json:
            _say(_next_steps(surveys, proposal, fleet.path, is_written=False))
        return
    if there or refused:
        fail("nothing was written; name the others with --only")
    try:
        _write(fleet, with_bots(fleet, proposal.bots))
    except AdoptError as error:
        fail(str(error))
    if not as_json:
        click.echo(f"wrote {counted(len(proposal.bots), 'bot')} to {fleet.path}", err=True)
        _say(_next_steps(surveys, proposal, fleet.path, is_written=True))


def _fleet_file(config: Path | None) -> Path:
    """The fleet file that other commands would use; ./fleet.toml where there is none."""
    from trioworkers.config import FleetFileError, find_fleet_file

    try:
        return find_fleet_file(config, os.environ)
    except FleetFileError:
        named = os.environ.get("TRIOWORKERS_CONFIG")
        return config or Path(named or "fleet.toml")


def _write(fleet: Any, added: bytes) -> None:
    from trioworkers.adopt import append

    try:
        append(fleet, added)
    except OSError as error:
        words = (error.strerror or type(error).__name__).lower()
        fail(
            f"{fleet.path}: cannot be written: {words}",
            NOT_PERMITTED if isinstance(error, PermissionError) else FAILED,
        )


def _chosen(proposal: Proposal, only: Sequence[str]) -> Proposal:
    """What was found, without what was not asked for."""
    from trioworkers.adopt import Proposal

    if not only:
        return proposal
    known = {bot.service for bot in proposal.bots} | {bot.name for bot in proposal.bots}
    known |= {left.service for left in proposal.left}
    if unknown := [name for name in only if name not in known]:
        fail(f"--only {unknown[0]}: expected one of {', '.join(sorted(known)) or 'none'}", USAGE)
    bots = tuple(bot for bot in proposal.bots if bot.name in only or bot.service in only)
    return Proposal(bots, tuple(left for left in proposal.left if left.service in only))


def _words(surveys: Sequence[Survey], proposal: Proposal) -> Iterator[str]:
    """What was found, a line for each thing that is to be known."""
    for one in surveys:
        yield f"{one.path}: {one.kind}, {counted(len(one.services), 'program')}"
        for note in one.notes:
            yield f"  {note}"
    for bot in proposal.bots:
        yield f"{bot.name}: {bot.library}, {bot.mode} ({bot.origin})"
        for note in bot.notes:
            yield f"  {note}"
    for left in proposal.left:
        yield f"{left.service}: not moved ({left.origin})"
        yield f"  {left.reason}"


def _next_steps(
    surveys: Sequence[Survey], proposal: Proposal, fleet: Path, *, is_written: bool
) -> Iterator[str]:
    variables = sorted({bot.table["token"]["env"] for bot in proposal.bots if "env" in bot.table["token"]})
    yield "next:"
    if variables:
        yield f"  put {', '.join(variables)} into the daemon's environment"
    stop = next((one.stop for one in surveys if one.stop is not None), None)
    names = " ".join(bot.service for bot in proposal.bots)
    how = f" ({stop.format(names)})" if stop is not None else ""
    yield f"  stop these bots where they run now{how}: Telegram gives each update to one reader only"
    if not is_written:
        yield f"  the same with --write: it appends the tables to {fleet}, and a running daemon starts them"
    yield "  trioworkers check, then trioworkers start"


def _say(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(printable(line), err=True)


def _document(
    surveys: Sequence[Survey], proposal: Proposal, refused: Sequence[str], text: str
) -> dict[str, Any]:
    return {
        "read": [
            {"path": str(one.path), "kind": one.kind, "programs": len(one.services), "notes": list(one.notes)}
            for one in surveys
        ],
        "bots": [_of_bot(bot) for bot in proposal.bots],
        "not_moved": [
            {"service": left.service, "origin": left.origin, "reason": left.reason} for left in proposal.left
        ],
        "refused": list(refused),
        "toml": text,
    }


def _of_bot(bot: Bot) -> dict[str, Any]:
    return {
        "name": bot.name,
        "service": bot.service,
        "origin": bot.origin,
        "library": bot.library,
        "mode": bot.mode,
        "table": dict(bot.table),
        "notes": list(bot.notes),
    }
