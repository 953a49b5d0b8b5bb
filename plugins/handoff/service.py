"""The plugin's service: has the dialogs of the bots that run here, watches the times, hears of failures."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import trio
from trioworkers_plugins.handoff.actions import Actions, RefusedError
from trioworkers_plugins.handoff.homes import Homes
from trioworkers_plugins.handoff.office import Office

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
    """Serve until cancelled; what was under way goes on in the next run. `clock`: Unix seconds."""
    async with trio.open_nursery() as nursery:
        office = Office(plugin, daemon, nursery, clock)
        homes = Homes(office, running.note_change)
        actions = Actions(homes)
        try:
            running.begin(homes, actions)
            with daemon.answers("handoff", actions.ask), daemon.nodes.hears(office.bulletin.hear):
                if not daemon.nodes.is_alone:
                    nursery.start_soon(office.steadily, partial(office.bulletin.tell, daemon.nodes.tell))
                nursery.start_soon(homes.watch_times)
                nursery.start_soon(daemon.serve_bots, homes.serve)
                task_status.started()
                await trio.sleep_forever()
        finally:
            office.bulletin.close()
            running.end()


async def hear_failure(running: Running, event: Event) -> None:
    """Ask for an operator when a message of a bot that hands off has become a dead letter."""
    homes, actions = running.homes, running.actions
    bot, chat = event.bot, str(event.fields.get("dialog", "")).rpartition("/")[2]
    if homes is None or actions is None or bot is None or not chat.isdecimal():
        return
    settings = homes.office.settings
    if not settings.on_failure or not settings.hands_off(bot):
        return
    with suppress(RefusedError):
        await actions.start(bot, int(chat), "failure")
