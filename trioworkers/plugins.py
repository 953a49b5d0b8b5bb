"""Loads plugins and calls their hooks, so that a plugin's failure stays the plugin's own.

Plugins come from entry points of the group `trioworkers` (the built-in ones, too), from `plugin_modules` and
from the files of `plugins_dir`, in this order; of two with one name the first is loaded. Hooks are called one
by one: pluggy's own call would leave the coroutines of earlier ones unawaited when a later one raises.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pluggy
import trio

from trioworkers.errors import TrioworkersError
from trioworkers.hookspecs import PROJECT, Hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    from trioworkers.config import Fleet


class PluginError(TrioworkersError):
    """A hook raised or was late; the message says which plugin, which hook, and what by type and place."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that was found.

    Attributes:
        name: what it is called in `disabled_plugins` and `[plugins.NAME]`.
        origin: where it was found: a distribution and its version, a module, a file.
        hooks: those it implements.
        error: why it was not loaded; None when it was.
    """

    name: str
    origin: str
    hooks: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    origin: str
    load: Callable[[], object]


class Plugins:
    """The loaded plugins of one run of the daemon.

    Attributes:
        found: every plugin, those that could not be loaded included.
    """

    def __init__(self) -> None:
        self.found: list[Plugin] = []
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)

    def add(self, name: str, plugin: object, origin: str) -> None:
        """Add a plugin.

        Raises:
            PluginError: it implements an unknown hook, or one with the wrong signature.
        """
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise PluginError(str(error).partition("\n")[0]) from None
        hooks = sorted(caller.name for caller in self._manager.get_hookcallers(plugin) or ())
        self.found.append(Plugin(name, origin, tuple(hooks)))

    async def call(self, plugin: str, hook: str, seconds: float, **arguments: Any) -> Any:
        """Call one plugin's hook and return what it returns; a plain function runs in a thread.

        Cancelling ends an async function; a plain one is left behind, and so it is when it is late.

        Raises:
            PluginError: it raised, or took longer than `seconds`.
        """
        (function,) = [call for name, call in self._implementing(hook, arguments) if name == plugin]
        what = f"{plugin}: {hook}"
        try:
            with trio.fail_after(seconds):
                if inspect.iscoroutinefunction(function.func):
                    return await function()
                return await trio.to_thread.run_sync(function, abandon_on_cancel=True)
        except trio.TooSlowError:
            message = f"{what} took longer than {seconds:g} s"
        except Exception as error:
            # by type and place: the words of a stranger's exception may quote a token
            message = f"{what} raised {_kind_and_place(error)}"
        raise PluginError(message)

    def implementing(self, hook: str) -> list[str]:
        """Returns the names of the plugins that have this hook, in the order in which they were loaded."""
        return [name for name, _ in self._implementing(hook, None)]

    def _implementing(
        self, hook: str, arguments: dict[str, Any] | None
    ) -> Iterator[tuple[str, partial[Any]]]:
        for found in getattr(self._manager.hook, hook).get_hookimpls():
            wanted = {name: arguments[name] for name in found.argnames} if arguments else {}
            yield found.plugin_name, partial(found.function, **wanted)


def load_plugins(fleet: Fleet) -> Plugins:
    """Returns the plugins that a fleet has, loaded: their modules are imported.

    What cannot be loaded is left out, with the reason, and the others are loaded all the same.
    """
    plugins = Plugins()
    names: set[str] = set(fleet.disabled_plugins)
    for found in _find(fleet):
        if found.name in names:
            continue
        names.add(found.name)
        try:
            plugins.add(found.name, found.load(), found.origin)
        except PluginError as error:
            plugins.found.append(Plugin(found.name, found.origin, error=str(error)))
        except (Exception, SystemExit) as error:
            reason = f"importing it raised {_kind_and_place(error)}"
            plugins.found.append(Plugin(found.name, found.origin, error=reason))
    return plugins


def _find(fleet: Fleet) -> Iterator[_Found]:
    for point in sorted(entry_points(group=PROJECT), key=lambda point: point.name):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
        yield _Found(point.name, origin, point.load)
    for module in fleet.plugin_modules:
        yield _Found(module.rpartition(".")[2], module, partial(importlib.import_module, module))
    for path in sorted(fleet.plugins_dir.glob("*.py")):
        if not path.name.startswith((".", "_")):
            yield _Found(path.stem, str(path), partial(_load_file, path))


def _load_file(path: Path) -> ModuleType:
    # under a name of its own, so that it hides no module and none hides it
    name = f"trioworkers_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
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


def _kind_and_place(error: BaseException) -> str:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else ""
    return f"{type(error).__name__}{where}"
