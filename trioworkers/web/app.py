"""The routes. One application serves the `[api]` address, where a token is asked for, and the control
socket, which only the daemon's own user can open: commands and dashboards see the same fleet.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quart import g, request

from trioworkers.inbox.store import StoreError
from trioworkers.web.asked import API, CONTROL, RequestRefusedError
from trioworkers.web.backup import backup_routes
from trioworkers.web.bare import bare_app, carries
from trioworkers.web.bots import bot_routes
from trioworkers.web.changes import change_routes
from trioworkers.web.letters import letter_routes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from quart_trio import QuartTrio

    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.nursery.bot import BotScope
    from trioworkers.nursery.rolling import RollingRestarts
    from trioworkers.web.backup import BacksUp
    from trioworkers.web.changes import Reloads

OPEN = {"/health", "/ready"}  # paths that need no token
MARK = "trioworkers.control"  # in the scope of requests that came by the control socket
LARGEST_BODY = 2**20  # bytes


@dataclass(frozen=True, slots=True)
class AppContext:
    """What the routes work on.

    Attributes:
        token: what `Authorization: Bearer …` has to carry, but for `/health` and `/ready`.
        loopback: the API is bound to a loopback address.
        is_ready: whether every bot has had its first verdict.
        status: makes the status document.
        inbox: the updates and dead letters of all bots.
        backs_up: makes copies of what they are kept in; the inbox.
        bots: the bots that this daemon runs, by name.
        restarts: asked for rolling restarts.
        backups: the folder of backups that name no other.
        events: where actions are emitted.
        reloads: changes the fleet.
    """

    token: str
    loopback: bool
    is_ready: Callable[[], bool]
    status: Callable[[], dict[str, Any]]
    inbox: Inbox
    backs_up: BacksUp
    bots: Callable[[], Mapping[str, BotScope]]
    restarts: RollingRestarts
    backups: Path
    events: Events
    reloads: Reloads


def make_app(context: AppContext) -> QuartTrio:
    """The daemon's application.

    Who may ask: whoever comes by the control socket. Else a page of another origin may not, and

    - on loopback, nobody under a name that is not loopback's: a page of another site that lets its own
      name point here would be of the same origin as the API (DNS rebinding), and on one's own machine
      there may be more to see than `/health`.
    - elsewhere, whoever names any host: proxies and probes have names that nobody could list here. What
      is behind the token needs no more than it, since no page of another site can have it.
    """
    bots, events = context.bots, context.events
    app = bare_app(LARGEST_BODY)
    app.register_blueprint(letter_routes(context.inbox, lambda: _ids(bots()), events))
    app.register_blueprint(bot_routes(bots, context.restarts, events))
    app.register_blueprint(backup_routes(context.backs_up, context.backups, events))
    app.register_blueprint(change_routes(context.reloads, events))

    @app.before_request
    async def admit() -> tuple[dict[str, str], int] | None:
        g.by = CONTROL if request.scope.get(MARK) else API
        if g.by == CONTROL:
            return None
        host = request.headers.get("Host", "").lower()
        if context.loopback and not _is_loopback(host):
            return {"error": "this host is not served here"}, 421
        origin = request.headers.get("Origin")
        if origin is not None and (not host or origin.lower().partition("://")[2] != host):
            return {"error": "requests from other sites are refused"}, 403
        if request.path in OPEN or carries(request.headers.get("Authorization", ""), context.token):
            return None
        return {"error": "expected the header Authorization: Bearer <API token>"}, 401

    @app.get("/ready")
    async def ready() -> tuple[dict[str, str], int]:
        return ({"status": "ready"}, 200) if context.is_ready() else ({"status": "starting"}, 503)

    @app.get("/api/workers/status")
    async def workers_status() -> dict[str, Any]:
        return context.status()

    @app.errorhandler(RequestRefusedError)
    async def refused(error: RequestRefusedError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, error.status

    @app.errorhandler(StoreError)
    async def store_fails(error: StoreError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 503

    return app


def _ids(bots: Mapping[str, BotScope]) -> dict[str, int]:
    return {name: bot.settings.bot_id for name, bot in bots.items()}


def _is_loopback(host: str) -> bool:
    """Whether a `Host` header names this machine to itself: `localhost` or a loopback address."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
