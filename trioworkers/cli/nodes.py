"""`trioworkers nodes`: the daemons that run one fleet together, listed, drained, evicted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from trioworkers.cli.exits import USAGE
from trioworkers.cli.fleet_screen import node_notes
from trioworkers.cli.shown import find_paper, printable
from trioworkers.cli.table import Cell, Column, folded, table_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trioworkers.cli.shown import Paper

HELP = """The nodes of the cluster: the daemons that run this fleet on one database.

\b
Any of them answers for all.

\b
  trioworkers nodes list
  trioworkers nodes drain host-b
"""
LIST = """List the nodes, and how many bots each of them runs.

\b
STATE is running, draining, or silent: such a node has not renewed its lease since then. When the lease has
ended, other nodes run its bots.

\b
  trioworkers nodes list
  trioworkers nodes list --json | jq -r '.[] | select(.drains) | .node'
"""
DRAIN = """Let other nodes run the bots of NODE, and let it claim no more.

\b
Its bots move a few at a time, and nothing is lost. It ends with --undo, or with a restart of NODE's daemon.

\b
  trioworkers nodes drain host-b
  trioworkers nodes drain host-b --undo
"""
EVICT = """Take the bots away from NODE, whose machine has certainly ended.

\b
Other nodes then need not wait for the end of NODE's lease. A node that renews its lease is refused. One that
is only cut off from the database may still run its bots until its lease ends, beside the nodes that claim
them: do not evict it.

\b
  trioworkers nodes evict host-b
"""
COLUMNS = (
    Column("node"),
    Column("state"),
    Column("bots", is_right=True),
    Column("version", 1),
    Column("life", 0),
)


@click.group(help=HELP)
def nodes() -> None:
    pass


@nodes.command("list", help=LIST)
@click.option("--json", "as_json", is_flag=True, help="A list of objects.")
@click.pass_obj
def list_nodes(config: Path | None, as_json: bool) -> None:
    from trioworkers.cli.control import ask_or_fail

    found = ask_or_fail(config, "/api/nodes")["nodes"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for line in node_lines(found, find_paper()):
        click.echo(line)


@nodes.command(help=DRAIN)
@click.argument("node")
@click.option("--undo", is_flag=True, help="Let NODE claim bots again.")
@click.pass_obj
def drain(config: Path | None, node: str, undo: bool) -> None:
    takers = _ask(config, node, "drain", {"undo": undo})["takers"]
    what = "claims bots again" if undo else "gives its bots to other nodes, and claims none"
    if not undo and not takers:
        what = "claims no bots, and keeps those that it has: no other node can take them now"
    click.echo(f"{printable(node)} {what}")


@nodes.command(help=EVICT)
@click.argument("node")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def evict(config: Path | None, node: str, yes: bool) -> None:
    if not yes:
        click.confirm(f"has the daemon of {printable(node)} certainly ended?", abort=True)
    _ask(config, node, "evict", {})
    click.echo(f"{printable(node)} is evicted: other nodes claim its bots")


def node_lines(rows: Sequence[Mapping[str, Any]], paper: Paper) -> list[str]:
    """The lines of `nodes list`; the node that answers is marked."""
    if not rows:
        return ["no nodes: the daemon is in no cluster"]
    cells: list[list[str | Cell]] = []
    for row in rows:
        if row["state"] == "silent":
            state = Cell(f"silent for {row['silent_for']:.0f} s", "red")
        elif row["state"] == "draining":
            state = Cell("draining", "yellow")
        else:
            state = Cell("running", "green")
        name = f"{printable(row['node'])}{' *' if row['is_self'] else ''}"
        cells.append([name, state, f"{row['bots']:,}", printable(row["version"] or "-"), row["life"][:8]])
    notes = [line for note in node_notes(rows) for line in folded(note, paper.width)]
    return [*table_lines(COLUMNS, cells, paper), "* answered this", *notes]


def _ask(config: Path | None, node: str, action: str, body: Mapping[str, Any]) -> Any:
    from trioworkers.cli.control import Codes, ask_or_fail

    path = f"/api/nodes/{quote(node, safe='')}/{action}"
    return ask_or_fail(config, path, body, codes=Codes(missing=USAGE))
