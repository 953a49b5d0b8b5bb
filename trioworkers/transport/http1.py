"""HTTP/1.1 connections to one server: what httpx's own transport does, at a third of its cost.

A call to the Bot API is the dearest part of an update, and httpx's pool looks at every connection it has
at every request, twice. Here is one server, so a pool is a stack of idle connections, and an exchange is
one write and, mostly, one read. h11 keeps the protocol.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import h11
import httpx
import trio

if TYPE_CHECKING:
    import ssl

READ_SIZE = 64 * 1024
BODY_LIMIT = 256 * 2**20  # bytes of an answer; the cloud's files have 20 MB, its answers 4
IDLE = 50.0  # seconds after which an idle connection is not trusted any more


class Http1Pool:
    """Connections to one server.

    Args:
        host: its name or address.
        port: its port.
        tls: the context to verify it with; None speaks plain HTTP.
        connections: how many at once; more requests wait for one.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, *, connections: int) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._slots = trio.CapacityLimiter(connections)
        self._idle: list[_Connection] = []

    async def exchange(self, request: httpx.Request, target: bytes) -> httpx.Response:
        """Send `request` with `target` in its first line; return the whole response.

        Cancelled, or failed, it closes its connection. Time limits are the request's `timeout` extension:
        `connect` for a new connection, `read` for a silence of the server.

        Raises:
            httpx.TransportError: there is no response; the message names neither target nor headers.
        """
        timeout = request.extensions.get("timeout", {})
        async with self._slots:
            connection = self._take_idle()
            if connection is None:
                connection = await self._connect(timeout.get("connect"))
            try:
                response = await connection.exchange(request, target, timeout.get("read"))
            except BaseException:
                await connection.close()
                raise
            if connection.is_reusable():
                self._idle.append(connection)
            else:
                await connection.close()
            return response

    async def aclose(self) -> None:
        """Close what is idle."""
        while self._idle:
            await self._idle.pop().close()

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh():
                return connection
            connection.forget()
        return None

    async def _connect(self, seconds: float | None) -> _Connection:
        place = f"{self._host}:{self._port}"
        with trio.move_on_after(float("inf") if seconds is None else seconds):
            try:
                stream: trio.SocketStream = await trio.open_tcp_stream(self._host, self._port)
            except OSError as error:
                raise httpx.ConnectError(f"cannot connect to {place}: {_reason(error)}") from None
            if self._tls is None:
                return _Connection(stream, stream)
            secure = trio.SSLStream(stream, self._tls, server_hostname=self._host, https_compatible=True)
            try:
                await secure.do_handshake()
            except BaseException as error:
                await trio.aclose_forcefully(stream)
                if not isinstance(error, trio.BrokenResourceError):
                    raise
                reason = getattr(error.__cause__, "verify_message", None) or "the handshake failed"
                raise httpx.ConnectError(f"no TLS with {place}: {reason}") from None
            return _Connection(secure, stream)
        raise httpx.ConnectTimeout(f"cannot connect to {place}: timed out")


class _Connection:
    def __init__(self, stream: trio.abc.Stream, socket_stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = socket_stream.socket
        self._http = h11.Connection(h11.CLIENT)
        self._idle_since = 0.0

    def is_reusable(self) -> bool:
        """Whether another exchange may follow; it is ready for it then."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._idle_since = trio.current_time()
        return True

    def is_fresh(self) -> bool:
        """Whether the server has let it be: one that closed it, or says something unasked, has not."""
        return trio.current_time() - self._idle_since < IDLE and not self._socket.is_readable()

    def forget(self) -> None:
        """Close it without waiting."""
        self._socket.close()

    async def close(self) -> None:
        await trio.aclose_forcefully(self._stream)

    async def exchange(self, request: httpx.Request, target: bytes, silence: float | None) -> httpx.Response:
        allowed = float("inf") if silence is None else silence
        with trio.move_on_after(allowed) as limit:
            try:
                await self._send(request, target, limit, allowed)
                return await self._receive(limit, allowed)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise httpx.ReadError("the connection broke") from None
            except h11.LocalProtocolError:
                raise httpx.LocalProtocolError("a request that HTTP does not allow") from None
            except h11.RemoteProtocolError:
                raise httpx.RemoteProtocolError("the server closed early, or sent no HTTP") from None
        raise httpx.ReadTimeout("timed out")

    async def _send(
        self, request: httpx.Request, target: bytes, limit: trio.CancelScope, allowed: float
    ) -> None:
        head = h11.Request(method=request.method, target=target, headers=request.headers.raw)
        data = self._http.send(head) or b""
        if not isinstance(request.stream, httpx.AsyncByteStream):
            raise TypeError("expected a request of an AsyncClient")
        async for chunk in request.stream:
            data += self._http.send(h11.Data(data=chunk)) or b""
            if len(data) > READ_SIZE:
                await self._stream.send_all(data)
                data = b""
                limit.deadline = trio.current_time() + allowed
        data += self._http.send(h11.EndOfMessage()) or b""
        await self._stream.send_all(data)

    async def _receive(self, limit: trio.CancelScope, allowed: float) -> httpx.Response:
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self._stream.receive_some(READ_SIZE)
                self._http.receive_data(bytes(data))
                limit.deadline = trio.current_time() + allowed
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_LIMIT:
                    raise httpx.RemoteProtocolError(f"an answer of more than {BODY_LIMIT} bytes")
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return httpx.Response(head.status_code, headers=list(head.headers), content=bytes(body))
            elif not isinstance(event, h11.InformationalResponse):
                raise httpx.RemoteProtocolError("the server closed early, or sent no HTTP")


def _reason(error: OSError) -> str:
    """Why a connection could not be made, in the system's words; trio raises them as causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, socket.gaierror) and cause.strerror:
            return cause.strerror
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)  # trio's own text repeats the address
        cause = cause.__cause__
    return "no address answers"
