"""Where the time of takeovers went: until the node was evicted, its bots were claimed, and they polled."""

from __future__ import annotations

from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from soaking.cluster_reckoning import takeovers
from soaking.reckoning import events

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from soaking.cluster_reckoning import Absence

NAMES = "node.evicted", "lease.acquired", "worker.ready"
STAGES = ("evicted", "claimed and prepared", "first poll", "worker ready")


class Happened(NamedTuple):
    """An event of a node: what, concerning which bot or node, and when, Unix seconds."""

    event: str
    who: str
    at: float


def happened(logs: Iterable[Path]) -> list[Happened]:
    """All events of all nodes that concern takeovers, in the order of their times."""
    found = [
        Happened(event["event"], event.get("bot") or event["node"], _seconds(event["at"]))
        for log in logs
        for event in events(log, NAMES)
    ]
    return sorted(found, key=lambda one: one.at)


def stages(
    absences: Sequence[Absence],
    turns: Mapping[int, Sequence[Sequence[Any]]],
    told: Sequence[Happened],
    names: Mapping[int, str],
    awake: Collection[str],
    wall: float,
) -> dict[str, str]:
    """Seconds after a node was gone, median and longest, at which each stage was reached.

    Args:
        absences: the nodes that were gone; those amid a server's absence are left out.
        turns: who polled when.
        told: what the nodes logged.
        names: those of the bots, by id.
        awake: those whose workers start before they are wanted.
        wall: what Unix time is ahead of the clock of the others.
    """
    took: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for absence in absences:
        if absence.is_disturbed:
            continue
        polls = takeovers(absence, turns)
        after = [one for one in told if one.at >= absence.since + wall]
        node = absence.life.partition("/")[0]
        first = {(one.event, one.who): one.at - wall - absence.since for one in reversed(after)}
        _add(took["evicted"], first.get(("node.evicted", node)))
        for bot, polled in polls.items():
            _add(took["first poll"], polled)
            _add(took["claimed and prepared"], first.get(("lease.acquired", names[bot])))
            if names[bot] in awake:
                _add(took["worker ready"], first.get(("worker.ready", names[bot])))
    return {stage: f"{median(found):.1f} and {max(found):.1f}" for stage, found in took.items() if found}


def _add(found: list[float], seconds: float | None) -> None:
    if seconds is not None:
        found.append(seconds)


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
