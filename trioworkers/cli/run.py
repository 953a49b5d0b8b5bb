"""`trioworkers run`: the daemon in the foreground."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, TextIO

import click

from trioworkers.cli.failures import refuse, run_or_fail
from trioworkers.cli.fleet import daemon_errors, read_fleet
from trioworkers.cli.handlers import handler_problems
from trioworkers.cli.plugin_tables import plugin_problems
from trioworkers.cli.start_problems import start_problems
from trioworkers.cli.streams import patient_descriptor

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trioworkers.config import Fleet

HELP = """Run the fleet in the foreground, until TERM or INT.

\b
The first TERM or INT stops gracefully: no more updates are fetched, and those in flight are finished, within
fleet.shutdown_timeout. A second INT stops at once; what was in flight is handled after the next start. USR2
replaces all workers, group by group. USR1 reopens the logs. QUIT stops at once, and logs where each task is.

\b
  trioworkers run
  trioworkers run --watch
  trioworkers run --debug
  trioworkers -c /etc/trioworkers/fleet.toml run --dry-run
"""
AT_BREAKPOINTS = """
stopping: bots that are at a breakpoint are waited for; Ctrl-C again stops at once
"""
TICK = 0.5  # seconds of the loop's longest sleep, see trioworkers.awake


@click.command(help=HELP)
@click.option(
    "--dry-run", is_flag=True, help="Validate, import handlers and plugins, print the plan, start nothing."
)
@click.option("--watch", is_flag=True, help="Replace a bot's worker when a file of its code changes.")
@click.option(
    "--debug", is_flag=True, help="Run without time limits; breakpoint() in a bot has this terminal."
)
@click.pass_obj
def run(config: Path | None, dry_run: bool, watch: bool, debug: bool) -> None:
    fleet = read_fleet(config)
    if dry_run:
        from trioworkers.descriptors import check_pidfds
        from trioworkers.plugins import load_plugins

        run_or_fail(check_pidfds)  # by which handlers are tried
        plugins = load_plugins(fleet)
        if problems := start_problems(fleet) + handler_problems(fleet) + plugin_problems(fleet, plugins):
            refuse(problems)
        plugins.retune(fleet, plugins.validated(fleet))
        _print_plan(fleet, [plugin.name for plugin in plugins.found if plugin.is_active])
        return
    if not debug:
        run_or_fail(lambda: _serve(fleet, watches_code=watch))
        return
    from trioworkers.terminal import find_terminal, kept_terminal

    path = find_terminal()
    if path is None:
        click.echo("trioworkers: --debug: there is no terminal, so breakpoint() is ignored", err=True)
    with nullcontext(nullcontext) if path is None else kept_terminal(path) as turn:
        run_or_fail(lambda: _serve(fleet, watches_code=watch, console=path or "", turn=turn))


def _serve(
    fleet: Fleet,
    *,
    watches_code: bool,
    console: str | None = None,
    turn: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    import trio

    from trioworkers.awake import AwakeClock
    from trioworkers.events import Events
    from trioworkers.logs import open_log
    from trioworkers.logs.echo import Terminal
    from trioworkers.logs.files import RotatedFile
    from trioworkers.logs.lines import StreamSink
    from trioworkers.run import UMASK, run_daemon
    from trioworkers.stacks import task_stacks
    from trioworkers.stop import Requests, watch_signals

    environ = {**os.environ, UMASK: f"{os.umask(0o077):o}"}
    master = RotatedFile(fleet.log_dir / "master.log", lambda: fleet.log)
    stream = _stream(fleet) or sys.stderr  # Python has None for a descriptor that is closed
    log = open_log(
        format=fleet.log.format,
        stream=None if stream is None else StreamSink(stream, turn),
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
        if console:
            others[signal.SIGINT] = lambda: click.echo(AT_BREAKPOINTS, err=True, nl=False)
        async with trio.open_nursery() as nursery:
            await nursery.start(watch_signals, requests, others)
            _show_threads()
            await nursery.start(log.serve)
            terminal = Terminal(_link_shown(), log.echo, watches_code, console)
            await run_daemon(fleet, events, requests, environ=environ, terminal=terminal)
            nursery.cancel_scope.cancel()

    trio.run(serve, clock=AwakeClock(tick=TICK, counts_steps=False))


def _link_shown() -> Callable[[str], None] | None:
    """What shows a login link: a line on the terminal, past the log; None where there is no terminal."""
    terminal = sys.stderr
    if terminal is None or not terminal.isatty():
        return None

    def show(link: str) -> None:
        with suppress(OSError, ValueError):  # the terminal has gone meanwhile
            terminal.write(f"Dashboard, a link that works once within 10 minutes:\n{link}\n")
            terminal.flush()

    return show


def _show_threads() -> None:
    """Let QUIT also write the stacks of all threads to standard error, even while the loop is held up.

    A crash of the interpreter writes them, too, and ABRT does, by which systemd's watchdog ends a daemon.
    """
    with suppress(AttributeError, OSError, ValueError):  # there is none
        errors = patient_descriptor(sys.stderr.fileno())
        faulthandler.enable(errors)
        faulthandler.register(signal.SIGQUIT, errors, chain=True)


def _stream(fleet: Fleet) -> TextIO | None:
    """Where events go beside master.log: nowhere when standard error is a file beside it, never rotated."""
    with suppress(AttributeError, OSError, ValueError):
        if os.path.samestat(os.fstat(sys.stderr.fileno()), os.stat(daemon_errors(fleet))):
            return open(os.devnull, "w")
    return None


def _print_plan(fleet: Fleet, plugins: list[str]) -> None:
    from trioworkers.cli.shown import find_paper
    from trioworkers.cli.table import Column, table_lines

    columns = (
        Column("bot"),
        Column("id", 1),
        Column("transport", 0),
        Column("handler or command", 2),
        Column("starts", 3, is_text=True),
    )
    rows = []
    for name, bot in sorted(fleet.bots.items()):
        if not bot.enabled:
            starts = "no, it is not enabled"
        elif not fleet.shard.owns(bot.bot_id):
            starts = "no, another shard has it"
        else:
            starts = "yes"
        rows.append([name, str(bot.bot_id), bot.transport, bot.shown, starts])
    click.echo(f"fleet {fleet.name}, from {fleet.path}")
    click.echo(f"state {fleet.state_dir}, API {fleet.api.bind}, Bot API {fleet.api_base}")
    click.echo(f"plugins: {', '.join(plugins) or 'none'}")
    for line in table_lines(columns, rows, find_paper()) if rows else ["no bots"]:
        click.echo(line)
