"""The routes. One application serves the `[api]` address, where a token is asked for, and the control
socket, which only the daemon's own user can open: commands and dashboards see the same fleet.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING, Any

from quart import Response, g, request
from quart_trio import QuartTrio

from trioworkers.inbox.store import StoreError
from trioworkers.web.asked import API, CONTROL, RefusedError
from trioworkers.web.backup import backup_routes
from trioworkers.web.letters import letter_routes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.web.backup import BacksUp

OPEN = {"/health", "/ready"}  # paths that need no token
MARK = "trioworkers.control"  # in the scope of requests that came by the control socket
LARGEST_BODY = 2**20  # bytes


def make_app(
    *,
    token: str,
    loopback: bool,
    is_ready: Callable[[], bool],
    status: Callable[[], dict[str, Any]],
    inbox: Inbox,
    backs_up: BacksUp,
    bots: Callable[[], Mapping[str, int]],
    backups: Path,
    events: Events,
) -> QuartTrio:
    """The daemon's application.

    Who may ask: whoever comes by the control socket. Else a page of another origin may not, and

    - on loopback, nobody under a name that is not loopback's: a page of another site that lets its own
      name point here would be of the same origin as the API (DNS rebinding), and on one's own machine
      there may be more to see than `/health`.
    - elsewhere, whoever names any host: proxies and probes have names that nobody could list here. What
      is behind the token needs no more than it, since no page of another site can have it.

    Args:
        token: what `Authorization: Bearer …` has to carry, but for `/health` and `/ready`.
        loopback: the API is bound to a loopback address.
        is_ready: whether every bot has had its first verdict.
        status: makes the status document.
        inbox: the updates and dead letters of all bots.
        backs_up: makes copies of what they are kept in; the inbox.
        bots: the ids of the bots that this daemon runs, by name.
        backups: the folder of backups that name no other.
        events: where actions are told.
    """
    app = QuartTrio(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.register_blueprint(letter_routes(inbox, bots, events))
    app.register_blueprint(backup_routes(backs_up, backups, events))

    @app.before_request
    async def admit() -> tuple[dict[str, str], int] | None:
        g.by = CONTROL if request.scope.get(MARK) else API
        if g.by == CONTROL:
            return None
        host = request.headers.get("Host", "").lower()
        if loopback and not _is_loopback(host):
            return {"error": "this host is not served here"}, 421
        origin = request.headers.get("Origin")
        if origin is not None and (not host or origin.lower().partition("://")[2] != host):
            return {"error": "requests from other sites are refused"}, 403
        if request.path in OPEN or _carries(request.headers.get("Authorization", ""), token):
            return None
        return {"error": "expected the header Authorization: Bearer <API token>"}, 401

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> tuple[dict[str, str], int]:
        return ({"status": "ready"}, 200) if is_ready() else ({"status": "starting"}, 503)

    @app.get("/api/workers/status")
    async def workers_status() -> dict[str, Any]:
        return status()

    @app.after_request
    async def harden(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.errorhandler(404)
    async def not_found(_: Exception) -> tuple[dict[str, str], int]:
        return {"error": "there is nothing at this address"}, 404

    @app.errorhandler(405)
    async def wrong_method(_: Exception) -> tuple[dict[str, str], int]:
        return {"error": "this address does not take that method"}, 405

    @app.errorhandler(413)
    async def too_large(_: Exception) -> tuple[dict[str, str], int, dict[str, str]]:
        # the rest of the body stands where the next request would
        return {"error": f"expected a body of at most {LARGEST_BODY} bytes"}, 413, {"Connection": "close"}

    @app.errorhandler(RefusedError)
    async def refused(error: RefusedError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, error.status

    @app.errorhandler(StoreError)
    async def store_fails(error: StoreError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 503

    return app


def _carries(header: str, token: str) -> bool:
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _is_loopback(host: str) -> bool:
    """Whether a `Host` header names this machine to itself: `localhost` or a loopback address."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
