"""What `trioworkers status` shows: what is not well first, then every bot. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.bot_screen import marked
from trioworkers.cli.shown import counted, printable
from trioworkers.cli.table import Cell, Column, folded, table_lines
from trioworkers.config.worker_places import held_back_now
from trioworkers.status import summary
from trioworkers.top.words import count, size, span
from trioworkers.trouble import tally, trouble_of, troubles_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trioworkers.cli.shown import Paper
    from trioworkers.trouble import Trouble

COLOURS = {"running": "green", "failed": "red", "backoff": "yellow", "draining": "yellow", "starting": "cyan"}
COLUMNS = (
    Column("bot"),
    Column("state"),
    Column("pid", 1),
    Column("transport", 0),
    Column("up", 4),
    Column("handled", 5, is_right=True),
    Column("errors", 6, is_right=True),
    Column("waiting", 8, is_right=True),
    Column("dead", 7, is_right=True),
    Column("memory", 3, is_right=True),
    Column("not well", 2, is_text=True),
)
NODE = 2, Column("node", 4)  # its place among the columns, in a cluster
NAMED = 3  # bots of a group that are named
GROUPS = 5  # groups that have a line


def fleet_lines(document: Mapping[str, Any], paper: Paper, now: float) -> list[str]:
    """The lines of the status document; `now`: Unix seconds."""
    fleet, rows = document["fleet"], document["workers"]
    up = span(fleet["uptime_ms"])
    lines = folded(
        f"fleet {printable(fleet['name'])}: {fleet['state']}, pid {fleet['pid']}, up {up}", paper.width
    )
    lines += trouble_lines(rows, paper, now)
    lines += _config_lines(fleet["config"], paper)
    nodes = document.get("nodes", ())
    for line in [*node_notes(nodes), *unseen_lines(nodes)]:
        lines += folded(click.style(line, fg="red") if paper.has_colours else line, paper.width)
    dead = sum(row["queue"]["dead"] for row in rows)
    letters = f", {counted(dead, 'dead letter')}" if dead else ""
    lines += folded(f"{summary(rows)}{letters}", paper.width)
    if (waits := held_back_now(rows)) is not None:
        lines += folded(printable(waits), paper.width)
    return [*lines, *_table(rows, paper, now)] if rows else lines


def trouble_lines(rows: Sequence[Mapping[str, Any]], paper: Paper, now: float) -> list[str]:
    """What is not well, a line for all bots that have the same trouble, the worst first; then what to do."""
    found = troubles_of(rows)
    if not found:
        return []
    groups = _groups(found)
    are = "is" if len(found) == 1 else "are"
    head = f"{len(found):,} of {counted(len(rows), 'bot')} {are} not well: {tally(found)}"
    lines = folded(head, paper.width)
    if paper.has_colours:
        lines = [click.style(line, fg="red", bold=True) for line in lines]
    for bots in groups[:GROUPS]:
        worst = min((found[bot] for bot in bots), key=lambda trouble: trouble.since or now)
        lines += folded(f"  {_in_words(worst, now)}: {_names(bots)}", paper.width)
    if rest := sum(map(len, groups[GROUPS:])):
        lines.append(f"  and {rest:,} more, which the table begins with")
    lines.append("what to do:")
    for remedy, bots in _remedies(found, groups[:GROUPS]).items():
        lines += folded(f"  {_names(bots)}: {_for_one(remedy, bots)}", paper.width)
    return lines


def _groups(found: Mapping[str, Trouble]) -> list[list[str]]:
    """Bots with the same trouble together; the worst first, of equals the most."""
    groups: dict[tuple[int, str], list[str]] = {}
    for bot, trouble in found.items():
        groups.setdefault((trouble.rank, trouble.words), []).append(bot)
    return [groups[key] for key in sorted(groups, key=lambda key: (key[0], -len(groups[key]), key[1]))]


def _remedies(found: Mapping[str, Trouble], groups: Iterable[list[str]]) -> dict[str, list[str]]:
    remedies: dict[str, list[str]] = {}
    for bots in groups:
        remedies.setdefault(found[bots[0]].remedy, []).extend(bots)
    return remedies


def _for_one(remedy: str, bots: Sequence[str]) -> str:
    return remedy.replace("BOT", bots[0]) if len(bots) == 1 else remedy


def _names(bots: Sequence[str]) -> str:
    named = ", ".join(bots[:NAMED])
    return named if len(bots) <= NAMED else f"{named} and {len(bots) - NAMED:,} more"


def _in_words(trouble: Trouble, now: float) -> str:
    lasts = "" if trouble.since is None else f" for {span(max(0.0, now - trouble.since) * 1000)}"
    why = f" ({printable(trouble.why)})" if trouble.why else ""
    return f"{trouble.what}{lasts}{why}"


def _short(trouble: Trouble, state: str, now: float) -> str:
    """The trouble beside its state, which may have said a part of it."""
    return printable(trouble.why) if state == "failed" and trouble.why else _in_words(trouble, now)


def node_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is not as it should be with the nodes of a cluster, and what to do."""
    notes = [
        f"{printable(row['node'])}, which answers, has not renewed its lease for {row['silent_for']:.0f} s:"
        " the database cannot be reached, or refuses it, as inbox.trouble in its log says"
        for row in rows
        if row["is_self"] and row["state"] == "silent"
    ]
    named = Counter(row["node"] for row in rows if row["state"] != "silent")
    notes += [
        f"{number} nodes are named {printable(name)}: give each a name of its own, cluster.node"
        for name, number in named.items()
        if number > 1
    ]
    notes += [
        f"{printable(row['node'])} has other bots in its fleet file than the node that answers: neither gives"
        " the other a bot before all have the same"
        for row in rows
        if row["other_bots"]
    ]
    return notes


def unseen_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each node that did not answer, whose bots are therefore missing from a list."""
    return [
        f"node {printable(row['node'])} does not answer: {counted(row['bots'], 'bot')} of it"
        f" {'is' if row['bots'] == 1 else 'are'} not shown"
        for row in rows
        if not row.get("answers", True)
    ]


def _config_lines(config: Mapping[str, Any], paper: Paper) -> list[str]:
    lines = []
    if config["error"] is not None:
        head = "the changed fleet is refused; the old one runs:"
        lines.append(click.style(head, fg="red") if paper.has_colours else head)
        for problem in config["error"].splitlines():
            lines += folded(f"  {printable(problem)}", paper.width)
    if config.get("kept"):
        keys = ", ".join(map(printable, config["kept"]))
        lines += folded(f"changed, and kept until `trioworkers restart --daemon`: {keys}", paper.width)
    return lines


def _table(rows: Iterable[Mapping[str, Any]], paper: Paper, now: float) -> list[str]:
    found = [(trouble_of(row), row) for row in rows]
    found.sort(key=lambda pair: (99 if pair[0] is None else pair[0].rank, pair[1]["bot"]))
    columns, cells = [*COLUMNS], [_cells(row, trouble, now) for trouble, row in found]
    if any("node" in row for _, row in found):
        place, column = NODE
        columns.insert(place, column)
        for line, (_, row) in zip(cells, found, strict=True):
            line.insert(place, printable(row.get("node", "-")))
    return table_lines(columns, cells, paper)


def _cells(row: Mapping[str, Any], trouble: Trouble | None, now: float) -> list[str | Cell]:
    queue, state = row["queue"], row["state"]
    shown = marked(state, trouble is not None)
    colour = COLOURS.get(state) if shown == state else "yellow"
    return [
        row["bot"],
        Cell(shown, colour),
        str(row["pid"] or "-"),
        row["transport"],
        span(row["uptime_ms"]),
        count(row["messages"]),
        count(row["errors"]),
        count(queue["ready"] + queue["in_flight"] + queue["retry"]),
        count(queue["dead"]),
        size(row["memory_bytes"]),
        "" if trouble is None else _short(trouble, state, now),
    ]
