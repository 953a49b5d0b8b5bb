"""`trioworkers run`: the daemon in the foreground."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

import click

from trioworkers.cli.failures import refuse, run_or_fail
from trioworkers.cli.fleet import daemon_errors, read_fleet
from trioworkers.cli.handlers import handler_problems

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.config import Fleet

HELP = """Run the fleet in the foreground, until TERM or INT.

\b
A first TERM or INT stops gracefully: nothing more is fetched, what is being handled ends, within
fleet.shutdown_timeout. A second INT stops at once; what was in flight is handled after the next start.
USR2 replaces all workers one after another, USR1 says that logs were moved, QUIT stops at once and tells
where every task stands.

\b
  trioworkers run
  trioworkers -c /etc/trioworkers/fleet.toml run --dry-run
"""


@click.command(help=HELP)
@click.option(
    "--dry-run", is_flag=True, help="Validate, import handlers and plugins, print the plan, start nothing."
)
@click.pass_obj
def run(config: Path | None, dry_run: bool) -> None:
    fleet = read_fleet(config)
    if dry_run:
        from trioworkers.plugins import load_plugins

        plugins = load_plugins(fleet).found
        broken = [f"plugin {one.name}, from {one.origin}: {one.error}" for one in plugins if one.error]
        if problems := handler_problems(fleet) + broken:
            refuse(problems)
        _print_plan(fleet, [plugin.name for plugin in plugins])
        return
    run_or_fail(lambda: _serve(fleet))


def _serve(fleet: Fleet) -> None:
    import trio

    from trioworkers.events import Events
    from trioworkers.logs import open_log
    from trioworkers.logs.files import RotatedFile
    from trioworkers.run import run_daemon
    from trioworkers.stacks import task_stacks
    from trioworkers.stop import Requests, watch_signals

    os.umask(0o077)
    master = RotatedFile(fleet.log_dir / "master.log", lambda: fleet.log)
    log = open_log(
        format=fleet.log.format,
        stream=_stream(fleet),
        file=master,
        throttle_window=lambda: fleet.log.throttle_window,
    )
    events = Events(log, least=fleet.log.level)

    def emit_stacks() -> None:
        for task, places, count in task_stacks():
            events.emit("daemon.stack", task=task, count=count, stack=" < ".join(places))

    def emit_reopened() -> None:
        events.emit("log.reopened")

    async def serve() -> None:
        requests = Requests()
        others = {signal.SIGUSR1: emit_reopened, signal.SIGQUIT: emit_stacks}
        async with trio.open_nursery() as nursery:
            await nursery.start(watch_signals, requests, others)
            _show_threads()
            await nursery.start(log.serve)
            await run_daemon(fleet, events, requests)
            nursery.cancel_scope.cancel()

    trio.run(serve)


def _show_threads() -> None:
    """Let QUIT also write the stacks of all threads to standard error, even while the loop is held up."""
    with suppress(AttributeError, OSError, ValueError):  # there is none
        faulthandler.register(signal.SIGQUIT, chain=True)


def _stream(fleet: Fleet) -> TextIO | None:
    """Where events go beside master.log: nowhere when standard error is a file beside it, never rotated."""
    with suppress(AttributeError, OSError, ValueError):
        if os.path.samestat(os.fstat(sys.stderr.fileno()), os.stat(daemon_errors(fleet))):
            return open(os.devnull, "w")
    return None


def _print_plan(fleet: Fleet, plugins: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("bot", "id", "transport", "handler", "starts", box=None, pad_edge=False)
    for name, bot in sorted(fleet.bots.items()):
        if not bot.enabled:
            starts = "no, it is not enabled"
        elif not fleet.shard.owns(bot.bot_id):
            starts = "no, another shard has it"
        else:
            starts = "yes"
        table.add_row(name, str(bot.bot_id), bot.transport, bot.handler, starts)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"fleet {fleet.name}, from {fleet.path}", markup=False)
    console.print(f"state {fleet.state_dir}, API {fleet.api.bind}, Bot API {fleet.api_base}", markup=False)
    console.print(f"plugins: {', '.join(plugins) or 'none'}", markup=False)
    console.print(table if fleet.bots else "no bots")
