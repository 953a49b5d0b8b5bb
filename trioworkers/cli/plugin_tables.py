"""The tables of plugins in a fleet file, checked by the plugins themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioworkers.config import Fleet
    from trioworkers.plugins import Plugins


def plugin_problems(fleet: Fleet, plugins: Plugins) -> list[str]:
    """What is wrong with plugins and their tables, one line each: those that cannot be loaded come first."""
    from trioworkers.config import FleetFileError

    problems = [
        f"plugin {plugin.name}, from {plugin.origin.place}: {plugin.error}"
        for plugin in plugins.found
        if plugin.error
    ]
    try:
        plugins.validated(fleet)
    except FleetFileError as error:
        problems += [str(problem) for problem in error.problems]
    return problems
