"""All bots of the daemon: started at the fleet's rate, ended together under one deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from trioworkers.errors import describe
from trioworkers.nursery.bot import BotScope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trioworkers.config import BotSettings, Plan
    from trioworkers.nursery.bot_context import BotContext
    from trioworkers.nursery.delivery import Run
    from trioworkers.records import Arrival


# keys that concern how updates are fetched, too
# keys that concern how updates are fetched, too
FETCH_ANEW = frozenset({"token", "proxy", "test_servers", "fleet.api_base", "fleet.proxy"})


class FleetScope:
    """Runs the bots, each in a cancel scope of its own.

    Args:
        bots: those that run from the start.
        context: what they need of the daemon.

    Attributes:
        ready: set once each of these has its first verdict, failed included.
        touched: the bots whose row of the status may have changed; whoever reads it clears it.
    """

    def __init__(self, bots: Mapping[str, BotSettings], context: BotContext) -> None:
        self.ready = trio.Event()
        self._context = context
        self._bots = {name: BotScope(settings, context) for name, settings in bots.items()}
        self._gone: list[BotScope] = []  # removed or replaced, and still finishing what they have
        self._stopping = trio.Event()
        self._nursery: trio.Nursery | None = None
        self.touched = context.touched

    async def run(self) -> None:
        """Run all bots until each has been drained."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._watch_verdicts, list(self._bots.values()))
            for bot in self._bots.values():
                self._nursery.start_soon(self._run, bot, ())
            await self._stopping.wait()

    def stop(self) -> None:
        """Fetch nothing more, anywhere; then let every worker finish what it has. `run` returns then."""
        self._stopping.set()
        for bot in self._bots.values():
            bot.stop_intake()
        for bot in self._bots.values():
            bot.drain()

    def get_bots(self) -> Mapping[str, BotScope]:
        """The bots, by name."""
        return self._bots

    def apply(self, plan: Plan) -> None:
        """Do what a plan says; the fleet in force is its fleet already.

        Bots that go finish what they have in flight. A bot that has a bot id, a name or a log of one of
        them, or of one that an earlier plan let go, begins when they have ended; the others are not
        waited for.
        """
        if self._stopping.is_set():
            return
        bots = plan.fleet.bots
        self.touched.update(plan.added, plan.removed, plan.replaced, plan.retuned)
        fresh = list(plan.added)
        for name in plan.removed:
            self._end(name)
        for name, keys in (*plan.replaced.items(), *plan.retuned.items()):
            if "enabled" in keys or self._bots[name].settings.bot_id != bots[name].bot_id:
                self._end(name)
                fresh.append(name)
            elif name in plan.replaced:
                fetch_anew = not FETCH_ANEW.isdisjoint(keys)
                self._bots[name].replace(bots[name], fetch_anew=fetch_anew)
            else:
                self._bots[name].retune(bots[name])
        if any(key == "log.level" or key.startswith("plugins.") for key in plan.changed):  # workers have it
            for bot in self._bots.values():
                bot.retune(bot.settings)
        self.webhooks_changed()
        for name in fresh:
            bot = self._bots[name] = BotScope(bots[name], self._context)
            if self._nursery is not None:
                # of an earlier plan, too: one that came and went may have been ended by that
                self._nursery.start_soon(self._run, bot, tuple(self._gone))

    def reroute(self, bot: str) -> None:
        """Ask the route again for the updates of a bot that wait; nothing, if the bot has gone."""
        if bot in self._bots:
            self._bots[bot].reroute()

    async def fence(
        self, bot: str, chat_id: int, epoch: int, is_spared: Callable[[Run], bool] = lambda run: False
    ) -> None:
        """As :meth:`BotScope.fence`; of a bot that is gone nothing is waited for."""
        if bot in self._bots:
            await self._bots[bot].fence(chat_id, epoch, is_spared)

    async def offer(self, bot: str, make: Callable[[int], Arrival]) -> None:
        """As :meth:`BotScope.offer`.

        Raises:
            KeyError: there is no such bot.
        """
        await self._bots[bot].offer(make)

    def hooks_changed(self) -> None:
        """Plugins became active, or are not active any more."""
        for bot in self._bots.values():
            bot.hooks_changed()

    def webhooks_changed(self) -> None:
        """What Telegram has to know of webhooks may have changed."""
        for bot in self._bots.values():
            bot.webhook_changed()

    def status(self) -> list[dict[str, Any]]:
        """The rows of the status document."""
        return [bot.status() for bot in self.everyone]

    def names(self) -> list[str]:
        """The bots that have a row of the status."""
        return list(dict.fromkeys(bot.settings.name for bot in self.everyone))

    def row(self, name: str) -> dict[str, Any] | None:
        """A bot's row of the status; None: there is no such bot.

        While one that was replaced finishes what it has, the row is that of the one in its place.
        """
        bot = self._bots.get(name) or next((one for one in self._gone if one.settings.name == name), None)
        return None if bot is None else bot.status()

    @property
    def everyone(self) -> list[BotScope]:
        """The bots, and those that were removed or replaced and still finish what they have."""
        return [*self._bots.values(), *self._gone]

    def states(self) -> Iterable[str]:
        """Each bot's state."""
        return (bot.state for bot in self._bots.values())

    def _end(self, name: str) -> None:
        bot = self._bots.pop(name)
        self._gone.append(bot)
        bot.stop_intake()
        bot.drain()

    async def _run(self, bot: BotScope, after: Sequence[BotScope]) -> None:
        """Run a bot; whatever breaks in it stays in it."""
        for other in after:
            if not bot.may_run_beside(other):
                await other.ended.wait()
        try:
            await bot.run()
        except* Exception as group:
            reason = {"reason": "internal error", "error": describe(group)}
            self._context.events.emit("bot.failed", bot.settings.name, **reason)
        bot.ended.set()
        if bot in self._gone:
            self._gone.remove(bot)
            self.touched.add(bot.settings.name)
            if bot.settings.name not in self._bots:
                self._context.webhooks.deliveries.remove(bot.settings.name)
            paces, bot_id = self._context.paces, bot.settings.bot_id
            if paces is not None and all(other.settings.bot_id != bot_id for other in self.everyone):
                paces.forget(bot_id)

    async def _watch_verdicts(self, bots: Sequence[BotScope]) -> None:
        for bot in bots:
            await bot.wait_judged()
        self.ready.set()
