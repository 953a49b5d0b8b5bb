"""The connection to a Bot API server, with the token kept out of sight of everything but the wire.

A token is part of every Bot API address. The address that httpx is given to take it apart names the bot's id
in the token's place; the token is put in where the head of a request is made, which nothing but the socket
sees. So no log line, exception or traceback can show it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import httpx

from trioworkers.botapi.form import encode_form, new_boundary
from trioworkers.botapi.server import Server
from trioworkers.http.pool import Http1Pool
from trioworkers.http.proxy import read_proxy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers.botapi.form import FilePart
    from trioworkers.http.pool import ExchangeLimits
    from trioworkers.http.proxy import Proxy
    from trioworkers.http.response import Response

CONNECT_TIMEOUT = 10.0  # seconds
LONG = 64 * 1024  # bytes of a body, from which on an answer may come before all of it was sent

_target = re.compile(rb"[\x21-\x7e]+")


@cache
def tls_context() -> ssl.SSLContext:
    """The process's one TLS context: each costs 8 ms and 2 MB. Certificates are the system's or certifi's."""
    return httpx.create_ssl_context()


@lru_cache(maxsize=8)
def _taken_apart(address: str) -> httpx.URL:
    """A server's address, which is the same for all bots of a fleet."""
    return httpx.URL(address)


def _reached_by(address: str) -> Proxy | None:
    if not address:
        return None
    proxy = read_proxy(address)
    return replace(proxy, tls=tls_context()) if proxy.scheme == "https" else proxy


class Wire:
    """Sends requests for `/bot<id>/…` as `/bot<token>/…`, and `/file/bot<id>/…` likewise.

    It is not httpx's client, whose cookies, redirects, proxies and log lines are not wanted: they and its
    requests and responses cost more than all the rest of a call, in time and in memory.

    Args:
        server: the Bot API server; a text is the address of one that is reached directly.
        bot_id: what stands for the token in addresses.
        token: the real one.
        connections: how many at once.
    """

    def __init__(self, server: Server | str, bot_id: int, token: str, *, connections: int) -> None:
        server = Server(server) if isinstance(server, str) else server
        api_base = server.base
        base = _taken_apart(api_base)
        tls = tls_context() if base.scheme == "https" else None
        port = base.port or (443 if tls else 80)
        proxy = _reached_by(server.proxy)
        self._pool = Http1Pool(base.host, port, tls, connections=connections, proxy=proxy)
        self._server = base.netloc
        self._prefix = f"{api_base}/bot{bot_id}/"
        self._files = f"{api_base}/file/bot{bot_id}/"
        path = base.raw_path.rstrip(b"/")
        environment = "test/" if server.is_test else ""
        self._targets = [
            (
                path + folder + f"/bot{bot_id}/".encode(),
                path + folder + f"/bot{token}/{environment}".encode(),
            )
            for folder in (b"", b"/file")
        ]
        self._calls = self._targets[0][1]
        self._heads: dict[str, bytes] = {}

    async def call(self, method: str, body: bytes, limits: ExchangeLimits) -> Response:
        """Post `body`, which is JSON, to a method; as :meth:`Http1Pool.exchange`."""
        head = self._heads.get(method)
        if head is None:
            # a plain name needs no taking apart
            is_plain = method.isascii() and method.isalnum()
            target = self._calls + method.encode() if is_plain else self.target(self._prefix + method)
            head = self._heads[method] = self._head(
                b"POST", target, b"content-type: application/json\r\ncontent-length: "
            )
        size = b"%d\r\n\r\n" % len(body)
        if len(body) > LONG:
            return await self._pool.exchange(head + size, limits, [body])
        return await self._pool.exchange(head + size + body, limits)

    async def upload(
        self,
        method: str,
        fields: Mapping[str, str],
        files: Mapping[str, FilePart],
        limits: ExchangeLimits,
    ) -> Response:
        """Post a form with files to a method; as :meth:`Http1Pool.exchange`.

        Raises:
            ValueError: as :func:`encode_form`.
        """
        target = self.target(self._prefix + method)
        form = encode_form(fields, files, new_boundary())
        described = b"content-type: %s\r\ncontent-length: %d\r\n\r\n" % (form.content_type, form.length)
        return await self._pool.exchange(self._head(b"POST", target, described), limits, form.parts)

    async def fetch(
        self,
        file_path: str,
        limits: ExchangeLimits,
        sink: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> Response:
        """Get a file; as :meth:`Http1Pool.exchange`."""
        request = self._head(b"GET", self.target(self._files + file_path), b"\r\n")
        return await self._pool.exchange(request, limits, sink=sink)

    def target(self, address: str) -> bytes:
        """What stands in a request's first line for one of this bot's addresses, the token in its place.

        Raises:
            httpx.UnsupportedProtocol: it is not one of this bot's.
            httpx.InvalidURL: it is none.
        """
        url = httpx.URL(address)
        path = url.raw_path
        if url.netloc == self._server:
            for shown, real in self._targets:
                if path.startswith(shown):
                    target = real + path[len(shown) :]
                    if _target.fullmatch(target):
                        return target
        message = "not an address of this bot"
        raise httpx.UnsupportedProtocol(message)

    def _head(self, verb: bytes, target: bytes, more: bytes) -> bytes:
        return b"%s %s HTTP/1.1\r\nhost: %s\r\naccept-encoding: identity\r\nuser-agent: trioworkers\r\n%s" % (
            verb,
            target,
            self._server,
            more,
        )

    def close(self) -> None:
        """Close the connections that are idle."""
        self._pool.close()
