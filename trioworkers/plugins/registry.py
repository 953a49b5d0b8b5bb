"""The plugins of one run: registered and checked, their hooks compiled, their settings in force.

Hooks are called one by one: pluggy's own call would leave the coroutines of earlier ones unawaited when a
later one raises. So pluggy registers and checks, and what it found is kept here by hook and in order.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pluggy
from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from trioworkers.config import FleetFileError
from trioworkers.config.messages import unknown_key
from trioworkers.events import EVENTS, LEVELS
from trioworkers.hookspecs import PROJECT, Hooks, WorkerHooks
from trioworkers.plugin_types import HEARS, Hearing
from trioworkers.plugins.errors import RAISED, PluginError, kind_and_place
from trioworkers.plugins.plugin import Hook, Origin, Plugin
from trioworkers.protocol.frames import WorkerPlugin

if TYPE_CHECKING:
    from trioworkers.config import Fleet, Problem

PLAIN_ONLY = ("trioworkers_route", "trioworkers_status", "trioworkers_web", "trioworkers_cli")
ASYNC_ONLY = ("trioworkers_serve",)
WORKER_HOOKS = frozenset(name for name in vars(WorkerHooks) if name.startswith(PROJECT))


class Plugins:
    """The loaded plugins of one run of the daemon.

    Attributes:
        found: every plugin, those that could not be loaded included, in the order in which they were found.
    """

    def __init__(self) -> None:
        self.found: list[Plugin] = []
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._manager.add_hookspecs(WorkerHooks)
        self._by_hook: dict[str, list[Plugin]] = {}

    def add(self, name: str, module: object, origin: Origin) -> None:
        """Add a plugin.

        Raises:
            PluginError: it implements an unknown hook, or one with the wrong signature or of the wrong kind;
                it hears undeclared events, or its `Settings` cannot describe a table.
        """
        try:
            self._manager.register(module, name)
            self._manager.check_pending()
            hooks = dict(_hook(caller, module) for caller in self._manager.get_hookcallers(module) or ())
            _check(module, hooks)
            _check_settings(getattr(module, "Settings", None))
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise PluginError(str(error).partition("\n")[0]) from None
        plugin = Plugin(name, origin, module, hooks)
        self.found.append(plugin)
        for hook in hooks:
            row = [*self._by_hook.get(hook, ()), plugin]
            self._by_hook[hook] = sorted(row, key=lambda one: one.hooks[hook].rank)

    def leave_out(self, plugin: Plugin) -> None:
        """Note a plugin that could not be loaded."""
        self.found.append(plugin)

    def implementing(self, hook: str) -> list[Plugin]:
        """The plugins that have this hook, active or not, in the order in which they are called."""
        return self._by_hook.get(hook, [])

    def active(self, hook: str) -> list[Plugin]:
        """The active plugins that have this hook, in the order in which they are called."""
        return [plugin for plugin in self.implementing(hook) if plugin.is_active]

    def models(self) -> dict[str, type[BaseModel]]:
        """The settings that plugins declare, by plugin."""
        return {plugin.name: plugin.model for plugin in self.found if plugin.model is not None}

    def validated(self, fleet: Fleet) -> dict[str, Any]:
        """The settings of all plugins for a fleet, by plugin.

        Raises:
            FleetFileError: with all problems of all tables, those of plugins that do not exist included.
        """
        problems: list[Problem] = []
        settings: dict[str, Any] = {}
        known = {plugin.name: plugin for plugin in self.found}
        for name in fleet.plugins:
            if name not in known and name not in fleet.disabled_plugins:
                names = sorted({*known, *fleet.disabled_plugins})
                found = unknown_key(name, names).replace("key", "plugin", 1)
                problems.append(fleet.problem_at(("plugins", name), found, at_key=True))
        for plugin in self.found:
            try:
                settings[plugin.name] = plugin.validated(fleet)
            except FleetFileError as error:
                problems += error.problems
        if problems:
            raise FleetFileError(problems, fleet.watched)
        return settings

    def retune(self, fleet: Fleet, settings: dict[str, Any]) -> bool:
        """Put settings in force, as `validated` made them for this fleet; return whether anything changed."""
        return any([plugin.retune(fleet, settings.get(plugin.name, {})) for plugin in self.found])

    def for_workers(self) -> list[WorkerPlugin]:
        """The active plugins that have hooks of workers, as a worker is told of them.

        One whose settings cannot be given to a worker is left out, and that is its failure.
        """
        found: list[WorkerPlugin] = []
        for plugin in self.found:
            if not plugin.is_active or (plugin.worker is None and WORKER_HOOKS.isdisjoint(plugin.hooks)):
                continue
            try:
                if plugin.is_in_workers:
                    found.append(WorkerPlugin(plugin.name, *plugin.worker_module, plugin.worker_settings))
            except RAISED as error:  # its settings and what it says of them are the plugin's own code
                plugin.failed(f"its settings for workers raised {kind_and_place(error)}")
        return found

    def rows(self) -> list[dict[str, Any]]:
        """What `trioworkers plugins` shows."""
        return [plugin.row() for plugin in self.found]


def _hook(caller: pluggy.HookCaller, module: object) -> tuple[str, Hook]:
    (found,) = [one for one in caller.get_hookimpls() if one.plugin is module]
    if found.hookwrapper or found.wrapper:
        message = f"{caller.name} is a wrapper, expected a plain hook"
        raise ValueError(message)
    rank = 0 if found.tryfirst else 2 if found.trylast else 1
    return caller.name, Hook(found.function, tuple(found.argnames), rank)


def _check(module: object, hooks: dict[str, Hook]) -> None:
    """Raise ValueError for what pluggy does not look at."""
    for name, hook in hooks.items():
        if name in PLAIN_ONLY and hook.is_async:
            message = f"{name} is an async function, expected a plain one"
            raise ValueError(message)
        if name in ASYNC_ONLY and not hook.is_async:
            message = f"{name} is a plain function, expected an async one"
            raise ValueError(message)
        if inspect.isgeneratorfunction(hook.function) or inspect.isasyncgenfunction(hook.function):
            message = f"{name} is a generator function, expected a function that returns"
            raise ValueError(message)
        if (hearing := getattr(hook.function, HEARS, None)) is not None:
            _check_hearing(hearing)
    for name in dir(module):
        if name.startswith(f"{PROJECT}_") and name not in hooks and callable(getattr(module, name)):
            message = f"{name} is not marked @hookimpl"
            raise ValueError(message)


def _check_hearing(hearing: Hearing) -> None:
    """Raise ValueError for what `@hears` cannot be given: no event of that kind would ever come."""
    if hearing.least is not None and hearing.least not in LEVELS:
        message = f"@hears: least is {hearing.least!r}, expected one of {', '.join(LEVELS)}"
        raise ValueError(message)
    if unknown := sorted(hearing.names - EVENTS.keys()):
        message = f"@hears: {unknown_key(unknown[0], EVENTS).replace('key', f'event {unknown[0]!r}', 1)}"
        raise ValueError(message)
    if hearing.capacity < 1:
        message = f"@hears: capacity is {hearing.capacity}, expected at least 1"
        raise ValueError(message)


def _check_settings(model: object) -> None:
    """Raise ValueError for a `Settings` that is not a pydantic model, or that has no JSON Schema."""
    if model is None:
        return
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        raise ValueError("Settings is not a subclass of PluginSettings")
    try:
        model.model_json_schema()
    except PydanticUserError as error:
        message = f"Settings cannot be described as a table: {error.message}"
        raise ValueError(message) from None
