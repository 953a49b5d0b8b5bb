"""What both applications are before they have routes of their own: alive, hardened, their errors JSON."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from quart_trio import QuartTrio

if TYPE_CHECKING:
    from quart import Response


def bare_app(largest_body: int) -> QuartTrio:
    """An application that knows `GET /health`. `largest_body`: bytes that a request may bring."""
    app = QuartTrio(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = largest_body

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

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
    async def too_large(_: Exception) -> tuple[dict[str, str], int]:
        return {"error": f"expected a body of at most {largest_body} bytes"}, 413

    return app


def carries(header: str, token: str) -> bool:
    """Whether an `Authorization` header has the API's token."""
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
