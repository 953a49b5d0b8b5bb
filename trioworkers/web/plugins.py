"""Plugins over HTTP: `GET /api/plugins`, and the routes that plugins add themselves."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any

from quart import Blueprint, request

from trioworkers.described import Description, described
from trioworkers.plugins.errors import RAISED, kind_and_place
from trioworkers.web.acts import emit_action, has_acted
from trioworkers.web.answers import PluginList, PluginRow
from trioworkers.web.asked import RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Response
    from quart_trio import QuartTrio

    from trioworkers.events import Events
    from trioworkers.plugin_types import PluginDaemon
    from trioworkers.plugins import Plugin, Plugins
    from trioworkers.plugins.watchdog import Watchdog

WEB = "trioworkers_web"
OWNERS = "trioworkers_owners"  # the extension of the application that knows whose blueprint is whose
SAFE = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
REFUSALS = {
    "not loaded": "could not be loaded: correct it, and restart the daemon",
    "inactive": "has no table in the fleet file: add it there",
}
"""Why a plugin in this state cannot be switched on by hand."""


def plugin_routes(plugins: Plugins, events: Events) -> Blueprint:
    """`GET /api/plugins`, and `POST /api/plugins/<name>/enable` for what its breaker switched off."""
    routes = Blueprint("plugins", __name__, url_prefix="/api")

    @routes.get("/plugins")
    @described(Description("List the plugins", PluginList))
    async def listed() -> dict[str, Any]:
        return {"plugins": plugins.rows()}

    @routes.post("/plugins/<name>/enable")
    @described(
        Description(
            "Switch a plugin on that was switched off for its failures",
            PluginRow,
            refusals={
                404: "this daemon knows no plugin of that name",
                409: "it could not be loaded, or has no table in the fleet file",
            },
        )
    )
    async def enable(name: str) -> dict[str, Any]:
        plugin = next((one for one in plugins.found if one.name == name), None)
        if plugin is None:
            raise RequestRefusedError(404, "this daemon knows no plugin of that name")
        if plugin.state in REFUSALS:
            raise RequestRefusedError(409, f"the plugin {name} {REFUSALS[plugin.state]}")
        if plugin.switch_on():
            emit_action(events, "plugins.enable", plugin=name)
        return plugin.row()

    return routes


def add_plugin_routes(
    app: QuartTrio,
    plugins: Plugins,
    daemon: Callable[[Plugin], PluginDaemon],
    events: Events,
    watchdog: Watchdog,
) -> None:
    """Let plugins add their routes; those of a plugin that is not active are not found.

    Routes are watched: one that holds the loop is reported while it does, and its plugin is switched off.

    Somebody who changes something by such a route has acted: if the plugin did not say so by
    `daemon.action`, it is told with the route. What raises is the plugin's failure: its routes are left out.
    """
    owners: dict[str, Plugin] = app.extensions.setdefault(OWNERS, {})
    for plugin in plugins.implementing(WEB):
        hook = plugin.hooks[WEB]
        before, views = set(app.blueprints), set(app.view_functions)
        try:
            hook.function(**plugin.arguments(hook, app=app, daemon=daemon(plugin)))
        except RAISED as error:
            plugin.failed(f"{WEB} raised {kind_and_place(error)}")
        owners |= dict.fromkeys(app.blueprints.keys() - before, plugin)
        for endpoint in app.view_functions.keys() - views:
            app.view_functions[endpoint] = _watched(app.view_functions[endpoint], plugin, watchdog)

    @app.before_request
    async def find() -> tuple[dict[str, str], int] | None:
        owner = owners.get(request.blueprint or "")
        if owner is None or owner.is_active:
            return None
        table = f"add [plugins.{owner.name}] to the fleet file"
        remedy = table if owner.state == "inactive" else "`trioworkers plugins` says why"
        return {"error": f"the plugin {owner.name} is not active: {remedy}"}, 404

    @app.after_request
    async def tell(response: Response) -> Response:
        owner, rule = owners.get(request.blueprint or ""), request.url_rule
        changes = request.method not in SAFE and response.status_code < 400
        if owner is not None and rule is not None and changes and not has_acted():
            emit_action(events, f"{owner.name}: {request.method} {rule.rule}")
        return response


def _watched(view: Callable[..., Any], plugin: Plugin, watchdog: Watchdog) -> Callable[..., Any]:
    """A route that the watchdog watches; Quart runs one that is not a coroutine function in a thread."""
    if not inspect.iscoroutinefunction(view):
        return view

    @wraps(view)
    async def watched(**values: Any) -> Any:
        return await watchdog.in_steps(plugin, WEB, view(**values))

    return watched
