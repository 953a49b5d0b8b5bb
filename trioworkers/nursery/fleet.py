"""All bots of the daemon: started at the fleet's rate, ended together under one deadline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.nursery.bot import BotScope, Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trioworkers.config import BotSettings


TICK = 0.01  # seconds


class Pace:
    """Lets starts through at a rate, first come first served. `rate`: starts per second, read each time.

    The rate is kept by a schedule, not by a pause at each start: those that are due within a `TICK` go at
    once, since a thousand sleeps of half a millisecond each take twice as long.
    """

    def __init__(self, rate: Callable[[], float]) -> None:
        self._rate = rate
        self._turn = trio.StrictFIFOLock()
        self._due = -math.inf

    async def wait(self) -> None:
        """Wait for the next turn."""
        async with self._turn:
            now = trio.current_time()
            due = max(self._due, now)
            if due - now > TICK:
                await trio.sleep_until(due)
            self._due = due + 1 / self._rate()


class FleetScope:
    """Runs the bots, each in a cancel scope of its own.

    Attributes:
        ready: set once every bot has its first verdict, failed included.
    """

    def __init__(self, bots: Mapping[str, BotSettings], around: Surroundings) -> None:
        self.ready = trio.Event()
        self._bots = {name: BotScope(settings, around) for name, settings in bots.items()}

    async def run(self) -> None:
        """Run all bots until each has been drained."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_verdicts)
            for bot in self._bots.values():
                nursery.start_soon(self._run, bot)

    def stop(self) -> None:
        """Fetch nothing more, anywhere; then let every worker finish what it has. `run` returns then."""
        for bot in self._bots.values():
            bot.stop_intake()
        for bot in self._bots.values():
            bot.drain()

    @property
    def bots(self) -> Mapping[str, BotScope]:
        """The bots, by name."""
        return self._bots

    def status(self) -> list[dict[str, Any]]:
        """The rows of the status document."""
        return [bot.status() for bot in self._bots.values()]

    def states(self) -> Iterable[str]:
        """Each bot's state."""
        return (bot.state for bot in self._bots.values())

    async def _run(self, bot: BotScope) -> None:
        """Run a bot; whatever breaks in it stays in it."""
        try:
            await bot.run()
        except* Exception as group:
            bot.fail(group)

    async def _watch_verdicts(self) -> None:
        for bot in self._bots.values():
            await bot.judged.wait()
        self.ready.set()
