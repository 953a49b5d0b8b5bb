"""Further bots: what plugins say of them, asked again as often as they like, the last good answer kept.

Asking takes as long as a network takes; a reload works with what was answered last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.plugin_types import Bots
from trioworkers.plugins import PluginError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers.config import Fleet
    from trioworkers.events import Events
    from trioworkers.plugins import Plugin, Plugins

HOOK = "trioworkers_bots"
TIME_LIMIT = 30.0  # seconds that one plugin has
SHORTEST = 1.0  # seconds between two questions, whatever a plugin says


class Sources:
    """The bots of all plugins that give some.

    Args:
        plugins: who to ask.
        events: told what went wrong, once for as long as it stays the same.

    Attributes:
        plugins: the plugins of this run.
        tables: by plugin, the tables of its bots as it answered last: what `with_given` wants.
    """

    def __init__(self, plugins: Plugins, events: Events) -> None:
        self.plugins = plugins
        self.tables: dict[str, dict[str, Any]] = {}
        self._events = events
        self._problems: dict[str, tuple[str, ...]] = {}
        self._due: dict[Plugin, float] = dict.fromkeys(plugins.implementing(HOOK), -math.inf)
        self._asking = trio.Lock()
        self._asked = trio.Event()

    async def ask(self, fleet: Fleet, *, due: bool = False) -> None:
        """Ask the plugins, all at once, and keep what they answer; of one that fails, its last answer.

        Takes 30 s at most. Of calls that overlap the later waits.

        Args:
            fleet: as its files describe it.
            due: ask only those that want to be asked by now.
        """
        async with self._asking:
            async with trio.open_nursery() as nursery:
                for plugin, at in self._due.items():
                    if not due or at <= trio.current_time():
                        nursery.start_soon(self._ask, plugin, fleet)
            self._asked.set()
            self._asked = trio.Event()

    async def serve(
        self,
        fleet: Callable[[], Fleet],
        changed: Callable[[], Awaitable[object]],
        applied: Callable[[], Mapping[str, Mapping[str, Any]]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Ask each plugin again when it wants to be asked; call `changed` while an answer is not applied.

        Until cancelled; what a plugin does just then is ended.

        Args:
            fleet: the fleet in force.
            changed: reloads.
            applied: the answers that the fleet in force was joined with.
        """
        task_status.started()
        while True:
            with trio.move_on_at(min(self._due.values(), default=math.inf)):
                await self._asked.wait()  # by a reload: then they may be due at another time
                continue
            await self.ask(fleet(), due=True)
            if self.tables != applied():
                await changed()

    async def _ask(self, plugin: Plugin, fleet: Fleet) -> None:
        if plugin.needs_table and plugin.name not in fleet.plugins:
            self.tables[plugin.name] = {}
            self._due[plugin] = math.inf
            return
        try:
            answer = await plugin.call(HOOK, TIME_LIMIT, fleet=fleet.for_plugin(plugin.name))
            bots = answer if isinstance(answer, Bots) else Bots(answer)
            if answer is None or not _is_tables(bots.tables):
                message = f"{plugin.name}: {HOOK} answered with something else than tables by their names"
                raise PluginError(message)
        except PluginError as error:
            plugin.account.failures += 1  # its last answer stays in force: no reason to switch it off
            self._emit(plugin.name, (str(error),))
            if self._due[plugin] <= trio.current_time():
                self._due[plugin] = trio.current_time() + TIME_LIMIT
            return
        self._emit(plugin.name, bots.problems)
        if bots.tables is not None:
            self.tables[plugin.name] = dict(bots.tables)
        again = math.inf if bots.ask_again is None else max(bots.ask_again, SHORTEST)
        self._due[plugin] = trio.current_time() + again

    def _emit(self, plugin: str, problems: tuple[str, ...]) -> None:
        for problem in problems:
            if problem not in self._problems.get(plugin, ()):
                self._events.emit("plugin.failed", plugin=plugin, reason=problem)
        self._problems[plugin] = problems


def _is_tables(tables: object) -> bool:
    return tables is None or (isinstance(tables, Mapping) and all(isinstance(name, str) for name in tables))
