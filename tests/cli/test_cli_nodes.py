"""`trioworkers nodes` and lists of a cluster on terminals: what is silent or missing is named."""

from __future__ import annotations

from typing import Any

import pytest

from trioworkers.cli.bot_screen import list_lines
from trioworkers.cli.fleet_screen import unseen_lines
from trioworkers.cli.nodes import node_lines
from trioworkers.cli.shown import Paper


def node(name: str, **fields: Any) -> dict[str, Any]:
    row = {"node": name, "life": "5d7c1f02-aaaa", "is_self": False, "bots": 34, "drains": False}
    return {**row, "silent_for": 0.4, "version": "0.1.0", **fields}


@pytest.mark.parametrize("width", [40, 80, None])
def test_nodes_are_listed_with_their_states(width: int | None) -> None:
    """A narrow terminal leaves columns out; the node that answers is marked."""
    rows = [
        node("host-a", is_self=True),
        node("host-b", drains=True, bots=0),
        node("host-c", silent_for=7.2, drains=True, version=None),
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
