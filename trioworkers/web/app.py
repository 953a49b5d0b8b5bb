"""The routes. One application serves the `[api]` address, where a token is asked for, and the control
socket, which only the daemon's own user can open: commands and dashboards see the same fleet.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING, Any

from quart import Response, request
from quart_trio import QuartTrio

if TYPE_CHECKING:
    from collections.abc import Callable

OPEN = {"/health", "/ready"}  # paths that need no token
MARK = "trioworkers.control"  # in the scope of requests that came by the control socket


def make_app(
    *, token: str, loopback: bool, is_ready: Callable[[], bool], status: Callable[[], dict[str, Any]]
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
    """
    app = QuartTrio(__name__, static_folder=None)

    @app.before_request
    async def admit() -> tuple[dict[str, str], int] | None:
        if request.scope.get(MARK):
            return None
        host = request.headers.get("Host", "").lower()
        if loopback and not _is_loopback(host):
            return {"error": "this host is not served here"}, 421
        origin = request.headers.get("Origin")
        if origin is not None and (not host or origin.lower().partition("://")[2] != host):
            return {"error": "requests from other sites are refused"}, 403
        if request.path in OPEN or carries(request.headers.get("Authorization", ""), token):
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

    return app


def carries(header: str, token: str) -> bool:
    """Whether an `Authorization` header has the API's token."""
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _is_loopback(host: str) -> bool:
    """Whether a `Host` header names this machine to itself: `localhost` or a loopback address."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
