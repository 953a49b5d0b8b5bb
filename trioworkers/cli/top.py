"""`trioworkers top`: the fleet as it changes, on a terminal."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.exits import NOT_PERMITTED
from trioworkers.cli.failures import fail, only_leaf

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.text import Text

    from trioworkers.top.state import Act

PIPED_WIDTH = 120  # columns, where nobody says how wide it is
HELP = """Show a live table of the fleet: what each bot does, how fast, and what is wrong.

Keys sort and filter it, open a bot, pause and restart bots; `?` explains them. It goes on over a restart of
the daemon. Where standard output is not a terminal, it prints the table once.

\b
  trioworkers top
  trioworkers top --times 3 | cat
  trioworkers top --json | jq 'select(.type == "event")'
"""


@click.command(help=HELP)
@click.option("--json", "as_json", is_flag=True, help="Print the messages of the live stream, one on a line.")
@click.option(
    "--times",
    type=click.IntRange(1),
    help="Print the table N times, or with --json N messages, and end.",
)
@click.pass_obj
def top(config: Path | None, as_json: bool, times: int | None) -> None:
    from trioworkers.cli.control import ask_or_fail, find_socket
    from trioworkers.client import LiveRefusedError

    ask_or_fail(config, "/health")  # or it would wait for a daemon that nobody has started
    control = find_socket(config)
    try:
        if as_json:
            _print_messages(control, times)
        elif times is not None or not _is_terminal():
            _print_tables(control, times or 1)
        else:
            _run(control)
    except BaseException as error:
        leaf = only_leaf(error)
        if isinstance(leaf, LiveRefusedError):
            fail(str(leaf), NOT_PERMITTED)
        if not isinstance(leaf, KeyboardInterrupt):
            raise leaf from None


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _run(control: Path) -> None:
    import trio

    from trioworkers.top.app import Top
    from trioworkers.top.terminal import Terminal

    terminal = Terminal(sys.stdin, sys.stdout)
    with terminal.held():
        trio.run(Top(control, terminal, partial(_ask, control)).run)


def _ask(control: Path, act: Act) -> str | None:
    """Ask the daemon for something; returns why it was not done, or None."""
    from urllib.parse import quote

    from trioworkers.cli.control import DaemonRefusedError, NotRunningError, UnreachableError, ask

    try:
        ask(control, f"/api/bots/{quote(act.bot, safe='')}/{act.verb}", {}, timeout=None)
    except (DaemonRefusedError, NotRunningError, UnreachableError, PermissionError) as error:
        return str(error)
    return None


def _print_tables(control: Path, times: int) -> None:
    import trio
    from rich.console import Console

    from trioworkers.top.app import print_tables
    from trioworkers.top.render import Screen

    console = Console(highlight=False, soft_wrap=True)
    width = console.width if console.is_terminal or "COLUMNS" in os.environ else PIPED_WIDTH

    def show(lines: Sequence[Text]) -> None:
        for line in lines:
            console.print(line, no_wrap=True, overflow="ignore", crop=False)

    is_plain = "utf" not in console.encoding
    trio.run(print_tables, control, times, Screen(width, 0, is_plain, is_paper=True), show)


def _print_messages(control: Path, times: int | None) -> None:
    import trio

    from trioworkers.top.app import print_messages

    def show(message: dict[str, Any]) -> None:
        click.echo(json.dumps(message))

    trio.run(print_messages, control, times, show)
