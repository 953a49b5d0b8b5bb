"""The plugin's service: reads the states, sends what waits, watches the times, hears of failures."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from trioworkers_plugins.handoff.actions import Actions, RefusedError
from trioworkers_plugins.handoff.core import Handoff, UnknownBotError
from trioworkers_plugins.handoff.courier import serve_couriers
from trioworkers_plugins.handoff.to_desk import ToDesk
from trioworkers_plugins.handoff.to_users import ToUsers

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers_plugins.handoff.route import Running

    from trioworkers import Event
    from trioworkers.plugin_types import PluginDaemon, PluginHandle


async def serve_handoff(
    plugin: PluginHandle,
    daemon: PluginDaemon,
    running: Running,
    *,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; what was under way goes on in the next run. `clock`: Unix seconds.

    Raises:
        Exception: the states could not be read; all updates that may be operators' are held meanwhile.
    """
    async with trio.open_nursery() as nursery:
        core = Handoff(plugin, daemon, nursery, clock)
        await core.load()
        to_users = ToUsers(core)
        actions = Actions(core, to_users)

        def failed(error: Exception) -> None:
            if isinstance(error, UnknownBotError):  # it may come again
                return
            plugin.log.warning("something could not be sent, and is tried again", error=type(error).__name__)

        try:
            await core.resume()  # before updates are taken: operators see what they wait for first
            running.begin(core, to_users, actions)
            nursery.start_soon(serve_couriers, core.to_desk, ToDesk(core).deliver, failed)
            nursery.start_soon(serve_couriers, core.to_users, to_users.deliver, failed)
            nursery.start_soon(core.watch_times)
            with daemon.answers("handoff", actions.ask):
                task_status.started()
                await trio.sleep_forever()
        finally:
            core.bulletin.close()
            running.end()


async def hear_failure(running: Running, event: Event) -> None:
    """Ask for an operator when a message of a bot that hands off has become a dead letter."""
    core, actions = running.core, running.actions
    bot, chat = event.bot, str(event.fields.get("dialog", "")).rpartition("/")[2]
    if core is None or actions is None or bot is None or not chat.isdecimal():
        return
    if not core.settings.on_failure or not core.settings.hands_off(bot):
        return
    with suppress(RefusedError):
        await actions.start(bot, int(chat), "failure")
