"""The command line: its verbs, gathered."""

from __future__ import annotations

from pathlib import Path

import click

from trioworkers.version import __version__

HELP = """Telegram bots in production: one daemon, one fleet.toml, a process per bot, nothing lost.

\b
Try it without a token or a network:
  trioworkers demo --seconds 20
Check a fleet file and run it:
  trioworkers -c fleet.toml check
  trioworkers -c fleet.toml run
"""


@click.group(help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help="The fleet file. Else $TRIOWORKERS_CONFIG, ./fleet.toml, /etc/trioworkers/fleet.toml.",
)
@click.version_option(__version__, prog_name="trioworkers")
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    context.obj = config


def _add_verbs() -> None:
    from trioworkers.cli.backup import backup
    from trioworkers.cli.bots import bots
    from trioworkers.cli.check import check, schema
    from trioworkers.cli.demo import demo
    from trioworkers.cli.dlq import dlq
    from trioworkers.cli.logs import logs
    from trioworkers.cli.reload import reload
    from trioworkers.cli.run import run
    from trioworkers.cli.service import restart, start, stop
    from trioworkers.cli.status import status

    verbs = (run, check, demo, start, stop, restart, reload, status, logs, bots, dlq, backup, schema)
    for command in verbs:
        main.add_command(command)


_add_verbs()
