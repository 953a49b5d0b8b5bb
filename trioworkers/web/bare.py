"""What both applications are before they have routes of their own: alive, hardened, their errors JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from trioworkers.described import Description, described
from trioworkers.web.answers import Health

if TYPE_CHECKING:
    from quart import Response
    from werkzeug.exceptions import MethodNotAllowed

    Problem = tuple[dict[str, str | None], int, dict[str, str]]


def bare_app(largest_body: int) -> QuartTrio:
    """An application that knows `GET /health`. `largest_body`: bytes that a request may bring."""
    app = QuartTrio(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = largest_body
    app.url_map.merge_slashes = False  # else a name with two of them is redirected

    @app.get("/health")
    @described(Description("Whether the daemon is alive", Health))
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.after_request
    async def harden(response: Response) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.errorhandler(404)
    async def not_found(_: Exception) -> tuple[dict[str, str], int]:
        return {"error": "there is nothing at this address"}, 404

    @app.errorhandler(405)
    async def wrong_method(error: MethodNotAllowed) -> tuple[dict[str, str], int, dict[str, str]]:
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return {"error": "this address does not take that method"}, 405, {"Allow": allowed}

    @app.errorhandler(413)
    async def too_large(_: Exception) -> tuple[dict[str, str], int]:
        return {"error": f"expected a body of at most {largest_body} bytes"}, 413

    @app.errorhandler(HTTPException)
    async def other(error: HTTPException) -> Problem:
        return problem(error)

    return app


def problem(error: HTTPException) -> Problem:
    """Return the answer to what a framework, or a plugin by `abort`, refuses or could not do.

    What it says itself is taken over; texts of the framework's own are for readers of pages.
    """
    status = error.code or 500
    own = type(error).description
    message = error.description if error.description not in (None, own) else error.name.lower()
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return {"error": message}, status, headers
