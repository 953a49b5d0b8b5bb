"""The connection to a Bot API server: httpx, with the token kept out of sight of everything but the wire.

A token is part of every Bot API address. The address that httpx is given names the bot's id in the
token's place; the transport puts the token in when the bytes go out. So no log line, exception or
traceback of httpx, and none of ours, can show it.
"""

from __future__ import annotations

import ssl
from functools import cache

import httpx

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
        connections: how many at once, all kept alive: httpcore then never closes one to make room
            (https://github.com/encode/httpcore/issues/1093).
    """

    def __init__(self, api_base: str, bot_id: int, token: str, *, connections: int) -> None:
        # a plain http address needs no certificates: an empty context costs nothing and trusts nobody
        verify = tls_context() if api_base.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._inner = httpx.AsyncHTTPTransport(
            verify=verify,
            limits=httpx.Limits(
                max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=50
            ),
        )
        prefix = httpx.URL(api_base).raw_path.rstrip(b"/")
        shown, real = f"bot{bot_id}/".encode(), f"bot{token}/".encode()
        self._paths = {
            prefix + b"/" + shown: prefix + b"/" + real,
            prefix + b"/file/" + shown: prefix + b"/file/" + real,
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path
        for shown, real in self._paths.items():
            if path.startswith(shown):
                url = request.url.copy_with(raw_path=real + path[len(shown) :])
                break
        else:
            message = "not an address of this bot"
            raise httpx.UnsupportedProtocol(message, request=request)
        sent = httpx.Request(
            request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
        )
        try:
            return await self._inner.handle_async_request(sent)
        except httpx.TransportError as error:
            raise type(error)(str(error), request=request) from None

    async def aclose(self) -> None:
        await self._inner.aclose()
