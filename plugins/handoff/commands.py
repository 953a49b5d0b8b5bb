"""`trioworkers handoff`: dialogs with operators, listed, taken, released; and something said in them."""

from __future__ import annotations

import getpass
import json
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from trioworkers.commands import (
    FAILED,
    USAGE,
    Codes,
    Column,
    ask_or_fail,
    find_paper,
    moment,
    printable,
    table_lines,
)

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.commands import Paper

HELP = """Dialogs that operators have, or that wait for one.

\b
  trioworkers handoff list
  trioworkers handoff take support:12345
  trioworkers handoff say support:12345 < answer.txt
"""
LIST = """List the dialogs that the bots do not have, oldest first.

\b
  trioworkers handoff list
  trioworkers handoff list --json | jq -r '.[] | select(.state == "queued") | .id'
"""
TAKE = """Take the dialog ID, BOT:CHAT_ID, from the queue, from another operator or from the bot.

\b
It returns once no handler of the bot can speak in it any more.

\b
  trioworkers handoff take support:12345
"""
RELEASE = """Give the dialog ID back to the bot.

\b
  trioworkers handoff release support:12345
"""
SAY = """Say something to the user of the dialog ID.

\b
The text is read from standard input: it never stands on the command line, which others can see.

\b
  trioworkers handoff say support:12345 < answer.txt
"""
COLUMNS = (
    Column("id"),
    Column("state"),
    Column("operator", 3),
    Column("since", 2),
    Column("unanswered", 4),
    Column("reason", 1, is_text=True),
)


@click.group(help=HELP)
def handoff() -> None:
    pass


@handoff.command("list", help=LIST)
@click.option("--json", "as_json", is_flag=True, help="A list of objects.")
@click.pass_obj
def list_handoffs(config: Path | None, as_json: bool) -> None:
    found = ask_or_fail(config, "/api/handoffs")["handoffs"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for line in handoff_lines(found, find_paper()):
        click.echo(line)


def handoff_lines(found: list[dict[str, Any]], paper: Paper) -> list[str]:
    """The lines of `handoff list`."""
    return table_lines(COLUMNS, list(map(_cells, found)), paper) if found else ["no handoffs"]


@handoff.command(help=TAKE)
@click.argument("id_", metavar="ID")
@click.option("--as", "operator", help="The operator's name; by default yours.")
@click.option("--json", "as_json", is_flag=True, help="As an object.")
@click.pass_obj
def take(config: Path | None, id_: str, operator: str | None, as_json: bool) -> None:
    row = _do(config, id_, "take", operator=operator or _me())
    _show(row, as_json, f"{row['id']} is yours: the bot is silent in it")


@handoff.command(help=RELEASE)
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="As an object.")
@click.pass_obj
def release(config: Path | None, id_: str, as_json: bool) -> None:
    row = _do(config, id_, "release")
    _show(row, as_json, f"{row['id']} goes back to the bot")


@handoff.command(help=SAY)
@click.argument("id_", metavar="ID")
@click.option("--as", "operator", help="The operator's name; by default yours.")
@click.option("--json", "as_json", is_flag=True, help="As an object.")
@click.pass_obj
def say(config: Path | None, id_: str, operator: str | None, as_json: bool) -> None:
    if sys.stdin.isatty():
        click.echo("text, ended by ctrl-D:", err=True)
    text = sys.stdin.read().strip()
    if not text:
        raise click.UsageError("expected a text on standard input")
    said = _do(config, id_, "say", operator=operator or _me(), text=text)
    if as_json:
        click.echo(json.dumps(said, indent=2))
    elif said["delivered"] is None:
        click.echo("it waits to be sent")
    elif said["delivered"]:
        click.echo("delivered")
    if said["delivered"] is False:
        if not as_json:
            click.echo(f"not delivered: {printable(said['reason'])}", err=True)
        raise SystemExit(FAILED)


def _do(config: Path | None, id_: str, action: str, **body: str) -> Any:
    path = f"/api/handoffs/{quote(id_, safe=':')}/{action}"
    return ask_or_fail(config, path, body, timeout=None, codes=Codes(missing=USAGE))


def _show(row: dict[str, Any], as_json: bool, words: str) -> None:
    click.echo(json.dumps(row, indent=2) if as_json else words)


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name in a container
        return "operator"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    operator = printable(row["name"] or row["operator"] or "-")
    return (
        row["id"],
        row["state"],
        operator,
        moment(row["since"]),
        str(row["unanswered"]),
        printable(row["reason"] or ""),
    )
