"""Finds plugins and loads them: one that cannot be loaded is left out with the reason, and the others run.

Plugins come from entry points of the group `trioworkers` (the built-in ones, too), from `plugin_modules` and
from the files of `plugins_dir`, in this order; of two with one name the first is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from trioworkers.hookspecs import PROJECT
from trioworkers.plugins.errors import PluginError, kind_and_place
from trioworkers.plugins.plugin import Origin, Plugin
from trioworkers.plugins.registry import Plugins
from trioworkers.user_modules import SourceLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    from trioworkers.config import Fleet


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    origin: Origin
    load: Callable[[], object]


def load_plugins(fleet: Fleet) -> Plugins:
    """Returns the plugins that a fleet has, loaded: their modules are imported.

    What cannot be loaded is left out, with the reason, and the others are loaded all the same.
    """
    return _load(_find(fleet), set(fleet.disabled_plugins))


def load_installed() -> Plugins:
    """Returns the plugins that are installed, without those that a fleet file names."""
    return _load(_find_installed(), set())


def _load(found_ones: Iterator[_Found], names: set[str]) -> Plugins:
    plugins = Plugins()
    for found in found_ones:
        if found.name in names:
            continue
        names.add(found.name)
        try:
            plugins.add(found.name, found.load(), found.origin)
        except PluginError as error:
            plugins.leave_out(Plugin(found.name, found.origin, error=str(error)))
        except (Exception, SystemExit) as error:
            reason = f"importing it raised {kind_and_place(error)}"
            if isinstance(error, ModuleNotFoundError):
                reason += f": there is no module {error.name}"
            plugins.leave_out(Plugin(found.name, found.origin, error=reason))
    return plugins


def _find(fleet: Fleet) -> Iterator[_Found]:
    yield from _find_installed()
    for module in fleet.plugin_modules:
        yield _Found(module.rpartition(".")[2], Origin(module), partial(importlib.import_module, module))
    for path in sorted(fleet.plugins_dir.glob("*.py")):
        if not path.name.startswith((".", "_")):
            yield _Found(path.stem, Origin(str(path), file=str(path)), partial(_load_file, path))


def _find_installed() -> Iterator[_Found]:
    for point in sorted(entry_points(group=PROJECT), key=lambda point: point.name):
        dist = point.dist
        origin = Origin(point.value) if dist is None else Origin(dist.name, dist.version)
        yield _Found(point.name, origin, point.load)


def _load_file(path: Path) -> ModuleType:
    # under a name of its own, so that it hides no module and none hides it
    name = f"trioworkers_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceLoader(name, str(path)))
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
