"""How many worker processes a fleet may have at the same time, and which key says so. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trioworkers.config.fleet import Fleet
    from trioworkers.config.settings import Limits
    from trioworkers.machine import Machine

OF_A_WORKER = 8 * 2**20  # bytes; one that echoes has 4 to 6 MB of its own, what a bot imports comes on top
PART = 2  # this part of the memory is for workers; the rest is for the daemon, caches and everything else
WAITS = "waits for a place: "  # how the reason of a bot begins that waits for one
LEAST_PER_CORE = 20  # where memory is scarce, or not known


@dataclass(frozen=True, slots=True)
class Places:
    """So many workers at the same time. `words`: the key that says so, as people read it."""

    most: int
    words: str


def places_of(limits: Limits, machine: Machine) -> Places:
    """Return how many workers there may be: the lower limit counts."""
    cores, memory = (
        f"{machine.cores} core{'s' * (machine.cores != 1)}",
        f"{machine.memory >> 20} MB of memory",
    )
    if limits.max_workers_per_core == "auto":
        most = max(LEAST_PER_CORE * machine.cores, machine.memory // PART // OF_A_WORKER)
        key = f'limits.max_workers_per_core = "auto" with {memory} and {cores}'
    else:
        most = limits.max_workers_per_core * machine.cores
        key = f"limits.max_workers_per_core = {limits.max_workers_per_core} with {cores}"
    if limits.max_workers <= most:
        most, key = limits.max_workers, f"limits.max_workers = {limits.max_workers}"
    return Places(most, f"{key} allows {most} worker{'s' * (most != 1)} at the same time")


def held_back(fleet: Fleet, places: Places) -> str | None:
    """Say how many bots of a fleet will wait for a place, and for which key; None when each has one.

    Bots that start on demand share what is left: they need no place while they have nothing to do.
    """
    bots = [bot for bot in fleet.bots.values() if bot.enabled and fleet.shard.owns(bot.bot_id)]
    wanted = sum(bot.worker == "always" for bot in bots)
    return None if wanted <= places.most else _waiting(wanted - places.most, places.words)


def held_back_now(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """Say it of the rows of a status document: how many bots wait, and for which key; None when none does."""
    reasons = [row["reason"] for row in rows if (row["reason"] or "").startswith(WAITS)]
    return _waiting(len(reasons), reasons[0].removeprefix(WAITS)) if reasons else None


def _waiting(bots: int, why: str) -> str:
    wait = "1 bot waits" if bots == 1 else f"{bots} bots wait"
    return f'{wait} for a place: {why}. Raise it, or let bots start on demand (worker = "on_demand")'
