"""One program's connections to the Bot API server. They are its own: a slow bot holds up no other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import trio

from trioworkers.botapi.wire import CONNECT_TIMEOUT, tls_context
from trioworkers.gateway.messages import ResponseReader
from trioworkers.http.connect import Connector
from trioworkers.http.pool import IDLE
from trioworkers.http.proxy import read_proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.botapi.server import Server
    from trioworkers.http.patience import Patience
    from trioworkers.http.stream import Stream

MOST_IDLE = 128  # as many as updates that one poll brings, and some more: opening one costs more than a call


class Upstream:
    """Connections to the server of one bot, used again while they are idle.

    Args:
        server: the Bot API server.
        token: the bot's own token, which is put into targets.
        patience: ends the server's silences.
        may_call: whether a call may be made at this moment.

    Attributes:
        path: what the server's address has before `/bot`.
        host: the field Host of requests.
    """

    def __init__(
        self, server: Server, token: str, patience: Patience, may_call: Callable[[], bool] = lambda: True
    ) -> None:
        self._patience = patience
        self._may_call = may_call
        base = httpx.URL(server.base)
        tls = tls_context() if base.scheme == "https" else None
        proxy = read_proxy(server.proxy) if server.proxy else None
        if proxy is not None and proxy.scheme == "https":
            proxy = replace(proxy, tls=tls_context())
        self.path = base.raw_path.rstrip(b"/")
        self.host = base.netloc
        self.token = token
        self.is_test = server.is_test
        self._connector = Connector(base.host, base.port or (443 if tls else 80), tls, proxy)
        self._idle: list[UpstreamConnection] = []
        self._is_closed = False

    async def take(self) -> UpstreamConnection:
        """Return a connection that nobody uses.

        Raises:
            httpx.TransportError: there is none to be had, or no call may be made now.
        """
        connection = await self._take()
        if self._is_closed or not self._may_call():  # looked at last: connecting takes time
            self.take_back(connection, is_kept=False, is_to_blame=False)
            message = "this daemon may not call for the bot any more"
            raise httpx.ConnectError(message)
        return connection

    async def _take(self) -> UpstreamConnection:
        while self._idle:
            connection = self._idle.pop()
            if trio.current_time() < connection.trusted_until and connection.stream.is_quiet():
                return connection
            connection.close()
        with trio.move_on_after(CONNECT_TIMEOUT):
            stream = await self._connector.connect()
            self._patience.watch(stream)
            return UpstreamConnection(stream)
        message = "cannot connect: timed out"
        raise httpx.ConnectTimeout(message)

    def take_back(self, connection: UpstreamConnection, *, is_kept: bool, is_to_blame: bool) -> None:
        """Take back a connection whose exchange is over, however it ended.

        Args:
            connection: from :meth:`take`.
            is_kept: it has answered, and may be used again; otherwise it is closed.
            is_to_blame: the server's address did not answer as it should, and is tried last from now on.
        """
        if is_kept:
            self._put_back(connection)
            return
        if is_to_blame:
            self._connector.failed(connection.stream)
        connection.close()

    def _put_back(self, connection: UpstreamConnection) -> None:
        self._connector.worked(connection.stream)
        if self._is_closed or len(self._idle) >= MOST_IDLE:
            connection.close()
            return
        connection.trusted_until = trio.current_time() + IDLE
        self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle, and keep nothing from now on."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()


class UpstreamConnection:
    """A connection, and the reader of what comes on it.

    Attributes:
        trusted_until: when it has been idle for too long, trio time.
    """

    __slots__ = ("reader", "stream", "trusted_until")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.reader = ResponseReader()
        self.trusted_until = 0.0

    def close(self) -> None:
        """Close it, once."""
        self.reader.close()
        self.stream.close()
