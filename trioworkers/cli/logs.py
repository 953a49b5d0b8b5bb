"""`trioworkers logs`: the log of the daemon, or of a bot, read from its files."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.bot_name import BotName
from trioworkers.cli.exits import FAILED, NOT_PERMITTED, USAGE
from trioworkers.cli.failures import fail, refuse
from trioworkers.cli.way import TraceName, show_way
from trioworkers.nearest import nearest
from trioworkers.service.claim import ask_claim, find_claims
from trioworkers.service.places import service_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trioworkers.logs.read import LogReader

HELP = """Show the last lines of the daemon's log, or of BOT's; or the whole way of one update.

No daemon has to run: the files in fleet.log_dir are read, rotated ones, too. Lines of JSON are shown as
text, --json leaves them as they are.

With --trace, all lines about one update are shown with their times, from the daemon's log, the bots' logs (or
BOT's) and the trace plugin's. ID is a trace id, as log lines and dead letters have it, 8 or more of its
digits, or <bot_id>:<update_id>.

\b
  trioworkers logs -f
  trioworkers logs support -n 100
  trioworkers logs --trace 5f1c22d09a3b
  trioworkers logs -n 1000 --json | jq 'select(.level == "error")'
"""
SYSTEM_LOGS = Path("/var/log/trioworkers")
LOOK_EVERY = 0.2  # seconds
NAMED = 10  # bots that an error names


@click.command(help=HELP)
@click.argument("bot", required=False, type=BotName())
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=20, show_default=True, help="How many lines."
)
@click.option("--trace", type=TraceName(), help="Show the way of one update instead.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are in the file.")
@click.pass_obj
def logs(
    config: Path | None, bot: str | None, follow: bool, lines: int, trace: str | None, as_json: bool
) -> None:
    from trioworkers.logs.read import LogReader

    if trace is not None and follow:
        raise click.UsageError("expected one of --trace and --follow")
    path = _path(config, bot)
    show = _raw if as_json else _text()
    try:
        if trace is not None:
            show_way(path.parent, bot, trace, as_json=as_json, colours=_colours())
            return
        with closing(LogReader(path)) as reader, suppress(KeyboardInterrupt):
            found = reader.last(lines)
            if not follow and reader.unfinished and lines:
                found = [*found, reader.unfinished][-lines:]
            if not found and lines:
                click.echo(f"trioworkers: {path}: nothing was logged yet", err=True)
            for line in found:
                show(line)
            for line in _followed(reader) if follow else ():
                show(line)
    except OSError as error:
        if error.filename is None:  # not of the log: of our own output
            raise
        reason = (error.strerror or "unknown error").lower()
        fail(f"{error.filename}: {reason}", NOT_PERMITTED if isinstance(error, PermissionError) else FAILED)


def _path(config: Path | None, bot: str | None) -> Path:
    """The log that is meant; exits with 2 when there is no such bot."""
    from trioworkers.config import FleetFileError, find_bot_names, find_fleet_file, find_log_dir

    names: set[str] = set()
    try:
        file = find_fleet_file(config, os.environ)
        folder = find_log_dir(file, os.environ)
        names = find_bot_names(file, os.environ)
    except FleetFileError as error:
        if config is not None or not _is_there(SYSTEM_LOGS):
            refuse([str(problem) for problem in error.problems])
        folder = SYSTEM_LOGS
    else:
        # under systemd, $LOGS_DIRECTORY is known to the daemon only; what stands beside the file may be older
        told = (ask_claim(claimed) for claimed in find_claims(file))
        running = next((one.log_dir for one in told if one is not None), None)
        if running is not None:
            folder = running
        elif not folder.is_dir():
            folder = next((other for other in (service_logs(file), SYSTEM_LOGS) if _is_there(other)), folder)
    if bot is None:
        return folder / "master.log"
    with suppress(OSError):
        logs = (re.fullmatch(r"worker_(.+)\.log(\.[0-9]+)?", other.name) for other in folder.iterdir())
        names |= {log[1] for log in logs if log}
    if bot not in names:
        near = nearest(bot, names)
        all_names = ", ".join(sorted(names)) if len(names) <= NAMED else "those of `trioworkers bots list`"
        expected = f"did you mean {near}" if near else f"expected one of {all_names}"
        fail(f"{json.dumps(bot)} is not a bot, {expected if names else 'there are none'}", USAGE)
    return folder / f"worker_{bot}.log"


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except PermissionError:  # reading the log says so
        return True


def _followed(reader: LogReader) -> Iterator[bytes]:
    """Yield lines as they come, without end; say when some went by unread."""
    told = False
    while True:
        yield from reader.more()
        if reader.missed and not told:
            told = True
            click.echo("trioworkers: files were rotated before they were read, lines are missing", err=True)
        time.sleep(LOOK_EVERY)


def _colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _raw(line: bytes) -> None:
    click.echo(line)


def _text() -> Callable[[bytes], None]:
    from trioworkers.logs.render import printable, rendering

    render = rendering("text", colors=_colours())

    def show(line: bytes) -> None:
        text = line.decode(errors="replace")
        try:
            told: Any = json.loads(text)
            shown = render(told).removesuffix("\n") if isinstance(told, dict) and "event" in told else None
        except Exception:  # a worker may write anything, also what looks like one of our lines
            shown = None
        click.echo(printable(text) if shown is None else shown)

    return show
