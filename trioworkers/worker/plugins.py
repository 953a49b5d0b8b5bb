"""Hooks of plugins in a worker: found in the modules that the daemon names, called one by one, and guarded.

Imported only where a bot has such plugins, as pluggy with it: most workers carry neither. A plugin never
makes a worker unfit, and never decides what becomes of an update: what goes wrong in it is logged in the
bot's log, by type and place, and after `MOST_FAILURES` in a row it is off until the worker starts again.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy
import trio

from trioworkers.errors import describe, leaves
from trioworkers.hookspecs import PROJECT, Hooks, WorkerHooks
from trioworkers.protocol.frames import CODE_LENGTH, MOST_COUNTS, HookCount
from trioworkers.user_modules import SourceLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from trioworkers.handling.bot import Bot
    from trioworkers.handling.log import BotLog
    from trioworkers.handling.update import Update
    from trioworkers.protocol.frames import WorkerPlugin

LIMIT = 5.0  # seconds for one hook
MOST_FAILURES = 5  # in a row
START, STOP = "trioworkers_worker_start", "trioworkers_worker_stop"
BEFORE, AFTER = "trioworkers_before_handle", "trioworkers_after_handle"


class PluginInWorker:
    """A plugin as its hooks see it in a worker.

    Attributes:
        name: its name in the fleet file.
        settings: its table in force, as JSON can express it.
        log: the bot's log; each line names the plugin.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], log: BotLog) -> None:
        self.name = name
        self.settings = settings
        self.log = log


@dataclass(slots=True, eq=False)
class _Loaded:
    """A plugin, and how its hooks fare."""

    handle: PluginInWorker
    in_row: int = 0
    is_off: bool = False
    is_wanted: bool = True
    calls: int = 0
    failures: int = 0
    seconds: float = 0.0
    slowest: float = 0.0

    def take(self) -> HookCount:
        """What its calls came to since the last time."""
        calls, self.calls = self.calls, 0
        failures, self.failures = self.failures, 0
        seconds, self.seconds = self.seconds, 0.0
        slowest, self.slowest = self.slowest, 0.0
        return HookCount(self.handle.name[:CODE_LENGTH], calls, failures, seconds, slowest)


@dataclass(frozen=True, slots=True)
class _Call:
    """One plugin's function for one hook, and the names of what it takes."""

    plugin: _Loaded
    function: Callable[..., Any]
    names: tuple[str, ...]


class WorkerPlugins:
    """The plugins of one worker.

    Args:
        plugins: what the daemon says of them.
        log: the bot's log.

    Attributes:
        surround_handlings: whether any has a hook before or after each handling.
    """

    def __init__(self, plugins: Sequence[WorkerPlugin], log: BotLog) -> None:
        self._log = log
        self._loaded: dict[str, _Loaded] = {}
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Hooks)  # a module may have hooks of both sides
        manager.add_hookspecs(WorkerHooks)
        for plugin in plugins:
            self._load(plugin, manager)
        self._calls = {name: self._calls_of(name, manager) for name in (START, STOP, BEFORE, AFTER)}
        self.surround_handlings = bool(self._calls[BEFORE] or self._calls[AFTER])

    def retune(self, settings: Mapping[str, Mapping[str, Any]], log: BotLog) -> None:
        """Let them see other settings, and log to another log, from now on.

        The hooks of those that have no settings any more are not called until they have some again. Those
        that were not there when the worker started are loaded by the next worker.
        """
        self._log = log
        for name, plugin in self._loaded.items():
            plugin.is_wanted = name in settings
            plugin.handle.settings = settings.get(name, plugin.handle.settings)
            plugin.handle.log = log.bind(plugin=name)

    async def start(self, bot: Bot) -> None:
        """Call the hooks for the worker's start."""
        await self._call(START, {"bot": bot})

    async def stop(self, bot: Bot) -> None:
        """Call the hooks for the worker's end."""
        await self._call(STOP, {"bot": bot})

    async def before(self, bot: Bot, update: Update) -> None:
        """Call the hooks before a handling."""
        await self._call(BEFORE, {"bot": bot, "update": update})

    async def after(self, bot: Bot, update: Update, outcome: str) -> None:
        """Call the hooks after a handling."""
        await self._call(AFTER, {"bot": bot, "update": update, "outcome": outcome})

    def take_counts(self) -> list[HookCount]:
        """What the calls of each plugin came to since the last time; those that had none are left out."""
        return [plugin.take() for plugin in self._loaded.values() if plugin.calls][:MOST_COUNTS]

    def _load(self, plugin: WorkerPlugin, manager: pluggy.PluginManager) -> None:
        """Import one; one that cannot be imported, or has an unknown hook, is left out."""
        try:
            module = _import(plugin)
            manager.register(module, plugin.name)
            manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            problem = str(error).partition("\n")[0]
        except BaseException as error:  # SystemExit and the like, too, as with a handler
            problem = f"importing it raised {describe(error)}"
        else:
            handle = PluginInWorker(plugin.name, plugin.settings, self._log.bind(plugin=plugin.name))
            self._loaded[plugin.name] = _Loaded(handle)
            return
        if manager.has_plugin(plugin.name):
            manager.unregister(name=plugin.name)
        self._log.error("a plugin cannot be loaded in the worker", plugin=plugin.name, error=problem)

    def _calls_of(self, hook: str, manager: pluggy.PluginManager) -> list[_Call]:
        found = reversed(getattr(manager.hook, hook).get_hookimpls())  # the order in which pluggy calls them
        return [_Call(self._loaded[one.plugin_name], one.function, tuple(one.argnames)) for one in found]

    async def _call(self, hook: str, arguments: dict[str, Any]) -> None:
        for call in self._calls[hook]:
            if call.plugin.is_wanted and not call.plugin.is_off:
                await self._call_one(hook, call, arguments)

    async def _call_one(self, hook: str, call: _Call, arguments: dict[str, Any]) -> None:
        plugin, problem = call.plugin, None
        given = {**arguments, "plugin": plugin.handle}
        began = trio.current_time()
        scope = trio.CancelScope(deadline=began + LIMIT)
        try:
            with scope:
                answer = call.function(**{name: given[name] for name in call.names})
                if inspect.isawaitable(answer):
                    await answer
        except BaseException as error:
            if any(isinstance(leaf, trio.Cancelled) for leaf in leaves(error)):
                raise  # the handling was cancelled
            problem = f"raised {describe(error)}"
        took = trio.current_time() - began
        plugin.calls += 1
        plugin.seconds += took
        plugin.slowest = max(plugin.slowest, took)
        if scope.cancelled_caught or (problem is None and took > LIMIT):
            problem = f"took longer than {LIMIT:g} s"
        if problem is None:
            plugin.in_row = 0
            return
        plugin.failures += 1
        plugin.in_row += 1
        plugin.is_off = plugin.in_row >= MOST_FAILURES
        plugin.handle.log.error("a plugin's hook failed", hook=hook, error=problem, off=plugin.is_off)


def _import(plugin: WorkerPlugin) -> ModuleType:
    if plugin.file is None:
        return importlib.import_module(plugin.module or plugin.name)
    name = f"trioworkers_plugin_{plugin.name}"  # it hides no module, and none hides it
    spec = importlib.util.spec_from_file_location(name, plugin.file, loader=SourceLoader(name, plugin.file))
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
