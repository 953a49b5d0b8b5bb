"""The OpenAPI document, of the real application with the routes of the built-in plugins."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from admitting import admission_for
from openapi_spec_validator import OpenAPIV31SpecValidator

from trioworkers.described import description_of
from trioworkers.events import Events
from trioworkers.plugins import load_installed
from trioworkers.plugins.watchdog import Watchdog
from trioworkers.web.app import AppContext, make_app
from trioworkers.web.openapi import make_document
from trioworkers.web.plugins import add_plugin_routes

if TYPE_CHECKING:
    from quart_trio import QuartTrio

PLUGINS = ("/api/alerts", "/api/handoffs/{id}", "/metrics")
BEARER = {"Authorization": "Bearer right", "Host": "localhost"}


@pytest.fixture
def app() -> QuartTrio:
    """Return the application with all routes of ours."""
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(AppContext))
    made = make_app(AppContext(**{**nothing, "admission": admission_for("right")}))
    ours = [plugin for plugin in load_installed().found if plugin.origin.place == "trioworkers"]
    plugins: Any = SimpleNamespace(implementing=lambda hook: [one for one in ours if hook in one.hooks])
    nobody: Any = None
    add_plugin_routes(made, plugins, lambda _: nobody, Events(lambda _: None), Watchdog(print))
    assert not any(plugin.account.failures for plugin in ours)
    return made


def test_the_document_is_valid(app: QuartTrio) -> None:
    """By OpenAPI's own rules."""
    OpenAPIV31SpecValidator(make_document(app)).validate()


def test_every_route_is_described(app: QuartTrio) -> None:
    """With a note at the route; websockets have no place in the document."""
    missing = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if not rule.websocket and description_of(app.view_functions[rule.endpoint]) is None
    ]
    assert missing == []


def test_every_operation_has_its_answers_and_a_name(app: QuartTrio) -> None:
    """Success, and what each route refuses; names are unique; what is open asks for nothing."""
    document = make_document(app)
    operations = {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    names = [operation["operationId"] for operation in operations.values()]
    assert len(set(names)) == len(names)
    for name, operation in operations.items():
        answers = operation["responses"].keys()
        assert answers & {"200", "303"}, name
        assert {"403", "421"} <= answers, name
        is_open = name.split()[1] in {"/", "/login", "/logout", "/health", "/ready", "/static/{path}"}
        assert is_open == (operation.get("security") == []), name
        assert is_open or {"401", "429"} <= answers, name
        assert ("requestBody" in operation) <= ({"400", "413"} <= answers), name
        assert all(answer["description"] for answer in operation["responses"].values()), name


def test_what_a_route_takes_is_in_the_document(app: QuartTrio) -> None:
    """The models that read a request are those that describe it."""
    paths = make_document(app)["paths"]
    page = {one["name"]: one["schema"] for one in paths["/api/dlq"]["get"]["parameters"]}
    assert page["limit"] == {
        "default": 100,
        "maximum": 500,
        "minimum": 1,
        "title": "Limit",
        "type": "integer",
    }
    assert page["bot"]["type"] == "string"
    body = paths["/api/bots"]["post"]["requestBody"]
    assert body["required"]
    assert body["content"]["application/json"]["schema"]["required"] == ["name", "bot"]
    assert not paths["/api/reload"]["post"]["requestBody"]["required"]


def test_a_route_of_a_plugin_may_not_be_there(app: QuartTrio) -> None:
    """While its plugin is not active; which is said beside what the route itself does not find."""
    paths = make_document(app)["paths"]
    described = {path: paths[path]["get"]["responses"]["404"]["description"] for path in PLUGINS}
    assert described == {
        "/api/alerts": "the plugin is not active",
        "/api/handoffs/{id}": "there is no such dialog or bot, or the plugin is not active",
        "/metrics": "the plugin is not active",
    }
    assert "404" not in paths["/api/reloads"]["get"]["responses"]


async def test_the_document_is_served(app: QuartTrio) -> None:
    """To who may see the rest; made once."""
    client = app.test_client()
    assert (await client.get("/api/openapi.json", headers={"Host": "localhost"})).status_code == 401
    first = await client.get("/api/openapi.json", headers=BEARER)
    assert first.status_code == 200
    document = await first.get_json()
    assert document["info"]["title"] == "trioworkers"
    assert re.match("3.1", document["openapi"])
    made = dict(app.extensions)
    assert await (await client.get("/api/openapi.json", headers=BEARER)).get_json() == document
    assert all(app.extensions[name] is value for name, value in made.items())


async def test_a_wrong_method_is_told_which_are_right(app: QuartTrio) -> None:
    """By the header that HTTP has for it."""
    answer = await app.test_client().delete("/api/dlq", headers=BEARER)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_the_daemon_starts_without_what_makes_schemas() -> None:
    """It is imported when somebody asks for the document."""
    program = (
        "import sys, trioworkers.compose; print([name for name in sys.modules if 'quart_schema' in name])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
