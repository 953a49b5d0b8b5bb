"""`trioworkers demo`: a whole fleet to watch, without a token or a network."""

from __future__ import annotations

import io
import json
import os
import sys
from math import isnan

import click

from trioworkers.cli.failures import fail, run_or_fail

HELP = """Watch a whole fleet at work: no token, no network, nothing to set up.

The daemon, the bots and their processes are real; Telegram and the people who talk to the bots are
simulated, on free ports. One of the bots fails now and then, so that you see retries and dead letters. It
runs until Ctrl-C, or for so many seconds, and ends with what became of every update; nothing stays on disk.

\b
  trioworkers demo
  trioworkers demo --seconds 20
  trioworkers demo --seconds 5 --json 2>/dev/null | jq .dead
"""


@click.command(help=HELP)
@click.option(
    "--seconds", type=click.FloatRange(min=0), metavar="N", help="End by itself after so many seconds."
)
@click.option(
    "--users", type=click.IntRange(1, 200), default=6, show_default=True, metavar="N", help="How many people."
)
@click.option(
    "--seed", type=int, default=1, show_default=True, metavar="N", help="Seed of people's random choices."
)
@click.option(
    "--json", "as_json", is_flag=True, help="The summary as JSON; the conversations go to standard error."
)
def demo(seconds: float | None, users: int, seed: int, as_json: bool) -> None:
    if seconds is not None and isnan(seconds):
        raise click.BadParameter("nan is no number of seconds", param_hint="--seconds")
    run_or_fail(lambda: _play(seconds, users, seed, as_json))


def _play(seconds: float | None, users: int, seed: int, as_json: bool) -> None:
    import trio

    from trioworkers.demo.fleet import ABOUT, run_demo
    from trioworkers.demo.screen import Screen
    from trioworkers.stop import Requests, watch_signals

    os.umask(0o077)
    stream = sys.stderr if as_json else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # people write in any script, terminals cannot all show it

    async def play() -> bool:
        requests = Requests()
        async with trio.open_nursery() as nursery:
            await nursery.start(watch_signals, requests)
            screen = Screen(stream, ABOUT, on_gone=requests.stop.request)
            summary = await run_demo(
                requests.stop,
                screen,
                seconds=float("inf") if seconds is None else seconds,
                people=users,
                seed=seed,
            )
            if as_json:
                click.echo(json.dumps(summary.document(), indent=2))
            else:
                screen.summarize(summary)
            nursery.cancel_scope.cancel()
        return summary.agrees

    try:
        agrees = trio.run(play)
    except* OSError as group:
        leaf: BaseException = group
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        fail(f"the demo cannot run: {leaf}")
    if not agrees:
        sys.exit(1)
