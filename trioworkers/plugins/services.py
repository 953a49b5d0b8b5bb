"""What plugins run beside the bots: their event queues and background services, each under a supervisor."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.plugins.errors import RAISED
from trioworkers.plugins.feeds import EVENT, FeedTimes, serve_events
from trioworkers.plugins.inline import ACCEPT, ROUTE, STATUS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers.events import Events
    from trioworkers.plugin_types import PluginDaemon
    from trioworkers.plugins.asks import Asks
    from trioworkers.plugins.plugin import Plugin
    from trioworkers.plugins.registry import Plugins
    from trioworkers.plugins.watchdog import Watchdog

SERVE = "trioworkers_serve"
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between a crash and the next start, doubled each time


class PluginServices:
    """Runs what plugins do beside the way of updates. :meth:`serve` once.

    Args:
        plugins: the plugins of this run.
        events: what they hear.
        daemon: makes the daemon as a plugin's service sees it.
        watchdog: watches hooks on the loop; its thread is run here.
        asks: what services answer; its connections are closed at the end.
        times: for how long events may take.

    Attributes:
        daemon: makes the daemon as a plugin's service sees it.
    """

    def __init__(
        self,
        plugins: Plugins,
        events: Events,
        daemon: Callable[[Plugin], PluginDaemon],
        watchdog: Watchdog,
        asks: Asks,
        times: FeedTimes = FeedTimes(),  # noqa: B008 - it is frozen
    ) -> None:
        self._times = times
        self._plugins = plugins
        self._events = events
        self.daemon = daemon
        self._watchdog = watchdog
        self._asks = asks

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run what active plugins have, until cancelled."""
        with closing(self._asks):
            await self._serve(task_status)

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            if any(self._plugins.implementing(hook) for hook in (ACCEPT, ROUTE, STATUS, EVENT, SERVE)):
                nursery.start_soon(self._watchdog.serve)
            for plugin in self._plugins.implementing(EVENT):
                feed = partial(serve_events, plugin, self._events, self._watchdog, self._times)
                nursery.start_soon(self._while_active, plugin, feed)
            for plugin in self._plugins.implementing(SERVE):
                nursery.start_soon(self._while_active, plugin, partial(self._supervise, plugin))
            task_status.started()
            await trio.sleep_forever()

    async def _while_active(self, plugin: Plugin, run: Callable[[], Awaitable[None]]) -> None:
        """Run it whenever the plugin is active, and end it when it is not any more."""
        while True:
            while not plugin.is_active:  # after a slow end it may be active again by now
                await plugin.wait_activity_changed()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_when_inactive, plugin, nursery.cancel_scope)
                await run()
                if plugin.is_active:
                    await trio.sleep_forever()  # it is done, until a reload
                nursery.cancel_scope.cancel()

    async def _end_when_inactive(self, plugin: Plugin, scope: trio.CancelScope) -> None:
        while plugin.is_active:
            await plugin.wait_activity_changed()
        scope.cancel()

    async def _supervise(self, plugin: Plugin) -> None:
        """Run a service, and start it again when it raises."""
        hook = plugin.hooks[SERVE]
        pause = FIRST_PAUSE
        while plugin.is_active:
            began = trio.current_time()
            given = plugin.arguments(hook, daemon=self.daemon(plugin), task_status=trio.TASK_STATUS_IGNORED)
            plugin.account.calls += 1
            try:
                async with trio.open_nursery() as nursery:  # what it leaks ends with it
                    nursery.start_soon(self._run, plugin, given)
                return
            except* RAISED as group:
                plugin.raised(SERVE, _first(group))
            if trio.current_time() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _run(self, plugin: Plugin, given: Mapping[str, Any]) -> None:
        await self._watchdog.in_steps(plugin, SERVE, plugin.hooks[SERVE].function(**given))


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
