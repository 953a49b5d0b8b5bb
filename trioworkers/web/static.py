"""The dashboard's files: its page at `GET /` and `GET /static/…`, with an ETag and a strict policy.

They are read once. They hold no data of the fleet, so those below `/static/` need no token: a dashboard whose
session has ended can still load the module that says so. A browser asks again each time and is mostly
answered 304, so that a page never mixes the modules of two versions after an upgrade.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quart import Blueprint, Response, request

from trioworkers.dashboard import static_files
from trioworkers.described import Description, described
from trioworkers.web.admission import STATIC

if TYPE_CHECKING:
    from collections.abc import Mapping

INDEX = "index.html"
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
KINDS = tuple(type_.partition(";")[0] for name, type_ in TYPES.items() if name != "html")
NOT_MODIFIED = {304: "the browser has this version already"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # with no-referrer, the Origin of the form that signs out would be null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    type: str
    etag: str


class Dashboard:
    """The files, which are read now."""

    def __init__(self) -> None:
        self._files = {path: _file(path, body) for path, body in static_files().items()}

    async def page(self) -> Response:
        """The page of the dashboard itself."""
        return _answer(self._files[INDEX])

    def routes(self) -> Blueprint:
        """`GET /static/…`."""
        return _routes(self._files)


def _routes(known: Mapping[str, _File]) -> Blueprint:
    routes = Blueprint("static", __name__)

    @routes.get(f"{STATIC}<path:path>")
    @described(
        Description(
            "A file of the dashboard",
            bytes,
            KINDS,
            also=NOT_MODIFIED,
            refusals={404: "there is no such file"},
        )
    )
    async def static(path: str) -> Response | tuple[dict[str, str], int]:
        if path not in known or path == INDEX:
            return {"error": "there is nothing at this address"}, 404
        return _answer(known[path])

    return routes


def _file(path: str, body: bytes) -> _File:
    return _File(body, TYPES[path.rpartition(".")[2]], hashlib.sha256(body).hexdigest()[:32])


def _answer(file: _File) -> Response:
    if request.if_none_match.contains(file.etag):
        response = Response(b"", status=304)  # without a body, Quart asks asyncio for one
    else:
        response = Response(file.body, content_type=file.type)
    response.set_etag(file.etag)
    response.headers.update(HEADERS)
    return response
