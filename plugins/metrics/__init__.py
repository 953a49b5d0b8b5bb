"""Metrics of the fleet for Prometheus on `/metrics`, with a dashboard for Grafana and alert rules.

What is shown is counted by the core while this plugin is not disabled. A request takes a snapshot on the
loop, a few bots at a time, and renders it in a thread.
"""

from __future__ import annotations

import re
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import click
import trio
from quart import Blueprint, Response, request
from trioworkers_plugins.metrics.families import View
from trioworkers_plugins.metrics.render import compressed, make_process_collector, render, sizes

from trioworkers import hookimpl
from trioworkers.described import Description, described

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from trioworkers.figures import FleetFigures
    from trioworkers.plugin_types import PluginDaemon

KINDS = ("text/plain", "application/openmetrics-text")  # what the header Accept chooses from
SHIPPED = {"dashboard": "grafana.json", "rules": "alerts.yml"}
RUNBOOK = re.compile(r"\brunbook: docs/(\w+)\.md#(\w+)$", re.MULTILINE)


class Endpoint:
    """Answers `/metrics`. One rendering at a time: who asked before it began shares it."""

    def __init__(self, daemon: PluginDaemon) -> None:
        self._daemon = daemon
        self._turn = trio.Lock()
        self._limiter = trio.CapacityLimiter(1)
        self._process = make_process_collector()
        self._last: tuple[float, str, bytes, str] | None = None  # when it began, for what header, the answer

    async def answer(self, accept: str) -> tuple[bytes, str] | None:
        """Return the metrics and their content type; None where nothing is counted."""
        asked = trio.current_time()
        async with self._turn:
            if self._last is not None and self._last[0] >= asked and self._last[1] == accept:
                return self._last[2:]
            began = trio.current_time()
            figures = await self._daemon.figures()
            if figures is None:
                return None
            plugins = tuple(self._daemon.plugins())
            body, kind = await trio.to_thread.run_sync(
                partial(self._render, figures, plugins, accept), limiter=self._limiter
            )
            self._last = (began, accept, body, kind)
            return body, kind

    def _render(self, figures: FleetFigures, plugins: tuple[Any, ...], accept: str) -> tuple[bytes, str]:
        return render(View(figures, plugins, sizes(figures.database)), self._process, accept)


@hookimpl
def trioworkers_web(app: QuartTrio, daemon: PluginDaemon) -> None:
    """Serve `/metrics`."""
    endpoint = Endpoint(daemon)
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    @described(
        Description(
            "The metrics, for Prometheus",
            str,
            KINDS,
            refusals={503: "nothing is counted"},
            refusal_media="text/plain",
        )
    )
    async def metrics() -> Response:
        found = await endpoint.answer(request.headers.get("Accept", ""))
        if found is None:
            return Response("nothing is counted: the plugin metrics was disabled\n", 503)
        body, kind = found
        headers = {"Content-Type": kind, "Vary": "Accept, Accept-Encoding"}
        encoding = request.headers.get("Accept-Encoding", "")
        smaller = await trio.to_thread.run_sync(compressed, body, encoding) if encoding else None
        if smaller is not None:
            headers["Content-Encoding"] = "gzip"
        return Response(body if smaller is None else smaller, headers=headers)

    app.register_blueprint(routes)


@hookimpl
def trioworkers_cli(cli: click.Group) -> None:
    """Add `trioworkers metrics`."""

    @cli.group()
    def metrics() -> None:
        """Print alert rules for Prometheus, or a dashboard for Grafana."""

    @metrics.command()
    def dashboard() -> None:
        """Print a Grafana dashboard as JSON."""
        click.echo(shipped("dashboard"), nl=False)

    @metrics.command()
    @click.option(
        "--docs",
        metavar="URL",
        help="Where the documentation is served; each rule links to its section.",
    )
    def rules(docs: str | None) -> None:
        """Print alert rules for Prometheus."""
        click.echo(shipped("rules") if docs is None else linked(shipped("rules"), docs), nl=False)


def shipped(name: str) -> str:
    """Return the text of a file that ships: `dashboard` or `rules`."""
    return (files(__package__) / SHIPPED[name]).read_text()


def linked(rules: str, docs: str) -> str:
    """Return the rules with a link to its section at each.

    Raises:
        click.BadParameter: the address is not that of a web page.
    """
    if not re.fullmatch(r"https?://[^\s'\"#?]+", docs):
        message = "expected an http or https address without query and fragment"
        raise click.BadParameter(message, param_hint="--docs")
    base = docs.rstrip("/")
    return RUNBOOK.sub(lambda found: f"runbook_url: '{base}/{found[1]}.html#{found[2]}'", rules)
