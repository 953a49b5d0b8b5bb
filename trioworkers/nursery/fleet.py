"""All bots of the daemon: started at the fleet's rate, ended together under one deadline.

A daemon of a cluster runs only bots that it owns (:class:`trioworkers.cluster.member.Member` says which): it
takes some, gives some back, and may have to cut all off.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.errors import describe
from trioworkers.nursery.bot import BotScope
from trioworkers.nursery.own_updates import offer_own
from trioworkers.nursery.residents import Residents
from trioworkers.nursery.start_rate import FirstStart, StartRate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from trioworkers.config import BotSettings, Plan
    from trioworkers.nursery.bot_context import BotContext
    from trioworkers.nursery.delivery import Run
    from trioworkers.records import Arrival


TAKEOVER_RATE = 200.0  # first starts of workers per second, of bots that were taken from other daemons
# keys that concern how updates are fetched, too
FETCH_ANEW = frozenset({"token", "proxy", "test_servers", "fleet.api_base", "fleet.proxy"})


class FleetScope:
    """Runs the bots, each in a cancel scope of its own.

    Args:
        bots: those that run from the start.
        context: what they need of the daemon.
        is_shared: other daemons run bots of the fleet, too: this one runs those that it takes.

    Attributes:
        ready: set once each of these has its first verdict, failed included.
        residents: the bots that run here, for those who serve them.
        touched: the bots whose row of the status may have changed; whoever reads it clears it.
    """

    def __init__(
        self, bots: Mapping[str, BotSettings], context: BotContext, *, is_shared: bool = False
    ) -> None:
        self.ready = trio.Event()
        self._owned: set[int] | None = set() if is_shared else None
        self._takeovers = StartRate(lambda: TAKEOVER_RATE)
        self._scopes: dict[BotScope, trio.CancelScope] = {}
        self._context = context
        self._bots: dict[str, BotScope] = {}
        self._gone: list[BotScope] = []  # removed or replaced, and still finishing what they have
        self._stopping = trio.Event()
        self._nursery: trio.Nursery | None = None
        self.residents = Residents()
        self.touched = context.touched
        for settings in bots.values():
            self._begin(BotScope(settings, context))

    async def run(self) -> None:
        """Run all bots until each has been drained."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._watch_verdicts, list(self._bots.values()))
            for bot in self.everyone:
                self._nursery.start_soon(self._run, bot, ())
            await self._stopping.wait()

    def stop(self) -> None:
        """Fetch nothing more, anywhere; then let every worker finish what it has. `run` returns then."""
        self._stopping.set()
        for bot in self._bots.values():
            bot.stop_intake()
        for bot in self._bots.values():
            bot.drain()

    def take(self, bot_ids: Collection[int]) -> None:
        """Run these bots from now on, as no other daemon does; the fleet may not have all of them."""
        if self._stopping.is_set() or self._owned is None:
            return
        self._owned.update(bot_ids)
        wanted = {*bot_ids}
        for name, settings in self._context.fleet().bots.items():
            if settings.bot_id not in wanted or name in self._bots:
                continue
            self.touched.add(name)
            context = self._context
            if self._nursery is not None:  # else it is the daemon's own start
                may_start = FirstStart(self._takeovers, context.may_start)
                context = replace(context, may_start=may_start, is_taken_over=True)
            self._begin(BotScope(settings, context))

    def give_back(self, bot_ids: Collection[int]) -> None:
        """Let these bots finish what they have, and end; :meth:`wait_gone` waits for it."""
        for name in self._disown(bot_ids):
            self._end(name)

    def cut(self, bot_ids: Collection[int] | None = None) -> None:
        """End these bots at once, or all, and those that finish what they have, too."""
        for name in self._disown(bot_ids):
            self._gone.append(self._bots.pop(name))
        for bot in self._gone:
            if bot_ids is None or bot.settings.bot_id in bot_ids:
                self._scopes[bot].cancel()

    async def wait_gone(self, bot_ids: Collection[int] | None = None) -> None:
        """Wait until nothing runs of these bots, or of all."""
        for bot in self.everyone:
            if bot_ids is None or bot.settings.bot_id in bot_ids:
                await bot.ended.wait()

    def _disown(self, bot_ids: Collection[int] | None) -> list[str]:
        """Note that these bots are not this daemon's any more; return the names of those that run."""
        if self._owned is not None:
            self._owned.difference_update(self._owned.copy() if bot_ids is None else bot_ids)
        names = [
            name for name, bot in self._bots.items() if bot_ids is None or bot.settings.bot_id in bot_ids
        ]
        self.touched.update(names)
        return names

    def _begin(self, bot: BotScope) -> None:
        self._bots[bot.settings.name] = bot
        self._scopes[bot] = trio.CancelScope()
        if self._nursery is not None:
            # of an earlier plan, too: one that came and went may have been ended by that
            self._nursery.start_soon(self._run, bot, tuple(self._gone))

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
            if name in self._bots:
                self._end(name)
        for name, keys in (*plan.replaced.items(), *plan.retuned.items()):
            if name not in self._bots:  # another daemon runs it; it may be this one's by its new id
                fresh.append(name)
            elif "enabled" in keys or self._bots[name].settings.bot_id != bots[name].bot_id:
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
            if self._owned is None or bots[name].bot_id in self._owned:
                self._begin(BotScope(bots[name], self._context))

    def reroute(self, bot: str) -> None:
        """Ask the route again for the updates of a bot that wait; nothing, if the bot has gone."""
        if bot in self._bots:
            self._bots[bot].reroute()

    async def fence(
        self, bot: str, chat_id: int, epoch: int, is_spared: Callable[[Run], bool] = lambda run: False
    ) -> None:
        """As :meth:`BotScope.fence`, also of a bot that still finishes what it has."""
        for scope in self.everyone:
            if scope.settings.name == bot:
                await scope.fence(chat_id, epoch, is_spared)

    async def offer(self, bot: str, make: Callable[[int], Arrival]) -> None:
        """Put an update of the daemon's own into the inbox of a bot of the fleet, wherever that runs.

        It is as for :func:`~trioworkers.nursery.own_updates.offer_own`.

        Raises:
            KeyError: there is no such bot.
            StoreError: it is not durable.
        """
        settings = self._context.fleet().bots[bot]
        await offer_own(settings, self._context, make)

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
        resident = None
        with self._scopes[bot]:
            for other in after:
                if not bot.may_run_beside(other):
                    await other.ended.wait()
            resident = self.residents.begin(bot.settings.name, bot.settings.bot_id)
            try:
                await bot.run()
            except* Exception as group:
                reason = {"reason": "internal error", "error": describe(group)}
                self._context.events.emit("bot.failed", bot.settings.name, **reason)
            await self.residents.end(resident)
        if resident is not None:
            await self.residents.cut(resident)
        del self._scopes[bot]
        bot.ended.set()
        if bot in self._gone:
            self._gone.remove(bot)
            gc.unfreeze()  # it may have been there when the daemon was ready
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
