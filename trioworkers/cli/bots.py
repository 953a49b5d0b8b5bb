"""`trioworkers bots`: one bot, listed, shown, paused, resumed, restarted."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from trioworkers.cli.bot_name import BotName
from trioworkers.cli.exits import USAGE
from trioworkers.cli.shown import counted, moment, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HELP = """The bots of the running fleet, one by one.

\b
  trioworkers bots list
  trioworkers bots pause support
  trioworkers bots restart support
"""
LIST = """List the bots.

\b
  trioworkers bots list
  trioworkers bots list --json | jq -r '.[] | select(.paused) | .bot'
"""
SHOW = """Show one bot: what it is, what its worker does, how the last one ended.

\b
  trioworkers bots show support
  trioworkers bots show support --json
"""
PAUSE = """Handle no more updates of BOT until it is resumed, also after a restart of the daemon.

\b
Updates are accepted all the same and wait; what is in flight is finished.

\b
  trioworkers bots pause support
"""
RESUME = """Handle the updates of BOT again, first those that waited.

\b
  trioworkers bots resume support
"""
RESTART = """Replace BOT's worker by one that runs its code as it is now; return when it is ready.

\b
What the old one has in flight is finished first. Exit 1, with the reason, when the new one is not ready.

\b
  trioworkers bots restart support
"""
ADD = """Add a bot to the running fleet, and to those that start with it.

\b
The daemon writes it to <state_dir>/fleet.d/NAME.toml, with mode 0600. The token never stands on the
command line: it is read from standard input, or the bot gets it from a file, a variable or a
credential of the daemon's.

\b
  trioworkers bots add shop --handler shop:handle --token-file /etc/bots/shop.token
  trioworkers bots add shop --handler shop:handle --set 'settings.greeting="hi"' <token.txt
"""
REMOVE = """Remove a bot that was added by command; what it has in flight is finished first.

\b
Its updates that wait stay in the inbox, and so do its dead letters.

\b
  trioworkers bots remove shop
"""
DROP_PENDING = """Drop the updates of BOT that wait at Telegram, for good, and print how many they were.

\b
For a bot that was away and whose users need no answer to what they said meanwhile. Updates that the daemon
has accepted are not touched. A bot that runs has fetched what waited: set enabled = false in its table before
the daemon starts, drop, and enable it. Without a running daemon the command speaks to Telegram itself.

\b
  trioworkers bots drop-pending support
"""
COLUMNS = ("bot", "id", "state", "handler", "code", "pid")


@click.group(help=HELP)
def bots() -> None:
    pass


@bots.command("list", help=LIST)
@click.option("--json", "as_json", is_flag=True, help="A list of objects.")
@click.pass_obj
def list_bots(config: Path | None, as_json: bool) -> None:
    from trioworkers.cli.control import ask_or_fail

    found = ask_or_fail(config, "/api/bots")["bots"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [COLUMNS, *map(_cells, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if found else ():
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())
    if not found:
        click.echo("no bots")


@bots.command(help=SHOW)
@click.argument("bot", type=BotName())
@click.option("--json", "as_json", is_flag=True, help="As an object.")
@click.pass_obj
def show(config: Path | None, bot: str, as_json: bool) -> None:
    found = _ask(config, bot)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        if name == "last_exit" and value is not None:
            stderr = value.pop("stderr")
            value["at"] = moment(value["at"])
            click.echo(f"last_exit  {_words(value)}")
            for line in stderr:
                click.echo(f"  {printable(line)}")
        elif name == "settings":
            click.echo("settings")
            for key, setting in _flat(value):
                click.echo(f"  {key}  {_words(setting)}")
        else:
            click.echo(f"{name}  {_words(value)}")


@bots.command(help=ADD)
@click.argument("bot")
@click.option("--handler", help="module:function; without it that of [defaults].")
@click.option("--token-file", type=click.Path(path_type=Path), help="A file that holds the token.")
@click.option("--token-env", help="A variable of the daemon's environment.")
@click.option("--token-credential", help="A credential of the daemon's unit.")
@click.option(
    "--set", "keys", multiple=True, metavar="KEY=VALUE", help="A further key, its value as in TOML."
)
@click.pass_obj
def add(
    config: Path | None,
    bot: str,
    handler: str | None,
    token_file: Path | None,
    token_env: str | None,
    token_credential: str | None,
    keys: tuple[str, ...],
) -> None:
    from trioworkers.cli.control import ask_or_fail
    from trioworkers.cli.plans import print_plan

    sources = {
        "file": None if token_file is None else os.path.abspath(token_file),
        "env": token_env,
        "credential": token_credential,
    }
    given = {name: value for name, value in sources.items() if value is not None}
    if len(given) > 1:
        raise click.UsageError("expected one of --token-file, --token-env and --token-credential")
    table = _table(keys)
    table["token"] = given or sys.stdin.readline().strip()
    if handler is not None:
        table["handler"] = handler
    print_plan(ask_or_fail(config, "/api/bots", {"name": bot, "bot": table}, timeout=None))


def _table(keys: tuple[str, ...]) -> dict[str, Any]:
    try:
        return tomllib.loads("\n".join(keys))
    except tomllib.TOMLDecodeError as error:
        raise click.BadParameter(f"expected KEY=VALUE with a value as in TOML: {error}") from None


@bots.command(help=REMOVE)
@click.argument("bot", type=BotName())
@click.pass_obj
def remove(config: Path | None, bot: str) -> None:
    from trioworkers.cli.control import Codes, ask_or_fail
    from trioworkers.cli.plans import print_plan

    path = f"/api/bots/{quote(bot, safe='')}"
    print_plan(ask_or_fail(config, path, timeout=None, codes=Codes(missing=USAGE), method="DELETE"))


@bots.command(help=PAUSE)
@click.argument("bot", type=BotName())
@click.pass_obj
def pause(config: Path | None, bot: str) -> None:
    _ask(config, bot, "pause")
    click.echo(f"{bot} is paused: updates are accepted, none is handled")


@bots.command(help=RESUME)
@click.argument("bot", type=BotName())
@click.pass_obj
def resume(config: Path | None, bot: str) -> None:
    click.echo(f"{bot} is {_ask(config, bot, 'resume')['state']}")


@bots.command(help=RESTART)
@click.argument("bot", type=BotName())
@click.pass_obj
def restart(config: Path | None, bot: str) -> None:
    fresh = _ask(config, bot, "restart")
    click.echo(f"{bot} is {fresh['state']}, pid {fresh['pid']}, code {printable(fresh['code'] or '-')}")


@bots.command("drop-pending", help=DROP_PENDING)
@click.argument("bot", type=BotName())
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@click.pass_obj
def drop_pending(config: Path | None, bot: str, yes: bool) -> None:
    from trioworkers.cli.pending import drop_pending_of

    if not yes:
        click.confirm(f"drop all updates of {printable(bot)} that wait at Telegram, for good?", abort=True)
    dropped = drop_pending_of(config, bot)
    click.echo(f"{bot}: dropped {counted(dropped, 'update')} that waited at Telegram")


def _ask(config: Path | None, bot: str, action: str | None = None) -> Any:
    """Ask for the bot, or for what to do with it; exits with 2 when there is none of that name."""
    from trioworkers.cli.control import Codes, ask_or_fail

    path = f"/api/bots/{quote(bot, safe='')}"
    if action is None:
        return ask_or_fail(config, path, codes=Codes(missing=USAGE))
    return ask_or_fail(config, f"{path}/{action}", {}, timeout=None, codes=Codes(missing=USAGE))


def _cells(bot: dict[str, Any]) -> tuple[str, ...]:
    reason = f" ({printable(bot['reason'])})" if bot["reason"] else ""
    code, pid = bot["code"] or "-", bot["pid"] or "-"
    return (
        bot["bot"],
        str(bot["bot_id"]),
        bot["state"] + reason,
        printable(bot["handler"] or " ".join(bot["command"])),
        printable(code),
        str(pid),
    )


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items())
    if value is None:
        return "-"
    return printable(json.dumps(value) if not isinstance(value, str) else value)


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of nested tables with their values, as `retry.attempts`."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
