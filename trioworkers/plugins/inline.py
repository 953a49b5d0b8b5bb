"""The hooks on the way of every update: judges for a bot's gate, and the route of its scheduler.

They run on the daemon's loop. What they raise is taken for a failure of the plugin, and the update goes on as
if the plugin were not there; one that holds the loop is switched off when it returns.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from trioworkers.errors import Drop
from trioworkers.handling.update import Update
from trioworkers.plugin_store import HandlingStore
from trioworkers.plugin_types import BotFacts, Take, Write
from trioworkers.plugins.apart import call_apart
from trioworkers.plugins.errors import RAISED
from trioworkers.plugins.plugin import SLOW
from trioworkers.plugins.watchdog import HOLD
from trioworkers.records import Once

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trioworkers.config import BotSettings
    from trioworkers.handling.bot import Bot
    from trioworkers.inbox.gate import Judge, Judgement
    from trioworkers.inbox.store import StoreWrite
    from trioworkers.plugins.plugin import Plugin
    from trioworkers.plugins.registry import Plugins
    from trioworkers.plugins.watchdog import Watchdog
    from trioworkers.protocol.frames import HookCount
    from trioworkers.records import Arrival, Waiting

    Run = Callable[[Update, Bot], Awaitable[None]]
    Route = Callable[[Waiting], Run | None]

LATE = 1.0  # seconds for which an async judge may hold up its bot's intake
ACCEPT, ROUTE, STATUS = "trioworkers_accept", "trioworkers_route", "trioworkers_status"


class InlineHooks:
    """What bots ask plugins on the way of an update.

    Args:
        plugins: the plugins of this run.
        watchdog: names whoever holds the loop.
    """

    def __init__(self, plugins: Plugins, watchdog: Watchdog) -> None:
        self._plugins = plugins
        self._watchdog = watchdog

    def judges(self, settings: Callable[[], BotSettings]) -> Callable[[], Sequence[Judge]]:
        """What gives the judges of a bot, as the active plugins are at that moment; none is usual."""
        made = {
            plugin: _AcceptJudge(plugin, settings, self._watchdog)
            for plugin in self._plugins.implementing(ACCEPT)
        }
        return lambda: [judge for plugin, judge in made.items() if plugin.is_active] if made else ()

    def route(self, settings: Callable[[], BotSettings]) -> Route | None:
        """The route of a bot, or None while no active plugin may take an update."""
        routes = self._plugins.implementing(ROUTE)
        if not any(plugin.is_active for plugin in routes):
            return None

        calls = [
            InlineCall(plugin, ROUTE, self._watchdog, partial(_taken, plugin, self._watchdog))
            for plugin in routes
        ]
        facts = _Facts(settings)

        def route(waiting: Waiting) -> Run | None:
            update: Update | None = None
            for call in calls:
                if not call.plugin.is_active:
                    continue
                if update is None:
                    update = _update_of(waiting)
                run: Run | None = call(facts(), update)
                if run is not None:
                    return run
            return None

        return route

    def status(self, settings: BotSettings) -> dict[str, Any]:
        """What plugins add to a bot's row of the status document; empty when none does."""
        found: dict[str, Any] = {}
        for plugin in self._plugins.active(STATUS):
            fields = InlineCall(plugin, STATUS, self._watchdog, _as_json)(_facts(settings))
            if fields is not None:
                found[plugin.name] = fields
        return found

    def count(self, counts: Sequence[HookCount]) -> None:
        """Count what a worker reports of its calls of plugins; it may name whatever it likes."""
        plugins = {plugin.name: plugin for plugin in self._plugins.found}
        for count in counts:
            if (plugin := plugins.get(count.plugin)) is not None:
                account = plugin.account
                account.calls += count.calls
                account.failures += count.failures
                account.seconds += count.seconds
                account.slowest = max(account.slowest, count.slowest)


class InlineCall:
    """One plugin's hook on the way of updates, guarded; what it raises, or answers wrongly, becomes None.

    Written out without context managers: they would cost as much as what they surround, for each update.

    Args:
        plugin: the plugin.
        name: the hook.
        watchdog: names the plugin while it holds the loop.
        checked: makes of an answer what the caller wants; raises for a wrong one.
    """

    __slots__ = ("_call", "_checked", "_function", "_is_usual", "_name", "_takes", "_watchdog", "plugin")

    def __init__(self, plugin: Plugin, name: str, watchdog: Watchdog, checked: Callable[[Any], Any]) -> None:
        self.plugin = plugin
        self._name = name
        self._watchdog = watchdog
        self._checked = checked
        hook = plugin.hooks[name]
        self._function = hook.function
        self._takes = hook.takes
        self._is_usual = set(hook.takes) == {"bot", "update", "plugin"}  # written out below, which is faster
        self._call = (plugin, name)

    def __call__(self, bot: BotFacts, update: Update | None = None) -> Any:
        """Call it with those of these arguments, and of `plugin`, that it takes; the answer None stays so."""
        plugin, watchdog = self.plugin, self._watchdog
        began = watchdog.begin(self._call)
        error = None
        try:
            if self._is_usual:
                answer = self._function(bot=bot, update=update, plugin=plugin)
            else:
                given = {"bot": bot, "update": update, "plugin": plugin}
                answer = self._function(**{name: given[name] for name in self._takes})
            if answer is not None:
                answer = self._checked(answer)
        except RAISED as raised:
            answer, error = None, raised
        finally:
            watchdog.call = None
        took = perf_counter() - began
        account = plugin.account
        account.calls += 1
        account.seconds += took
        if took > account.slowest:
            account.slowest = took
            plugin.held_loop(self._name, took, HOLD)
        elif took >= SLOW:
            plugin.held_loop(self._name, took, HOLD)
        if error is not None:
            plugin.raised(self._name, error)
        return answer


class _Facts:
    """A bot's facts, made anew when its settings are others."""

    __slots__ = ("_facts", "_of", "_settings")

    def __init__(self, settings: Callable[[], BotSettings]) -> None:
        self._settings = settings
        self._of: BotSettings | None = None
        self._facts: BotFacts | None = None

    def __call__(self) -> BotFacts:
        settings = self._settings()
        if settings is not self._of or self._facts is None:
            self._of, self._facts = settings, _facts(settings)
        return self._facts


class _AcceptJudge:
    """One plugin's judge for one bot."""

    def __init__(self, plugin: Plugin, settings: Callable[[], BotSettings], watchdog: Watchdog) -> None:
        self._plugin = plugin
        self._hook = plugin.hooks[ACCEPT]
        self._is_async = self._hook.is_async
        self._facts = _Facts(settings)
        self._watchdog = watchdog
        self._call = InlineCall(plugin, ACCEPT, watchdog, partial(_checked, plugin))

    def __call__(self, arrival: Arrival) -> Any:
        facts = self._facts()
        update = Update(arrival.body, bot_id=facts.id, head=arrival)
        if self._is_async:
            return self._ask(self._plugin.arguments(self._hook, bot=facts, update=update))
        return self._call(facts, update)

    async def _ask(self, given: dict[str, Any]) -> Judgement:
        plugin = self._plugin
        began = trio.current_time()
        try:
            return _checked(plugin, await call_apart(self._run_watched, given, LATE))
        except trio.TooSlowError:
            plugin.failed(f"{ACCEPT} took longer than {LATE:g} s")
        except RAISED as error:
            plugin.raised(ACCEPT, error)
        finally:
            plugin.account.add(trio.current_time() - began)
        return None

    async def _run_watched(self, **given: Any) -> Any:
        return await self._watchdog.in_steps(self._plugin, ACCEPT, self._hook.function(**given))


def _checked(plugin: Plugin, answer: object) -> Judgement:
    """An answer of `trioworkers_accept` as a judgement of the gate.

    Raises:
        TypeError, ValueError: it is not one.
    """
    if isinstance(answer, (Once, Drop)):  # a union would be made anew each time
        return answer
    parts = answer if isinstance(answer, tuple) else (answer,)
    checked: list[Once | StoreWrite] = []
    for part in parts:
        if isinstance(part, Write):
            store = plugin.store
            gone = part.value is None
            checked.append(store.removal(part.key) if gone else store.write(part.key, part.value, part.ttl))
        elif isinstance(part, Once):
            checked.append(part)
        else:
            message = f"answered {type(part).__name__}, expected Drop, Once, Write, a tuple of these or None"
            raise TypeError(message)
    return tuple(checked)


def _taken(plugin: Plugin, watchdog: Watchdog, answer: object) -> Run:
    """An answer of `trioworkers_route` as what the executor awaits.

    Raises:
        TypeError: it is not an answer.
    """
    if not isinstance(answer, Take):
        message = f"answered {type(answer).__name__}, expected Take or None"
        raise TypeError(message)
    return _run_of(plugin, watchdog, answer)


def _as_json(fields: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(fields))


def _run_of(plugin: Plugin, watchdog: Watchdog, take: Take) -> Run:
    """What the executor awaits: the plugin's function with a bot that has the plugin's storage."""

    async def run(update: Update, bot: Any) -> None:
        bot.store = HandlingStore(plugin.store, bot.writes)
        plugin.account.calls += 1
        await watchdog.in_steps(plugin, ROUTE, handle(update, bot))

    async def handle(update: Update, bot: Any) -> None:
        await take.run(update, bot)

    run.plugin = plugin  # type: ignore[attr-defined] # a fence spares the asker's own
    return run


def _update_of(waiting: Waiting) -> Update:
    update = Update(
        waiting.body,
        bot_id=waiting.bot_id,
        attempt=waiting.attempt,
        after_gap=waiting.after_gap,
        head=waiting.head,
    )
    update.key = waiting.key
    return update


def _facts(settings: BotSettings) -> BotFacts:
    return BotFacts(settings.name, settings.bot_id, settings.settings)
