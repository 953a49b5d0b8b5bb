"""Alerts about what is critical: to a Telegram chat, and to a URL in the format of Alertmanager's webhooks.

[plugins.alerts]
bot = "ops"
chat = -1001234567890
url = "https://alerts.example.org/hook"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers_plugins.alerts.service import AlertService
from trioworkers_plugins.alerts.settings import Settings

from trioworkers import hookimpl

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from trioworkers.plugin_types import PluginDaemon, PluginHandle

__all__ = ["REQUIRES_TABLE", "Settings", "trioworkers_serve", "trioworkers_web"]

REQUIRES_TABLE = True
RUNNING = "service"


@hookimpl
async def trioworkers_serve(daemon: PluginDaemon, plugin: PluginHandle) -> None:
    """Watch the daemon and send alerts until the plugin's table is gone."""
    service = plugin.memory[RUNNING] = AlertService(daemon, plugin)
    try:
        await service.serve()
    finally:
        del plugin.memory[RUNNING]


@hookimpl
def trioworkers_web(app: QuartTrio, plugin: PluginHandle) -> None:
    """Add `GET /api/alerts`."""
    from trioworkers_plugins.alerts.web import alert_routes

    app.register_blueprint(alert_routes(lambda: plugin.memory.get(RUNNING)))
