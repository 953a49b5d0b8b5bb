"""`trioworkers bots`: one bot, listed, shown, paused, resumed, restarted."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from trioworkers.cli.bot_name import BotName
from trioworkers.cli.exits import USAGE
from trioworkers.cli.shown import counted, find_paper, printable

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
RESTART = """Replace BOT's worker by one that runs the current code; return when it is ready.

\b
What the old one has in flight is finished first. Exit 1, with the reason, when the new one is not ready.

\b
  trioworkers bots restart support
"""
ADD = """Add a bot to the running fleet, and to those that start with it.

\b
The daemon writes it to <state_dir>/fleet.d/NAME.toml, with mode 0600. The token never stands on the
command line: it is asked for, or read from standard input, or the bot gets it from a file, a variable
or a credential of the daemon's. A token that Telegram refuses is refused here, too.

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


MOVE = """Let NODE of the cluster run BOT, as long as NODE lives.

\b
Nothing is lost: the node that runs BOT finishes what is in flight first. --free undoes it: then the cluster
chooses the node, as it does for all others.

\b
  trioworkers bots move support host-b
  trioworkers bots move support --free
"""


@click.group(help=HELP)
def bots() -> None:
    pass


@bots.command("list", help=LIST)
@click.option("--json", "as_json", is_flag=True, help="A list of objects.")
@click.pass_obj
def list_bots(config: Path | None, as_json: bool) -> None:
    from trioworkers.cli.bot_screen import list_lines
    from trioworkers.cli.control import ask_or_fail

    found = ask_or_fail(config, "/api/bots")["bots"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for line in list_lines(found, find_paper()):
        click.echo(line)


@bots.command(help=SHOW)
@click.argument("bot", type=BotName())
@click.option("--json", "as_json", is_flag=True, help="As an object.")
@click.pass_obj
def show(config: Path | None, bot: str, as_json: bool) -> None:
    from trioworkers.cli.bot_screen import bot_lines
    from trioworkers.config import BotSettings
    from trioworkers.config.units import with_units

    found = _ask(config, bot)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    settings = with_units(BotSettings, found["settings"])
    for line in bot_lines(found, settings, find_paper(), time.time()):
        click.echo(line)


@bots.command(help=ADD)
@click.argument("bot")
@click.option("--handler", help="module:function; without it that of [defaults].")
@click.option("--token-file", type=click.Path(path_type=Path), help="A file that holds the token.")
@click.option("--token-env", help="A variable of the daemon's environment.")
@click.option("--token-credential", help="A credential of the daemon's unit.")
@click.option(
    "--set",
    "keys",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another key of the bot, with its value as in TOML: --set 'settings.greeting=\"hi\"'.",
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
    from trioworkers.cli.added import Given, KeyGivenError, read_keys
    from trioworkers.cli.control import Codes, ask_or_fail
    from trioworkers.cli.plans import print_plan

    sources = {
        "file": None if token_file is None else os.path.abspath(token_file),
        "env": token_env,
        "credential": token_credential,
    }
    given = {name: value for name, value in sources.items() if value is not None}
    if len(given) > 1:
        raise click.UsageError("expected one of --token-file, --token-env and --token-credential")
    try:
        table, options = read_keys(keys)
    except KeyGivenError as error:
        raise click.UsageError(str(error)) from None
    table["token"] = given or _read_token(bot)
    source = next((f"--token-{name} {value}" for name, value in given.items()), "the token")
    options["token"] = source if "env" not in given else f"{source}, of the daemon's environment"
    if handler is not None:
        table["handler"] = handler
        options["handler"] = f"--handler {handler}"
    codes = Codes(cited=Given(bot, table, options).cited)
    print_plan(ask_or_fail(config, "/api/bots", {"name": bot, "bot": table}, timeout=None, codes=codes))


def _read_token(bot: str) -> str:
    """The token from standard input; a terminal is asked for it, and does not show it."""
    if sys.stdin.isatty():
        prompt = f"token of {printable(bot)}, as @BotFather gave it (not shown)"
        return str(click.prompt(prompt, hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip()


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
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def drop_pending(config: Path | None, bot: str, yes: bool) -> None:
    from trioworkers.cli.pending import check_bot, drop_pending_of

    if not yes:
        check_bot(config, bot)
        click.confirm(f"drop all updates of {printable(bot)} that wait at Telegram, for good?", abort=True)
    dropped = drop_pending_of(config, bot)
    click.echo(f"{bot}: dropped {counted(dropped, 'update')} that waited at Telegram")


@bots.command(help=MOVE)
@click.argument("bot", type=BotName())
@click.argument("node", required=False)
@click.option("--free", is_flag=True, help="Let the cluster choose the node again.")
@click.pass_obj
def move(config: Path | None, bot: str, node: str | None, free: bool) -> None:
    from trioworkers.cli.control import Codes, ask_or_fail

    if free == (node is not None):
        message = "expected a node, or --free"
        raise click.UsageError(message)
    path = f"/api/bots/{quote(bot, safe='')}/move"
    answer = ask_or_fail(config, path, {"node": node}, codes=Codes(missing=USAGE))
    once = answer.get("once")
    where = "moves to where the cluster wants it" if node is None else f"moves to {printable(node)}"
    click.echo(f"{bot} {where}{f', once {once}' if once else ''}")


def _ask(config: Path | None, bot: str, action: str | None = None) -> Any:
    """Ask for the bot, or for what to do with it; exits with 2 when there is none of that name."""
    from trioworkers.cli.control import Codes, ask_or_fail

    path = f"/api/bots/{quote(bot, safe='')}"
    if action is None:
        return ask_or_fail(config, path, codes=Codes(missing=USAGE))
    return ask_or_fail(config, f"{path}/{action}", {}, timeout=None, codes=Codes(missing=USAGE))
