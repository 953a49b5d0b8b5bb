"""Whether two nodes ever worked for one bot, and how soon a node's bots had another one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Absence:
    """A node was not there.

    Attributes:
        life: which life of which node.
        what: what befell it.
        since, until: seconds; while it was frozen or cut off. One that was killed never came back.
        bots: that it had.
        is_disturbed: the server was away, too, before these bots had another node.
    """

    life: str
    what: str
    since: float
    until: float
    bots: Collection[int]
    is_disturbed: bool = False


def two_pollers(overlaps: Sequence[Sequence[Any]], absences: Sequence[Absence]) -> list[str]:
    """Whether a call of getUpdates began while another life polled, which was not frozen then."""
    broken = [
        f"bot {bot}: {life} polled at {at:.2f}, while {other} had done so since {since:.2f}"
        for bot, other, since, life, at in overlaps
        if not any(
            one.what == "freeze" and one.life == other and one.since <= at <= one.until
            for one in absences  # what Telegram reads of it by then was sent before
        )
    ]
    return _shortened(broken, "calls of getUpdates began beside another node's")


def moved(turns: Mapping[int, Sequence[Sequence[Any]]], since: float) -> list[str]:
    """Whether a bot got another poller after `since`, where no node went away."""
    broken = [
        f"bot {bot}: {', '.join(f'{life} from {first:.2f}' for life, first, *_ in found)}"
        for bot, found in turns.items()
        if found[-1][1] > since
    ]
    return _shortened(broken, "bots moved, though no node went away")


def strange_calls(strays: Sequence[Sequence[Any]], turns: Mapping[int, Sequence[Sequence[Any]]]) -> list[str]:
    """Whether a life called that was not the bot's poller, between two polls of the one that was."""
    broken = [
        f"bot {bot}: {life} called at {at:.2f}, within the turn of {turns[bot][turn][0]}"
        for bot, life, at, turn in strays
        if turns[bot][turn][1] < at < turns[bot][turn][2]
    ]
    return _shortened(broken, "calls were made by a node that did not have the bot")


def _shortened(broken: list[str], what: str) -> list[str]:
    more = [f"{len(broken)} {what}"] if len(broken) > SHOWN else []
    return broken[:SHOWN] + more


def takeovers(absence: Absence, turns: Mapping[int, Sequence[Sequence[Any]]]) -> dict[int, float | None]:
    """For each bot that a node had, after how many seconds another life polled; None: none did.

    Those are left out that had come to it a moment before, so that their former poller's turn went on.
    """
    found: dict[int, float | None] = {}
    for bot in absence.bots:
        others = [turn for turn in turns.get(bot, ()) if turn[0] != absence.life]
        if any(first <= absence.since < last for _, first, last, _ in others):
            continue
        after = (first - absence.since for _, first, *_ in others if first > absence.since)
        found[bot] = min(after, default=None)
    return found


def silences(absence: Absence, turns: Mapping[int, Sequence[Sequence[Any]]]) -> list[float]:
    """For each bot of a node, for how many seconds nobody polled between it and the bot's next node."""
    found = []
    for bot in absence.bots:
        for before, after in pairwise(turns.get(bot, ())):
            if before[0] == absence.life and after[1] > absence.since:
                if before[3] is not None:
                    found.append(after[1] - before[3])
                break
    return found


def late(
    absences: Sequence[Absence], turns: Mapping[int, Sequence[Sequence[Any]]], lease: float
) -> tuple[list[str], dict[str, Any]]:
    """Which takeovers took longer than a lease, and the figures. Those amid a server's absence are apart."""
    broken: list[str] = []
    calm: list[float] = []
    disturbed: list[float] = []
    for absence in absences:
        found = takeovers(absence, turns)
        took = [seconds for seconds in found.values() if seconds is not None]
        (disturbed if absence.is_disturbed else calm).extend(took)
        if absence.is_disturbed:
            continue
        slow = [f"{bot} after {seconds:.1f} s" for bot, seconds in found.items() if (seconds or 0.0) > lease]
        never = [str(bot) for bot, seconds in found.items() if seconds is None]
        if slow:
            broken.append(f"{absence.what} {absence.life}: {len(slow)} bots too late: {', '.join(slow[:3])}")
        if never:
            broken.append(f"{absence.what} {absence.life}: {len(never)} bots never: {', '.join(never[:3])}")
    figures: dict[str, Any] = {"nodes that went": len(absences), "bots taken over": len(calm)}
    silent = [gap for one in absences if one.what == "cut" for gap in silences(one, turns)]
    if silent:
        figures["silent between a node that was cut off and the next, least s"] = round(min(silent), 1)
    for name, seconds in (("takeover", calm), ("takeover amid a server's absence", disturbed)):
        if seconds:
            figures |= {
                f"{name}, median s": round(median(seconds), 1),
                f"{name}, longest s": round(max(seconds), 1),
            }
    return broken, figures
