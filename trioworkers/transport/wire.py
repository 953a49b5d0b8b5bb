"""The connection to a Bot API server: httpx, with the token kept out of sight of everything but the wire.

A token is part of every Bot API address. The address that httpx is given names the bot's id in the
token's place; the transport puts the token in when the bytes go out. So no log line, exception or
traceback of httpx, and none of ours, can show it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import httpx

from trioworkers.transport.http1 import Http1Pool

if TYPE_CHECKING:
    import ssl

CONNECT_TIMEOUT = 10.0  # seconds


@cache
def tls_context() -> ssl.SSLContext:
    """The process's one TLS context: each costs 8 ms and 2 MB. Certificates are the system's or certifi's."""
    return httpx.create_ssl_context()


class Wire(httpx.AsyncBaseTransport):
    """Sends requests for `/bot<id>/…` as `/bot<token>/…`, and `/file/bot<id>/…` likewise.

    Args:
        api_base: the Bot API server, `https://api.telegram.org` or another, without a slash at its end.
        bot_id: what stands for the token in addresses.
        token: the real one.
        connections: how many at once.
    """

    def __init__(self, api_base: str, bot_id: int, token: str, *, connections: int) -> None:
        base = httpx.URL(api_base)
        tls = tls_context() if base.scheme == "https" else None
        port = base.port or (443 if tls else 80)
        self._pool = Http1Pool(base.host, port, tls, connections=connections)
        self._server = base.netloc
        prefix = base.raw_path.rstrip(b"/")
        self._targets = [
            (prefix + folder + f"/bot{bot_id}/".encode(), prefix + folder + f"/bot{token}/".encode())
            for folder in (b"", b"/file")
        ]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path
        if request.url.netloc == self._server:
            for shown, real in self._targets:
                if path.startswith(shown):
                    return await self._pool.exchange(request, real + path[len(shown) :])
        message = "not an address of this bot"
        raise httpx.UnsupportedProtocol(message)

    async def aclose(self) -> None:
        await self._pool.aclose()
