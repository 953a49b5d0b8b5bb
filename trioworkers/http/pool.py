"""HTTP/1.1 connections to one server: what httpx's own transport does, at a tenth of its cost.

A call to the Bot API is the dearest part of an update, and httpx's pool looks at every connection it has
at every request, twice. Here is one server, so a pool is a stack of idle connections, and an exchange is
one write, one wait and one read.

Whatever the server does is bounded: a silence, an exchange as a whole, the bytes of an answer. These are
bytes on the wire and in memory alike, since compression is neither asked for nor taken: 600 kB of gzip
unpack to 600 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import httpx
import trio

from trioworkers.http.connect import Connector
from trioworkers.http.lateness import lateness
from trioworkers.http.response import Response, ResponseReader

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable

    from trioworkers.http.lateness import Lateness
    from trioworkers.http.proxy import Proxy
    from trioworkers.http.stream import Stream

WRITE_SIZE = 64 * 1024  # bytes
IDLE = 50.0  # seconds after which an idle connection is not trusted any more


@dataclass(frozen=True, slots=True)
class ExchangeLimits:
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


class Blocks(Protocol):
    """A part of a request that is sent while it is read."""

    async def next_block(self) -> bytes:
        """Return the next bytes, none at the end; or raise OSError."""


class Http1Pool:
    """Connections to one server.

    Args:
        host: its name or address.
        port: its port.
        tls: the context to verify it with; None speaks plain HTTP.
        connections: how many at once; more requests wait for one.
        proxy: by way of which; None connects directly.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        *,
        connections: int,
        proxy: Proxy | None = None,
    ) -> None:
        self._place = f"{host}:{port}" if proxy is None else f"{host}:{port} by the proxy {proxy}"
        self._connector = Connector(host, port, tls, proxy)
        # a number and who waits: trio's limiter, which knows who holds what, takes ten times as long
        self._free = connections
        self._waiting = trio.lowlevel.ParkingLot()
        self._idle: list[_PooledConnection] = []
        self._watch: Lateness | None = None  # of the loop

    async def exchange(
        self,
        request: bytes,
        limits: ExchangeLimits,
        rest: Iterable[bytes | Blocks] = (),
        sink: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> Response:
        """Send a request, then the `rest` of it, if that is long; return the whole response.

        Of a response with status 200, `sink` is given the body part by part, and the response has none: no
        more of it is read while `sink` waits. How long it may wait is its own business.

        Cancelled, or failed, it closes its connection. Waiting for one of the connections is not limited.

        Raises:
            httpx.TransportError: there is no response; the message names nothing of the request.
            OSError: blocks of the request could not be read.
        """
        if self._free:
            self._free -= 1
        else:
            await self._waiting.park()  # for one that is handed over
        try:
            connection = self._take_idle() or await self._connect(limits.connect)
            is_kept = False
            try:
                self._watch = self._watch or lateness()
                exchange = _Exchange(connection, limits, self._watch)
                response = await exchange.run(request, rest, sink)
                self._connector.worked(connection.stream)
                is_kept = exchange.is_sent and not response.is_last
            except httpx.TransportError:
                self._connector.failed(connection.stream)
                raise
            finally:
                if is_kept:
                    connection.trusted_until = trio.current_time() + IDLE
                    self._idle.append(connection)
                else:
                    connection.close()
            return response
        finally:
            if self._waiting:
                self._waiting.unpark()
            else:
                self._free += 1

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def _take_idle(self) -> _PooledConnection | None:
        """Return a connection on which the server neither closed nor sent anything unasked."""
        while self._idle:
            connection = self._idle.pop()
            if trio.current_time() < connection.trusted_until and connection.stream.is_quiet():
                return connection
            connection.close()
        return None

    async def _connect(self, seconds: float) -> _PooledConnection:
        with trio.move_on_after(seconds):
            return _PooledConnection(await self._connector.connect())
        raise httpx.ConnectTimeout(f"cannot connect to {self._place}: timed out")


class _PooledConnection:
    """A connection, and the reader of the responses on it.

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


class _Exchange:
    """One request and its response on a connection.

    Attributes:
        is_sent: the whole request was sent.
        deadline: when it is late, trio time.
    """

    def __init__(self, connection: _PooledConnection, limits: ExchangeLimits, watch: Lateness) -> None:
        self.is_sent = False
        self._watch = watch
        self._sink: Callable[[bytes], Awaitable[None]] | None = None
        self._stream = connection.stream
        self._reader = connection.reader
        self._reader.begin(limits.body)
        now = trio.current_time()
        self._silence = limits.silence
        self._ends = now + limits.total
        self.deadline = min(self._ends, now + self._silence)
        self._over: Exception | None = None  # why nothing more is waited for

    async def run(
        self,
        request: bytes,
        rest: Iterable[bytes | Blocks],
        sink: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> Response:
        self._sink = sink
        self._watch.begin(self)
        try:
            if rest:
                return await self._receive_while_sending(request, rest)
            taken = self._send_now(request)
            if taken < len(request):
                await self._send([request[taken:]])
            return await self._receive()
        except (OSError, trio.ClosedResourceError):
            if self._over is not None:
                raise self._over from None
            raise httpx.ReadError("the connection broke") from None
        finally:
            self._watch.end(self)

    def late(self) -> None:
        """End it with a time-out, and close its connection, which wakes the task that waits for it."""
        self._over = httpx.ReadTimeout("timed out")
        self._stream.close()

    def fail(self, error: Exception) -> None:
        """End it with `error`. Its connection is closed by the task that is woken."""
        self._over = error
        self._stream.wake()

    def _moved(self) -> None:
        """Bytes did: the silence begins anew."""
        self.deadline = min(self._ends, trio.current_time() + self._silence)

    async def _receive(self) -> Response:
        while self._over is None:
            response = self._reader.feed(await self._stream.receive())
            if self._sink is not None and self._reader.status == 200:
                if part := self._reader.take() if response is None else response.body:
                    await self._sink(part)
                if response is not None:
                    return Response(response.status, response.fields, b"", response.is_last)
            if response is not None:
                return response
            self._moved()
        raise trio.ClosedResourceError

    async def _receive_while_sending(self, request: bytes, rest: Iterable[bytes | Blocks]) -> Response:
        """Read while sending: who refuses an upload answers and closes before it has all of it.

        https://www.rfc-editor.org/rfc/rfc9112#section-9.5; what is not sent by then is not sent any more.
        """
        outcome: Response | Exception
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, _chain(request, rest))
            try:
                outcome = await self._receive()
            except Exception as error:  # raised below, where the nursery makes no group of it
                outcome = error
            nursery.cancel_scope.cancel()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _send_now(self, request: bytes) -> int:
        """Send what the system takes now, nearly always all of it; return how many bytes that is.

        All of them when the connection broke: what is read from it tells more.
        """
        if len(request) > WRITE_SIZE:
            return 0
        try:
            taken = self._stream.send_nowait(request)
        except (OSError, trio.ClosedResourceError):
            return len(request)
        self.is_sent = taken == len(request)
        return taken

    async def _send(self, parts: Iterable[bytes | Blocks]) -> None:
        """Send the request; when the connection breaks, what is read from it tells more."""
        try:
            for part in parts:
                if isinstance(part, bytes):
                    await self._send_part(part)
                    continue
                while block := await self._next_block(part):
                    await self._send_part(block)
        except (OSError, trio.ClosedResourceError):
            return
        self.is_sent = True

    async def _send_part(self, part: bytes) -> None:
        taken = self._stream.send_nowait(part) if len(part) <= WRITE_SIZE else 0
        while taken < len(part):
            await self._stream.wait_writable()
            self._moved()
            taken += self._stream.send_nowait(memoryview(part)[taken : taken + WRITE_SIZE])

    async def _next_block(self, blocks: Blocks) -> bytes:
        try:
            return await blocks.next_block()
        except OSError as error:
            self.fail(error)  # the request cannot be completed, and no answer comes
            raise


def _chain(request: bytes, rest: Iterable[bytes | Blocks]) -> Iterable[bytes | Blocks]:
    yield request
    yield from rest
