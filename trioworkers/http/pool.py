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
from typing import TYPE_CHECKING

import httpx
import trio

from trioworkers.http.lateness import lateness
from trioworkers.http.response import ResponseReader
from trioworkers.http.stream import Stream, connect

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from trioworkers.http.response import Response

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
        # a number and who waits: trio's limiter, which knows who holds what, takes ten times as long
        self._free = connections
        self._waiting = trio.lowlevel.ParkingLot()
        self._idle: list[_PooledConnection] = []

    async def exchange(self, request: bytes, limits: ExchangeLimits, rest: Iterable[bytes] = ()) -> Response:
        """Send a request, then the `rest` of it, if that is long; return the whole response.

        Cancelled, or failed, it closes its connection. Waiting for one of the connections is not limited.

        Raises:
            httpx.TransportError: there is no response; the message names nothing of the request.
        """
        if self._free:
            self._free -= 1
        else:
            await self._waiting.park()  # for one that is handed over
        try:
            connection = self._take_idle() or await self._connect(limits.connect)
            is_kept = False
            try:
                exchange = _Exchange(connection, limits)
                response = await exchange.run(request, rest)
                is_kept = exchange.is_sent and not response.is_last
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
            return _PooledConnection(await connect(self._host, self._port, self._tls))
        raise httpx.ConnectTimeout(f"cannot connect to {self._host}:{self._port}: timed out")


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

    def __init__(self, connection: _PooledConnection, limits: ExchangeLimits) -> None:
        self.is_sent = False
        self._stream = connection.stream
        self._reader = connection.reader
        self._reader.begin(limits.body)
        now = trio.current_time()
        self._silence = limits.silence
        self._ends = now + limits.total
        self.deadline = min(self._ends, now + self._silence)
        self._over: Exception | None = None  # why nothing more is waited for

    async def run(self, request: bytes, rest: Iterable[bytes]) -> Response:
        watch = lateness()
        watch.begin(self)
        try:
            if rest:
                return await self._receive_while_sending(request, rest)
            await self._send([request])
            return await self._receive()
        except (OSError, trio.ClosedResourceError):
            if self._over is not None:
                raise self._over from None
            raise httpx.ReadError("the connection broke") from None
        finally:
            watch.end(self)

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
            if response is not None:
                return response
            self._moved()
        raise trio.ClosedResourceError

    async def _receive_while_sending(self, request: bytes, rest: Iterable[bytes]) -> Response:
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

    async def _send(self, parts: Iterable[bytes]) -> None:
        """Send the request; when the connection breaks, what is read from it tells more."""
        try:
            for part in parts:
                taken = self._stream.send_nowait(part) if len(part) <= WRITE_SIZE else 0
                while taken < len(part):
                    await self._stream.wait_writable()
                    self._moved()
                    taken += self._stream.send_nowait(memoryview(part)[taken : taken + WRITE_SIZE])
        except (OSError, trio.ClosedResourceError):
            return
        self.is_sent = True


def _chain(request: bytes, rest: Iterable[bytes]) -> Iterable[bytes]:
    yield request
    yield from rest
