"""`trioworkers dlq`: dead letters, listed, shown, replayed, purged."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from trioworkers.cli.bot_name import BotName
from trioworkers.cli.exits import USAGE
from trioworkers.cli.shown import counted, find_paper, moment, printable
from trioworkers.cli.table import Column, table_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trioworkers.cli.control import Codes
    from trioworkers.cli.shown import Paper

HELP = """Dead letters: updates that were given up, kept with the reason.

\b
  trioworkers dlq list
  trioworkers dlq show 12
  trioworkers dlq replay --bot support
"""
LIST = """List dead letters, oldest first. BOT "-" is one that this daemon does not run.

\b
  trioworkers dlq list --bot support
  trioworkers dlq list --json | jq -r '.[] | select(.reason | test("timeout")) | .id'
"""
SHOW = """Show one dead letter: its attempts, what failed, which calls were made for it.

\b
  trioworkers dlq show 12
  trioworkers dlq show 12 --payload --json
"""
REPLAY = """Handle dead letters again: each is put at the tail of its chat, with attempts counted from 0.

\b
Calls that were already made for them are answered from the record, and not made again. If one of several ids
does not exist, nothing is replayed.

\b
  trioworkers dlq replay 12 13
  trioworkers dlq replay --bot support
  trioworkers dlq replay --all
"""
PURGE = """Delete dead letters for good.

\b
  trioworkers dlq purge 12 13
  trioworkers dlq purge --bot support --older-than 7d
  trioworkers dlq purge --all
"""
PAGE = 500
ID = click.IntRange(1, 2**63 - 1)
COLUMNS = (
    Column("id"),
    Column("bot"),
    Column("chat", 4),
    Column("update", 1),
    Column("attempts", 0),
    Column("died", 3),
    Column("reason", 2, is_text=True),
)


@click.group(help=HELP)
def dlq() -> None:
    pass


@dlq.command("list", help=LIST)
@click.option("--bot", type=BotName(), help="Only of this bot: its name, or the id of one that is gone.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="A list of objects.")
@click.pass_obj
def list_letters(config: Path | None, bot: str | None, limit: int | None, as_json: bool) -> None:
    pages = _pages(config, bot, limit)
    if as_json:
        _print_json(pages)
    else:
        _print_table(pages)


@dlq.command(help=SHOW)
@click.argument("id_", metavar="ID", type=ID)
@click.option("--payload", is_flag=True, help="The update as well: what a user wrote.")
@click.option("--json", "as_json", is_flag=True, help="As an object.")
@click.pass_obj
def show(config: Path | None, id_: int, payload: bool, as_json: bool) -> None:
    from trioworkers.cli.control import ask_or_fail

    letter = ask_or_fail(config, f"/api/dlq/{id_}?payload={int(payload)}")
    if as_json:
        click.echo(json.dumps(letter, indent=2))
    else:
        _print_letter(letter)


@dlq.command(help=REPLAY)
@click.argument("ids", metavar="[ID]...", nargs=-1, type=ID)
@click.option("--bot", type=BotName(), help="All of this bot.")
@click.option("--all", "everything", is_flag=True, help="All of all bots that the daemon runs.")
@click.pass_obj
def replay(config: Path | None, ids: tuple[int, ...], bot: str | None, everything: bool) -> None:
    from trioworkers.cli.control import ask_or_fail

    chosen = _chosen(ids, bot, everything)
    if len(chosen) != 1:
        raise click.UsageError("expected exactly one of ID…, --bot and --all")
    answer = ask_or_fail(config, "/api/dlq/replay", chosen, timeout=None, codes=_codes(bot))
    click.echo(f"replayed {counted(answer['replayed'], 'dead letter')}")


def _seconds(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    from trioworkers.config.units import parse_duration

    if value is None:
        return None
    try:
        return parse_duration(float(value) if value.isascii() and value.isdecimal() else value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@dlq.command(help=PURGE)
@click.argument("ids", metavar="[ID]...", nargs=-1, type=ID)
@click.option("--bot", type=BotName(), help="All of this bot: its name, or the id of one that is gone.")
@click.option("--all", "everything", is_flag=True, help="All of all bots.")
@click.option("--older-than", callback=_seconds, help='Only what died at least this long ago: "12h", "30d".')
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def purge(
    config: Path | None,
    ids: tuple[int, ...],
    bot: str | None,
    everything: bool,
    older_than: float | None,
    yes: bool,
) -> None:
    from trioworkers.cli.control import ask_or_fail

    chosen = _chosen(ids, bot, everything)
    if len(chosen) > 1 or (not chosen and older_than is None):
        raise click.UsageError("expected exactly one of ID…, --bot and --all, or --older-than")
    if everything and older_than is None and not yes and sys.stdin.isatty():
        click.confirm("forget all dead letters of all bots for good?", abort=True)
    if older_than is not None:
        chosen["older_than"] = older_than
    answer = ask_or_fail(config, "/api/dlq/purge", chosen, timeout=None, codes=_codes(bot))
    click.echo(f"purged {counted(answer['purged'], 'dead letter')}")


def _chosen(ids: tuple[int, ...], bot: str | None, everything: bool) -> dict[str, Any]:
    """What the daemon is asked to take; one key for each way in which it was said."""
    ways = {"ids": list(ids) or None, "bot": bot, "all": everything or None}
    return {way: value for way, value in ways.items() if value is not None}


def _codes(bot: str | None) -> Codes:
    """That a bot is unknown is wrong usage, as everywhere."""
    from trioworkers.cli.control import Codes

    return Codes() if bot is None else Codes(missing=USAGE)


def _pages(config: Path | None, bot: str | None, limit: int | None) -> Iterator[list[dict[str, Any]]]:
    """Page by page, so that any number of them fits the memory of either side."""
    from trioworkers.cli.control import ask_or_fail

    after: int | None = 0
    while after is not None and limit != 0:
        size = PAGE if limit is None else min(PAGE, limit)
        query = {"after": after, "limit": size, **({} if bot is None else {"bot": bot})}
        page = ask_or_fail(config, f"/api/dlq?{urlencode(query)}", codes=_codes(bot))
        yield page["letters"]
        after = page["next"]
        limit = None if limit is None else limit - len(page["letters"])


def _print_json(pages: Iterator[list[dict[str, Any]]]) -> None:
    first = True
    for page in pages:
        for letter in page:
            click.echo(f"{'[' if first else ','}\n  {json.dumps(letter)}", nl=False)
            first = False
    click.echo("[]" if first else "\n]")


def _print_table(pages: Iterator[list[dict[str, Any]]]) -> None:
    paper = find_paper()
    for number, page in enumerate(pages):
        if number == 0 and not page:
            click.echo("no dead letters")
            return
        lines = letter_lines(page, paper)
        for line in lines if number == 0 else lines[1:]:  # one line of titles
            click.echo(line)


def letter_lines(letters: list[dict[str, Any]], paper: Paper) -> list[str]:
    """The lines of a page of dead letters, with the titles."""
    return table_lines(COLUMNS, [_cells(letter) for letter in letters], paper)


def _cells(letter: dict[str, Any]) -> list[str]:
    bot = f"- ({letter['bot_id']})" if letter["bot"] is None else letter["bot"]
    chat = "-" if letter["chat_id"] is None else str(letter["chat_id"])
    attempts, died = str(letter["attempts"]), moment(letter["died_at"])
    return [
        str(letter["id"]),
        bot,
        chat,
        str(letter["update_id"]),
        attempts,
        died,
        printable(letter["reason"]),
    ]


def _print_letter(letter: dict[str, Any]) -> None:
    say: Callable[[str], None] = click.echo
    bot = "a bot that the daemon does not run" if letter["bot"] is None else letter["bot"]
    chat = "no chat" if letter["chat_id"] is None else f"chat {letter['chat_id']}"
    say(f"dead letter {letter['id']} of {bot} ({letter['bot_id']})")
    say(f"  update    {letter['update_id']}, {printable(letter['kind'])}, {chat}")
    say(f"  trace     {printable(letter['trace_id'])}")
    say(f"  accepted  {moment(letter['accepted_at'])}")
    say(f"  died      {moment(letter['died_at'])}")
    say(f"  reason    {printable(letter['reason'])}")
    if letter["damaged"]:
        say("  damaged   its body is not what was written")
    say(f"  attempts  {letter['attempts']}")
    for attempt in letter["history"]:
        unknown = ", ".join(map(printable, attempt["unknown"]))
        tail = f"; not known whether made: {unknown}" if unknown else ""
        say(f"    {moment(attempt['at'])}  {printable(attempt['error'])}{tail}")
    if letter["calls"]:
        say(f"  calls     {len(letter['calls'])}")
    for call in letter["calls"]:
        to = f" {printable(call['chat_id'])}" if call["chat_id"] else ""
        say(f"    {moment(call['at'])}  {call['state']:<11}  {printable(call['method'])}{to}")
    if "payload" in letter:
        say(json.dumps(letter["payload"], indent=2))
