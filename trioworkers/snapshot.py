"""Takes a snapshot of all figures, a few bots at a time: a thousand of them must not hold up the loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from trioworkers.awake import next_beat
from trioworkers.figures import EXITS, FleetFigures
from trioworkers.transport.deliveries import REASONS
from trioworkers.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trioworkers.figures import BotFigures, ClusterFigures, Figures
    from trioworkers.nursery.fleet import FleetScope
    from trioworkers.nursery.slots import WorkerSlots
    from trioworkers.ratelimit.pace import Paces
    from trioworkers.reload import Reload
    from trioworkers.transport.deliveries import Deliveries

LOOK_EVERY = 0.5  # seconds, from one look at the loop's lag to the next
TURN = 0.0005  # seconds after which the loop may do something else


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Where figures come from.

    Attributes:
        figures: what is counted; None: nothing is, since nobody wants it.
        fleet: the bots.
        deliveries: what Telegram delivers to webhooks.
        reload: reads the fleet anew.
        slots: for worker processes.
        database: the store's file.
        started_at: when the daemon started, Unix seconds.
        paces: the bots' turns to send.
        cluster: the figures of this node; None: it is in no cluster.
    """

    figures: Figures | None
    fleet: FleetScope
    deliveries: Deliveries
    reload: Reload
    slots: WorkerSlots
    database: Path | None
    started_at: float
    paces: Paces
    cluster: Callable[[], ClusterFigures] | None = None

    async def serve(self) -> None:
        """Measure how late the loop is, until cancelled; return at once where nothing is counted."""
        while self.figures is not None:
            due = next_beat(LOOK_EVERY)
            await trio.sleep_until(due)
            self.figures.loop.observe(trio.current_time() - due)

    async def take(self) -> FleetFigures | None:
        """Return all figures as they are now; None where nothing is counted.

        Each bot's are of one moment, those of all bots are not.
        """
        figures = self.figures
        if figures is None:
            await trio.lowlevel.checkpoint()
            return None
        bots = await self._take_bots(figures)
        answered = self.deliveries.answered
        turns = self.paces.figures()
        return FleetFigures(
            at=time.time(),
            version=__version__,
            started_at=self.started_at,
            bots=bots,
            handling=figures.handling.taken(),
            end_to_end=figures.end_to_end.taken(),
            lag=figures.lag.taken(),
            loop=figures.loop.taken(),
            commit_seconds=figures.commits.seconds.taken(),
            commit_operations=figures.commits.operations.taken(),
            commits_failed=figures.commits.failed,
            requests=tuple((*key, times) for key, times in figures.calls.requests.items()),
            waited=figures.calls.waited,
            exits={cause: figures.exits[cause] for cause in EXITS},
            deliveries={status: answered[status] for status in (200, *REASONS)},
            reloads=self.reload.figures,
            workers=self.slots.taken,
            most_workers=self.slots.limit,
            database=self.database,
            turns_waiting=turns.waiting,
            turns_waited=turns.waited,
            cluster=None if self.cluster is None else self.cluster(),
        )

    async def _take_bots(self, figures: Figures) -> tuple[BotFigures, ...]:
        rows: list[BotFigures] = []
        began = time.perf_counter()
        for bot in list(self.fleet.get_bots().values()):
            rows.append(bot.figures(figures))
            if time.perf_counter() - began > TURN:
                await trio.lowlevel.checkpoint()
                began = time.perf_counter()
        await trio.lowlevel.checkpoint()
        return tuple(rows)
