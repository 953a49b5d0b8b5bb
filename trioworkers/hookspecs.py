"""What plugins may hook into, and the marker by which they say that they do.

A plugin is a module with functions named like these and marked `@hookimpl`. They take the arguments that they
name, all or some.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.config import Fleet

PROJECT = "trioworkers"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)
"""Marks a function of a plugin as a hook: `from trioworkers import hookimpl`."""


@dataclass(frozen=True, slots=True)
class Bots:
    """What a source of bots answers with.

    Attributes:
        tables: each bot's table by its name, with the keys of `[bots.NAME]`; the token itself in it. None:
            it does not know, and its last answer stays in force.
        ask_again: seconds after which to ask again; None: at each reload only.
        problems: what went wrong on the way here, one line each, without tokens.
    """

    tables: Mapping[str, Any] | None = field(repr=False)
    ask_again: float | None = None
    problems: tuple[str, ...] = ()


class Hooks:
    """The hooks, as pluggy wants them declared."""

    @hookspec
    def trioworkers_bots(self, fleet: Fleet) -> Mapping[str, Any] | Bots:
        """Give further bots, as tables by their names; plain or async.

        Called at the start, at each reload, and as often as the answer asks for. It has 30 s; a plain
        function runs in a thread of its own. When it raises or is late, its last answer stays in force. A bot
        that is wrong is left out alone; where a file has one of its name, the file wins.

        Args:
            fleet: the fleet as its files describe it; `fleet.plugins` holds the plugin's own table,
                `fleet.secret(…)` reads the secrets named there, `fleet.state_dir` is where to keep things.
        """
        raise NotImplementedError
