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
    from collections.abc import Callable, Collection

OPEN = {"/health", "/ready"}  # paths that need no token
MARK = "trioworkers.control"  # in the scope of requests that came by the control socket


def make_app(
    *,
    token: str,
    hosts: Collection[str],
    is_ready: Callable[[], bool],
    status: Callable[[], dict[str, Any]],
) -> QuartTrio:
    """The daemon's application.

    Args:
        token: what `Authorization: Bearer …` has to carry, but for `/health` and `/ready`.
        hosts: the names (in lower case, without a port) under which the API may be asked, besides bare
            addresses: a page of another site that lets its own name point here is refused (DNS rebinding).
        is_ready: whether every bot has had its first verdict.
        status: makes the status document.
    """
    app = QuartTrio(__name__, static_folder=None)

    @app.before_request
    async def admit() -> tuple[dict[str, str], int] | None:
        if request.scope.get(MARK):
            return None
        host = request.headers.get("Host", "")
        if not _host_is_ours(host, hosts):
            return {"error": "this host is not served here"}, 421
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != host:
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

    return app


def _carries(header: str, token: str) -> bool:
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _host_is_ours(host: str, hosts: Collection[str]) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.strip("[]").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in hosts
    return True
