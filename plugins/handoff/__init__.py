"""Dialogs go to human operators and back, without a message of the user's lost or answered twice.

    [plugins.handoff]
    group = -1001234567890

`state` and `machine` say what may become of a dialog, purely; `core` keeps the states; `people` and
`operators` are the two sides, `to_desk` and `to_users` send to them; `actions` is what commands, handlers and
the HTTP API do.
See docs/handoff.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers_plugins.handoff.route import running
from trioworkers_plugins.handoff.service import hear_failure, serve_handoff
from trioworkers_plugins.handoff.settings import Settings

from trioworkers import hears, hookimpl

if TYPE_CHECKING:
    import click
    import trio
    from quart_trio import QuartTrio

    from trioworkers import Event, Take, Update
    from trioworkers.plugin_types import BotFacts, PluginDaemon, PluginHandle

__all__ = ["REQUIRES_TABLE", "Settings"]

REQUIRES_TABLE = True


@hookimpl
def trioworkers_route(bot: BotFacts, update: Update, plugin: PluginHandle) -> Take | None:
    """Take what operators have."""
    return running(plugin).route(bot, update, plugin.settings)


@hookimpl
async def trioworkers_serve(
    daemon: PluginDaemon, plugin: PluginHandle, task_status: trio.TaskStatus[None]
) -> None:
    """Send what waits, and watch the times."""
    await serve_handoff(plugin, daemon, running(plugin), task_status=task_status)


@hookimpl
@hears(events={"update.dead"})
async def trioworkers_event(event: Event, plugin: PluginHandle) -> None:
    """Ask for an operator when a message has become a dead letter, if the settings say so."""
    await hear_failure(running(plugin), event)


@hookimpl
def trioworkers_status(bot: BotFacts, plugin: PluginHandle) -> dict[str, int] | None:
    """Show how many dialogs of a bot operators have, by state."""
    return running(plugin).counts(bot.id) if plugin.settings.hands_off(bot.name) else None


@hookimpl
def trioworkers_web(app: QuartTrio, daemon: PluginDaemon, plugin: PluginHandle) -> None:
    """Add the routes under `/api/handoffs`."""
    from trioworkers_plugins.handoff.web import handoff_routes

    app.register_blueprint(handoff_routes(running(plugin), daemon))


@hookimpl
def trioworkers_cli(cli: click.Group) -> None:
    """Add the verbs `handoff …`."""
    from trioworkers_plugins.handoff.commands import handoff

    cli.add_command(handoff)
