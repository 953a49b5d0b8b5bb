"""The command line: its verbs, gathered."""

from __future__ import annotations

from pathlib import Path

import click

from trioworkers.cli.extended import ExtendedGroup
from trioworkers.version import __version__

HELP = """Telegram bots in production: one daemon, one fleet.toml, a process per bot, nothing lost.

\b
Try it without a token or a network:
  trioworkers demo --seconds 20
Check a fleet file and run it:
  trioworkers -c fleet.toml check
  trioworkers -c fleet.toml run
"""


@click.group(
    cls=ExtendedGroup,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help="The fleet file; without it $TRIOWORKERS_CONFIG, ./fleet.toml or /etc/trioworkers/fleet.toml.",
)
@click.version_option(__version__, prog_name="trioworkers")
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    context.obj = config


def _add_verbs() -> None:
    from trioworkers.cli.adopt import adopt
    from trioworkers.cli.backup import backup
    from trioworkers.cli.bots import bots
    from trioworkers.cli.check import check, schema
    from trioworkers.cli.completion import completion
    from trioworkers.cli.dashboard import dashboard
    from trioworkers.cli.demo import demo
    from trioworkers.cli.dlq import dlq
    from trioworkers.cli.logs import logs
    from trioworkers.cli.migrate_store import migrate_store
    from trioworkers.cli.new import new
    from trioworkers.cli.nodes import nodes
    from trioworkers.cli.plugins import plugins
    from trioworkers.cli.reload import reload
    from trioworkers.cli.run import run
    from trioworkers.cli.service import restart, start, stop
    from trioworkers.cli.status import status
    from trioworkers.cli.top import top
    from trioworkers.cli.unit import unit

    plain = (
        run,
        check,
        demo,
        start,
        stop,
        restart,
        reload,
        status,
        top,
        logs,
        backup,
        migrate_store,
        schema,
        unit,
    )
    for command in (*plain, dashboard, bots, nodes, dlq, new, adopt, plugins):
        main.add_command(command)
    main.add_command(completion)


_add_verbs()
