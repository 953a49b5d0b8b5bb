"""What somebody does by a plugin's route is told, with who and from where."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from admitting import admission_for
from quart import Blueprint, g

from trioworkers.events import Event, Events
from trioworkers.plugins.facade import DaemonFacade
from trioworkers.plugins.watchdog import HOLD, Watchdog
from trioworkers.web.acts import acting
from trioworkers.web.app import AppContext, make_app
from trioworkers.web.plugins import add_plugin_routes

BEARER = {"Authorization": "Bearer right", "Host": "localhost"}


class Scene:
    """An application with a plugin that tells of one of its routes only."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.held: list[Any] = []
        nothing: Any = None
        events = Events(self.told.append)
        hook = SimpleNamespace(function=self.add)
        plugin: Any = SimpleNamespace(
            name="curious",
            is_active=True,
            held_loop=lambda *held: self.held.append(held),
            hooks={"trioworkers_web": hook},
            arguments=lambda _hook, **given: given,
        )
        plugins: Any = SimpleNamespace(implementing=lambda _: [plugin])
        access: Any = SimpleNamespace(events=events, acting=acting)
        self.app = make_app(
            AppContext(
                admission=admission_for("right"),
                is_ready=bool,
                status=dict,
                inbox=nothing,
                backs_up=nothing,
                bots=dict,
                restarts=nothing,
                backups=nothing,
                events=events,
                reloads=nothing,
                plugins=plugins,
                live=nothing,
            )
        )
        add_plugin_routes(self.app, plugins, lambda _: DaemonFacade(access, plugin), events, Watchdog(print))

    def add(self, app: Any, daemon: Any) -> None:
        routes = Blueprint("curious", __name__)

        @routes.route("/api/silent/<name>", methods=["GET", "POST", "DELETE"])
        async def silent(name: str) -> Any:
            return {}, 404 if name == "unknown" else 200

        @routes.get("/api/holding")
        async def holding() -> dict[str, Any]:
            time.sleep(0.05)  # noqa: ASYNC251 - what it must not do
            return {}

        @routes.post("/api/telling")
        async def telling() -> dict[str, Any]:
            daemon.action("curious.told", bot="echo", by=g.by, count=2)
            return {}

        app.register_blueprint(routes)

    async def ask(self, method: str, path: str) -> list[dict[str, Any]]:
        client: Any = self.app.test_client()
        await client.open(path, method=method, headers=BEARER, scope_base={"client": ("10.0.0.5", 1)})
        return [{"event": one.event, "bot": one.bot, **one.fields} for one in self.told]


async def test_a_route_that_holds_the_loop_is_its_plugins_fault() -> None:
    """Each stretch that it runs without waiting is looked at; a second switches the plugin off."""
    scene = Scene()
    await scene.ask("GET", "/api/holding")
    hooks, spans, limits = zip(*scene.held, strict=True)
    assert (set(hooks), set(limits), max(spans) >= 0.05) == ({"trioworkers_web"}, {HOLD}, True)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_route_that_says_nothing_is_told_by_its_path(method: str) -> None:
    """With the rule, not with what stood in its place."""
    (told,) = await Scene().ask(method, "/api/silent/secret")
    assert told == {
        "event": "control.action",
        "bot": None,
        "action": f"curious: {method} /api/silent/<name>",
        "by": "API token from 10.0.0.5",
        "source": "10.0.0.5",
    }


async def test_a_route_that_says_it_is_told_once() -> None:
    """As the plugin puts it, and with the address."""
    (told,) = await Scene().ask("POST", "/api/telling")
    assert told == {
        "event": "control.action",
        "bot": "echo",
        "action": "curious.told",
        "by": "API token from 10.0.0.5",
        "source": "10.0.0.5",
        "count": 2,
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/silent/one"), ("POST", "/api/silent/unknown"), ("POST", "/api/dlq/none")],
)
async def test_what_changes_nothing_is_no_act(method: str, path: str) -> None:
    """Neither looking, nor what was refused, nor a route that does not exist."""
    assert await Scene().ask(method, path) == []
