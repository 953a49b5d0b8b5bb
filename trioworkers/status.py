"""The status document: what the fleet is doing, in the shape that is promised to users."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trioworkers.config import Fleet


@dataclass(frozen=True, slots=True)
class LastReload:
    """How the last reload went.

    Attributes:
        at: Unix seconds.
        error: all problems, one line each.
        kept: keys that were changed and wait for a restart of the daemon.
    """

    at: float
    error: str | None = None
    kept: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is said of a daemon as a node of its cluster.

    `life`: the id of its present life; `bots`: how many it runs; `lease_left`: seconds for which it may work
    without another renewal; `all`: the name, state and number of bots of each node.
    """

    name: str
    life: str
    bots: int
    lease_left: float
    all: Sequence[tuple[str, str, int]] = ()


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """What is said of the daemon. `started_at`: Unix seconds; `state`: `starting`, `running`, `stopping`.

    `node`: None where it is in no cluster.
    """

    started_at: float
    state: str
    last_reload: LastReload
    node: NodeFacts | None = None


def status_document(fleet: Fleet, facts: DaemonFacts, workers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The whole status document around the workers' rows. `fleet`: the one in force."""
    return {
        "fleet": {
            "name": fleet.name,
            "version": __version__,
            "pid": os.getpid(),
            "uptime_ms": round((time.time() - facts.started_at) * 1000),
            "state": facts.state,
            "node": None if facts.node is None else _node(facts.node),
            "config": {
                "hash": fleet.digest,
                "last_reload_ok": facts.last_reload.error is None,
                "last_reload_at": facts.last_reload.at,
                "error": facts.last_reload.error,
                "kept": list(facts.last_reload.kept),
            },
        },
        "workers": list(workers),
    }


def _node(node: NodeFacts) -> dict[str, Any]:
    left = round(1000 * node.lease_left)
    nodes = [{"node": name, "state": state, "bots": bots} for name, state, bots in node.all]
    return {"name": node.name, "life": node.life, "bots": node.bots, "lease_left_ms": left, "nodes": nodes}


def summary(workers: Sequence[dict[str, Any]]) -> str:
    """One line for people: `12 bots: 11 running, 1 failed; 3 updates waiting`."""
    parts = ("ready", "in_flight", "retry")
    waiting = sum(worker["queue"][part] for worker in workers for part in parts)
    return summed_up((worker["state"] for worker in workers), waiting)


def summed_up(bot_states: Iterable[str], waiting: int) -> str:
    """The same line, of each bot's state and of how many updates wait."""
    states = Counter(bot_states)
    bots = "1 bot" if states.total() == 1 else f"{states.total():,} bots"
    told = ", ".join(f"{count:,} {state}" for state, count in states.most_common()) or "none"
    updates = "1 update" if waiting == 1 else f"{waiting:,} updates"
    return f"{bots}: {told}; {updates} waiting"
