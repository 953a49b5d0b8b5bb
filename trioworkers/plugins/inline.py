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
    Route = Callable[[Sequence[Waiting]], Sequence[Run | None]]

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
            InlineCalls(plugin, ROUTE, self._watchdog, partial(_taken, plugin, self._watchdog))
            for plugin in routes
        ]
        facts = _Facts(settings)

        def route(waiting: Sequence[Waiting]) -> Sequence[Run | None]:
            updates = [_update_of(one) for one in waiting]
            runs: list[Run | None] = []
            for call in calls:
                if not call.plugin.is_active:
                    continue
                if not runs:  # most fleets have one plugin that takes updates
                    runs = call(facts(), updates)
                elif places := [place for place, run in enumerate(runs) if run is None]:
                    answers = call(facts(), [updates[place] for place in places])
                    for place, run in zip(places, answers, strict=True):
                        runs[place] = run
            return runs or [None] * len(waiting)

        return route

    def status(self, settings: BotSettings) -> dict[str, Any]:
        """What plugins add to a bot's row of the status document; empty when none does."""
        found: dict[str, Any] = {}
        for plugin in self._plugins.active(STATUS):
            (fields,) = InlineCalls(plugin, STATUS, self._watchdog, _as_json)(_facts(settings))
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


class InlineCalls:
    """One plugin's hook on the way of updates, guarded; what it raises, or answers wrongly, becomes None.

    The guard is around all calls of a batch, as it takes as long as a call; times, failures and slowness are
    those of each call all the same. Once a call has switched the plugin off, the others are not made.

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

    def __call__(self, bot: BotFacts, updates: Sequence[Update | None] = (None,)) -> list[Any]:
        """Call it for each update, with those of these arguments, and of `plugin`, that it takes.

        Returns one answer for each update, in order; the answer None stays so.
        """
        plugin, watchdog, function, is_usual = self.plugin, self._watchdog, self._function, self._is_usual
        answers: list[Any] = []
        slowest = spent = 0.0
        began = watchdog.begin(self._call)
        try:
            for update in updates:
                error = None
                try:
                    if is_usual:
                        answer = function(bot=bot, update=update, plugin=plugin)
                    else:
                        given = {"bot": bot, "update": update, "plugin": plugin}
                        answer = function(**{name: given[name] for name in self._takes})
                    if answer is not None:
                        answer = self._checked(answer)
                except RAISED as raised:
                    answer, error = None, raised
                answers.append(answer)
                ended = perf_counter()
                took = ended - began
                spent += took
                if took > slowest:
                    slowest = took
                if took >= SLOW or error is not None:
                    watchdog.call = None
                    self._note(took, error)
                    if not plugin.is_active:
                        break
                    ended = watchdog.begin(self._call)
                watchdog.began = began = ended
        finally:
            watchdog.call = None
            account = plugin.account
            account.calls += len(answers)
            account.seconds += spent
            if slowest > account.slowest:
                account.slowest = slowest
        if len(answers) < len(updates):
            answers += [None] * (len(updates) - len(answers))
        return answers

    def _note(self, took: float, error: BaseException | None) -> None:
        """A call was slow, or raised: report it, which may switch the plugin off."""
        self.plugin.held_loop(self._name, took, HOLD)
        if error is not None:
            self.plugin.raised(self._name, error)


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
        self._calls = InlineCalls(plugin, ACCEPT, watchdog, partial(_checked, plugin))

    def __call__(self, arrivals: Sequence[Arrival]) -> Any:
        facts = self._facts()
        updates = [Update(arrival.body, bot_id=facts.id, head=arrival) for arrival in arrivals]
        return self._ask_all(facts, updates) if self._is_async else self._calls(facts, updates)

    async def _ask_all(self, facts: BotFacts, updates: Sequence[Update]) -> list[Judgement]:
        return [await self._ask(facts, update) if self._plugin.is_active else None for update in updates]

    async def _ask(self, facts: BotFacts, update: Update) -> Judgement:
        plugin = self._plugin
        given = plugin.arguments(self._hook, bot=facts, update=update)
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
