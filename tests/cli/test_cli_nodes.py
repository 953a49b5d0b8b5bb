"""`trioworkers nodes` and lists of a cluster on terminals: what is silent or missing is named."""

from __future__ import annotations

from typing import Any

import pytest

from trioworkers.cli.bot_screen import list_lines
from trioworkers.cli.fleet_screen import node_notes, unseen_lines
from trioworkers.cli.nodes import node_lines
from trioworkers.cli.shown import Paper


def node(name: str, **fields: Any) -> dict[str, Any]:
    row = {"node": name, "life": "5d7c1f02-aaaa", "is_self": False, "bots": 34, "drains": False}
    row |= {"state": "running", "other_bots": False}
    return {**row, "silent_for": 0.4, "version": "0.1.0", **fields}


@pytest.mark.parametrize("width", [40, 80, None])
def test_nodes_are_listed_with_their_states(width: int | None) -> None:
    """A narrow terminal leaves columns out; the node that answers is marked."""
    rows = [
        node("host-a", is_self=True),
        node("host-b", drains=True, state="draining", bots=0),
        node("host-c", silent_for=7.2, drains=True, state="silent", version=None),
    ]
    head, *lines, note = node_lines(rows, Paper(width))
    assert head.split()[:3] == ["node", "state", "bots"]
    assert [line.split()[:2] for line in lines] == [
        ["host-a", "*"],
        ["host-b", "draining"],
        ["host-c", "silent"],
    ]
    assert "silent for 7 s" in lines[2]
    assert note == "* answered this"
    assert node_lines([], Paper(width)) == ["no nodes: the daemon is in no cluster"]


def test_a_renewal_that_is_not_due_yet_is_no_silence() -> None:
    """With a lease of a minute one comes every six seconds; the daemon says whether one was missed."""
    (_, line, _) = node_lines([node("a", silent_for=5.5)], Paper(None))
    assert line.split()[1] == "running"


def test_what_is_wrong_with_nodes_is_said() -> None:
    """Nodes of one name, of other bots, and a node that answers without a lease; not what has just ended."""
    fine = [node("a", is_self=True), node("b", state="silent"), node("b", state="draining")]
    assert node_notes(fine) == []
    rows = [
        node("a", is_self=True, state="silent", silent_for=27.4),
        node("b"),
        node("b", state="draining"),
        node("c", other_bots=True),
    ]
    own, named, other = node_notes(rows)
    assert own.startswith(
        "a, which answers, has not renewed its lease for 27 s: the database cannot be reached"
    )
    assert named == "2 nodes are named b: give each a name of its own, cluster.node"
    assert other.startswith("c has other bots in its fleet file than the node that answers")
    assert node_lines(rows, Paper(None))[-3:] == [own, named, other]


def test_nodes_that_do_not_answer_are_named_with_what_is_missing() -> None:
    """All others are not."""
    rows = [node("a", answers=True), node("b", answers=False), node("c", answers=False, bots=1), node("d")]
    assert unseen_lines(rows) == [
        "node b does not answer: 34 bots of it are not shown",
        "node c does not answer: 1 bot of it is not shown",
    ]


def test_bots_are_listed_with_their_nodes_in_a_cluster_alone() -> None:
    """A daemon for itself has no such column."""
    bot = {"bot": "shop", "bot_id": 7, "state": "running", "handler": "shop:handle", "code": None, "pid": 5}
    bot |= {"reason": None}
    assert "node" not in list_lines([bot], Paper(None))[0]
    head, line = list_lines([{**bot, "node": "host-a"}], Paper(None))
    assert head.split()[3] == "node"
    assert line.split()[3] == "host-a"
