"""The routes. One application serves the `[api]` address, where a token is asked for, and the control
socket, which only the daemon's own user can open: commands and dashboards see the same fleet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quart import request, websocket

from trioworkers.described import Description, described
from trioworkers.inbox.store import StoreError
from trioworkers.shortage import in_thread, thread_error, words_of
from trioworkers.web.admission import MARK, OPEN
from trioworkers.web.answers import OpenApi, Readiness, Status
from trioworkers.web.asked import RequestRefusedError
from trioworkers.web.backup import backup_routes
from trioworkers.web.bare import bare_app
from trioworkers.web.bots import bot_routes
from trioworkers.web.changes import change_routes
from trioworkers.web.details import detail_routes
from trioworkers.web.letters import letter_routes
from trioworkers.web.live import Every, live_routes
from trioworkers.web.nodes import node_routes
from trioworkers.web.plugins import plugin_routes
from trioworkers.web.signin import signin_routes
from trioworkers.web.static import Dashboard
from trioworkers.web.tokens import refuses_token

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from quart import Response
    from quart_trio import QuartTrio

    from trioworkers.config import Fleet
    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.live.feed import LiveFeed
    from trioworkers.nursery.bot import BotScope
    from trioworkers.nursery.rolling import RollingRestarts
    from trioworkers.plugins import Plugins
    from trioworkers.web.admission import Admission, Answer
    from trioworkers.web.backup import BacksUp
    from trioworkers.web.changes import Reloads
    from trioworkers.web.peers import Peers

__all__ = ["LARGEST_BODY", "MARK", "OPEN", "AppContext", "make_app"]

DOCUMENT = "trioworkers_openapi"
LARGEST_BODY = 2**20  # bytes


@dataclass(frozen=True, slots=True)
class AppContext:
    """What the routes work on.

    Attributes:
        admission: judges who asks.
        is_ready: whether every bot has had its first verdict.
        status: makes the status document.
        inbox: the updates and dead letters of all bots.
        backs_up: makes copies of what they are kept in; the inbox.
        bots: the bots that this daemon runs, by name.
        restarts: asked for rolling restarts.
        backups: the folder of backups that name no other.
        events: where actions are emitted.
        reloads: changes the fleet.
        plugins: the plugins of this run.
        live: the feed of the live stream.
        refuses_token: whether Telegram refuses the token that a bot of a fleet would have.
        address: where the API is reached, as `http://host:port`; None on a unix socket.
        peers: the other nodes of the cluster; None: there is none.
        live_every: how often clients of the live stream are looked after.
    """

    admission: Admission
    is_ready: Callable[[], bool]
    status: Callable[[], dict[str, Any]]
    inbox: Inbox
    backs_up: BacksUp
    bots: Callable[[], Mapping[str, BotScope]]
    restarts: RollingRestarts
    backups: Path
    events: Events
    reloads: Reloads
    plugins: Plugins
    live: LiveFeed
    refuses_token: Callable[[Fleet, str], Awaitable[bool]] = refuses_token
    address: str | None = None
    peers: Peers | None = None
    live_every: Every = field(default_factory=Every)


def make_app(context: AppContext) -> QuartTrio:
    """The daemon's application. Who may ask what is judged by :mod:`trioworkers.web.admission`."""
    bots, events, admission, peers = context.bots, context.events, context.admission, context.peers
    app = bare_app(LARGEST_BODY)
    ids = (lambda: _ids(bots())) if peers is None else peers.bots
    app.register_blueprint(letter_routes(context.inbox, ids, events))
    app.register_blueprint(bot_routes(bots, context.restarts, events, peers))
    app.register_blueprint(node_routes(peers, events))
    app.register_blueprint(detail_routes(bots, lambda: context.reloads.fleet))
    app.register_blueprint(backup_routes(context.backs_up, context.backups, events))
    share = None if peers is None else peers.share
    app.register_blueprint(change_routes(context.reloads, events, context.refuses_token, share))
    app.register_blueprint(plugin_routes(context.plugins, events))
    dashboard = Dashboard()
    app.register_blueprint(dashboard.routes())
    app.register_blueprint(live_routes(context.live, admission.still_admits, context.live_every))
    app.register_blueprint(signin_routes(admission, events, context.address, dashboard.page))

    @app.before_request
    async def admit() -> Answer | None:
        return await admission.refusal(request)

    @app.before_request
    async def pass_on() -> Response | None:
        return None if peers is None else await peers.pass_on()

    @app.before_websocket
    async def admit_websocket() -> Answer | None:
        return await admission.refusal(websocket)

    @app.get("/ready")
    @described(Description("Whether each bot has its first verdict", Readiness, also={503: "not yet"}))
    async def ready() -> tuple[dict[str, str], int]:
        return ({"status": "ready"}, 200) if context.is_ready() else ({"status": "starting"}, 503)

    @app.get("/api/workers/status")
    @described(Description("The state of the fleet and its workers", Status))
    async def workers_status() -> dict[str, Any]:
        return context.status() if peers is None else await peers.with_all(context.status(), "workers")

    @app.get("/api/openapi.json")
    @described(Description("This document", OpenApi))
    async def openapi() -> dict[str, Any]:
        if DOCUMENT not in app.extensions:
            app.extensions[DOCUMENT] = await in_thread(_make_document, app)
        document: dict[str, Any] = app.extensions[DOCUMENT]
        return document

    @app.errorhandler(RequestRefusedError)
    async def refused(error: RequestRefusedError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, error.status

    @app.errorhandler(StoreError)
    async def store_fails(error: StoreError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 503

    @app.errorhandler(OSError)
    async def system_fails(error: OSError) -> tuple[dict[str, str], int]:
        """No thread, process or descriptor can be had now."""
        return {"error": words_of(error)}, 503

    @app.errorhandler(RuntimeError)
    async def no_thread_starts(error: RuntimeError) -> tuple[dict[str, str], int]:
        """A plugin's route was refused a thread by Trio itself."""
        refused = thread_error(error)
        if refused is None:
            raise error
        return await system_fails(refused)

    return app


def _make_document(app: QuartTrio) -> dict[str, Any]:
    """The OpenAPI document; for a thread, since it also imports what makes schemas."""
    from trioworkers.web.openapi import make_document

    return make_document(app)


def _ids(bots: Mapping[str, BotScope]) -> dict[str, int]:
    return {name: bot.settings.bot_id for name, bot in bots.items()}
