"""What verbs of plugins are made with: asking the running daemon, and showing what it answers.

    from trioworkers.commands import ask_or_fail

    found = ask_or_fail(config, "/api/things")

`config` is the fleet file that the user named, or None: a verb gets it with `@click.pass_obj`. What goes
wrong ends the command with one line and the usual exit code.
"""

from trioworkers.cli.control import Codes, ask_or_fail
from trioworkers.cli.exits import FAILED, USAGE
from trioworkers.cli.shown import Paper, counted, find_paper, moment, printable
from trioworkers.cli.table import Column, table_lines

__all__ = [
    "FAILED",
    "USAGE",
    "Codes",
    "Column",
    "Paper",
    "ask_or_fail",
    "counted",
    "find_paper",
    "moment",
    "printable",
    "table_lines",
]
