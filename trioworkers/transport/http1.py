"""HTTP/1.1 connections to one server: what httpx's own transport does, at a third of its cost.

A call to the Bot API is the dearest part of an update, and httpx's pool looks at every connection it has
at every request, twice. Here is one server, so a pool is a stack of idle connections, and an exchange is
one write and, mostly, one read. h11 keeps the protocol.

Whatever the server does is bounded: a silence, an exchange as a whole, the bytes of an answer. These are
bytes on the wire and in memory alike, since compression is neither asked for nor taken: 600 kB of gzip
unpack to 600 MB.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11
import httpx
import trio

if TYPE_CHECKING:
    import ssl

READ_SIZE = 64 * 1024
IDLE = 50.0  # seconds after which an idle connection is not trusted any more


@dataclass(frozen=True, slots=True)
class Limits:
    """What one exchange may take.

    Attributes:
        connect: seconds until a new connection can be used.
        silence: seconds in which not a byte moves.
        total: seconds for the exchange as a whole, once it has a connection.
        body: bytes of the answer's body.
    """

    connect: float
    silence: float
    total: float
    body: int


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

        Cancelled, or failed, it closes its connection. The request's extension `limits` holds its
        :class:`Limits`; waiting for one of the connections is not limited.

        Raises:
            httpx.TransportError: there is no response; the message names neither target nor headers.
        """
        limits: Limits = request.extensions["limits"]
        async with self._slots:
            connection = await self._take_idle() or await self._connect(limits.connect)
            try:
                response = await connection.exchange(request, target, limits)
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

    async def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            try:
                fresh = await connection.is_fresh()
            except BaseException:
                connection.forget()
                raise
            if fresh:
                return connection
            connection.forget()
        return None

    async def _connect(self, seconds: float) -> _Connection:
        place = f"{self._host}:{self._port}"
        with trio.move_on_after(seconds):
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
        """Whether another exchange may follow; it is ready for it then.

        Bytes after the answer would be taken for the answer of the next request.
        """
        http = self._http
        if (http.our_state, http.their_state, http.trailing_data) != (h11.DONE, h11.DONE, (b"", False)):
            return False
        http.start_next_cycle()
        self._idle_since = trio.current_time()
        return True

    async def is_fresh(self) -> bool:
        """Whether the server has let it be: one that closed it, or says something unasked, has not."""
        if trio.current_time() - self._idle_since >= IDLE or self._socket.is_readable():
            return False
        return not isinstance(self._stream, trio.SSLStream) or await self._has_nothing_decrypted()

    async def _has_nothing_decrypted(self) -> bool:
        """Whether TLS holds back no bytes, which the socket does not show."""
        with trio.CancelScope() as scope:
            # not cancelled at once, which would read nothing; not by a deadline, which would wait for it
            trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
            try:
                await self._stream.receive_some(1)
            except trio.BrokenResourceError:
                return False
        return scope.cancelled_caught

    def forget(self) -> None:
        """Close it without waiting."""
        self._socket.close()

    async def close(self) -> None:
        await trio.aclose_forcefully(self._stream)

    async def exchange(self, request: httpx.Request, target: bytes, limits: Limits) -> httpx.Response:
        with trio.move_on_after(limits.total), trio.move_on_after(limits.silence) as silence:
            try:
                request.headers["accept-encoding"] = "identity"
                head = h11.Request(method=request.method, target=target, headers=request.headers.raw)
                first = self._http.send(head) or b""
                if int(request.headers.get("content-length", 0)) > READ_SIZE:
                    return await self._exchange_while_sending(first, request, silence, limits)
                await self._send(first, request, silence, limits)
                return await self._receive(silence, limits)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise httpx.ReadError("the connection broke") from None
            except h11.LocalProtocolError:
                raise httpx.LocalProtocolError("a request that HTTP does not allow") from None
            except h11.RemoteProtocolError:
                raise httpx.RemoteProtocolError("the server closed early, or sent no HTTP") from None
        raise httpx.ReadTimeout("timed out")

    async def _exchange_while_sending(
        self, first: bytes, request: httpx.Request, silence: trio.CancelScope, limits: Limits
    ) -> httpx.Response:
        """Read while sending: who refuses an upload answers and closes before it has all of it.

        https://www.rfc-editor.org/rfc/rfc9112#section-9.5; what is not sent by then is not sent any more.
        """
        outcome: httpx.Response | Exception
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, first, request, silence, limits)
            try:
                outcome = await self._receive(silence, limits)
            except Exception as error:  # raised below, where the nursery makes no group of it
                outcome = error
            nursery.cancel_scope.cancel()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _send(
        self, data: bytes, request: httpx.Request, silence: trio.CancelScope, limits: Limits
    ) -> None:
        """Send the request; when the connection breaks, what is read from it tells more."""
        if not isinstance(request.stream, httpx.SyncByteStream):
            raise TypeError("expected a request whose content is in memory")
        try:
            for chunk in request.stream:  # an async generator would have to be closed when this is cancelled
                data += self._http.send(h11.Data(data=chunk)) or b""
                if len(data) > READ_SIZE:
                    await self._stream.send_all(data)
                    data = b""
                    silence.deadline = trio.current_time() + limits.silence
            data += self._http.send(h11.EndOfMessage()) or b""
            await self._stream.send_all(data)
            silence.deadline = trio.current_time() + limits.silence
        except trio.BrokenResourceError:
            return

    async def _receive(self, silence: trio.CancelScope, limits: Limits) -> httpx.Response:
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self._stream.receive_some(READ_SIZE)
                self._http.receive_data(bytes(data))
                silence.deadline = trio.current_time() + limits.silence
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > limits.body:
                    raise httpx.RemoteProtocolError(f"an answer of more than {limits.body} bytes")
            elif isinstance(event, h11.Response):
                head = event
                if any(name == b"content-encoding" and value != b"identity" for name, value in head.headers):
                    raise httpx.RemoteProtocolError("an answer that is compressed, which nobody asked for")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                # httpx would take the address of a redirect apart, and quote it when it cannot
                headers = [(name, value) for name, value in head.headers if name != b"location"]
                return httpx.Response(head.status_code, headers=headers, content=bytes(body))
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
