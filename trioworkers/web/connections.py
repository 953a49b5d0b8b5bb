"""Hypercorn on connections that are accepted, counted and ended here.

Hypercorn's own server has no bound on connections, starts and cancels a task for each request to notice
idle ones, and ends altogether when a peer's bytes make one of its protocols raise. So each connection gets
hypercorn's protocol (`TCPServer`), and what is around it is ours: one timer for all idle connections, a
bound that ends the idlest, an edge at which an error ends one connection only.
"""

from __future__ import annotations

import logging
import resource
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import wrap_app

from trioworkers.web.http1 import Server

if TYPE_CHECKING:
    import ssl

App = Callable[..., Awaitable[Any]]
GRACE = 3.0  # seconds that requests under way have at a stop
ARRIVAL = 0.5  # seconds in which a new connection may send its first request, also during a stop


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one listener allows.

    Attributes:
        connections: at once; a newcomer beyond it ends the one that has been idle longest. Half of the
            process's open files at most.
        idle: seconds from an answer, or the connection's start, to the end of the next request's head.
        head: bytes of a request's line and headers, or as much as one read brings (64 KiB).
        handshake: seconds for a TLS handshake.
        sending: seconds for a peer to take in one part of an answer; who does not is cut off, or whoever
            asks and never reads would keep its place for ever.
    """

    connections: int = 2000
    idle: float = 75.0
    head: int = 16 * 1024
    handshake: float = 10.0
    sending: float = 30.0


class Wire(Protocol):
    """A connection as a route sees it that writes frames of its own: `scope["state"]["wire"]`."""

    @property
    def socket(self) -> Any:
        """The socket."""

    async def send(self, data: bytes, within: float | None = None) -> None:
        """Write all of it, or sever the connection after so many seconds; None: as the listener allows.

        Cancelled, part of it may be written: then only the end of the connection may follow.
        """

    def sever(self) -> None:
        """End the connection, and whoever works for it. What was written is still sent."""


class Connections:
    """The connections of one listener, or several that serve the same application.

    Attributes:
        accepted: how many there were.
        evicted: how many were ended since a newcomer needed their place.
        broken: how many ended with an error of hypercorn's protocols.
    """

    def __init__(self, app: App, *, bounds: Bounds, tls: Callable[[], ssl.SSLContext] | None = None) -> None:
        """`tls`: gives the context for a new connection; None serves plain HTTP."""
        self.accepted = self.evicted = self.broken = 0
        self._app: Any = wrap_app(app, 0, "asgi")
        self._bounds = bounds
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = (
            bounds.connections if files == resource.RLIM_INFINITY else min(bounds.connections, files // 2)
        )
        self._tls = tls
        self._config = _configure(bounds)
        self._context = WorkerContext(None)
        self._open: set[_Connection] = set()
        self._idle: dict[_Connection, float] = {}  # since when, the longest first
        self._room: trio.Event | None = None  # somebody waits for it

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._open)

    async def serve(
        self,
        listeners: Sequence[socket.socket],
        stop: trio.Event,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on `listeners`, and close them, until `stop`; then end what is under way within `GRACE`.

        What was not yet accepted at the stop stays with the listening sockets, for whoever else holds them.
        A connection accepted less than `ARRIVAL` seconds before the stop may still send its request.
        Cancelling it cuts requests off: hypercorn shields what it sends, so that a peer that does not read
        would hold it up for ever, and only the end of the connection reaches it. The application is not
        started up and shut down here: it may be served by several of these, one after the other, too.
        """
        async with trio.open_nursery() as severing:
            severing.start_soon(self._sever_at_end)
            async with trio.open_nursery() as serving:
                await self._accept(listeners, stop, serving, task_status)
                severing.cancel_scope.deadline = trio.current_time() + GRACE
                await self._context.terminated.set()
                await self._end_idle_at_stop()
            severing.cancel_scope.cancel()

    async def _accept(
        self,
        listeners: Sequence[socket.socket],
        stop: trio.Event,
        serving: trio.Nursery,
        task_status: trio.TaskStatus[None],
    ) -> None:
        bounded = []
        for listener in listeners:
            listener.setblocking(False)
            bounded.append(_Bounded(trio.SocketListener(trio.socket.from_stdlib_socket(listener)), self))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_idle)
            await nursery.start(_listen, self._serve_one, bounded, serving)
            task_status.started()
            await stop.wait()
            nursery.cancel_scope.cancel()

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        connection = _Connection(stream, self._idle, self._emit_room)
        self.accepted += 1
        self._open.add(connection)
        self._idle[connection] = trio.current_time()
        try:
            server = Server(self._app, self._config, self._context, {"wire": connection}, self._wrap(stream))
            connection.server = server
            server.idle_task = connection  # type: ignore[assignment]  # its SingleTask in all but name
            server.sending = self._bounds.sending
            with connection.scope:
                await server
        except* Exception:  # whatever a peer's bytes made of hypercorn's parsers; a detail may quote them
            self.broken += 1
        finally:
            self._idle.pop(connection, None)
            self._open.discard(connection)
            self._emit_room()

    def _wrap(self, stream: trio.SocketStream) -> Any:
        if self._tls is None:
            return stream
        return trio.SSLStream(stream, self._tls(), server_side=True, https_compatible=True)

    async def wait_room(self) -> None:
        """Return when one more connection may be; an idle one is ended for it, if there is one."""
        while len(self._open) >= self._most:
            connection = next(iter(self._idle), None)
            if connection is not None:
                self.evicted += 1
                del self._idle[connection]
                self._open.discard(connection)
                connection.sever()
            else:
                self._room = self._room or trio.Event()
                await self._room.wait()

    def _emit_room(self) -> None:
        """A connection has ended or become idle."""
        if self._room is not None:
            self._room.set()
            self._room = None

    async def _end_idle(self) -> None:
        while True:
            connection, since = next(iter(self._idle.items()), (None, trio.current_time()))
            wait = since + self._bounds.idle - trio.current_time()
            if connection is None or wait > 0:
                await trio.sleep(wait)
            else:
                del self._idle[connection]
                connection.sever()

    async def _end_idle_at_stop(self) -> None:
        newcomers = []
        for connection, since in [*self._idle.items()]:
            if connection.has_asked:
                connection.sever()
            else:
                newcomers.append((connection, since))
        for connection, since in newcomers:
            await trio.sleep_until(since + ARRIVAL)
            if connection in self._idle:
                connection.sever()

    async def _sever_at_end(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            for connection in self._open:
                connection.sever()


class _Connection:
    """Stands where hypercorn has the task that ends an idle connection, and notes since when it is idle."""

    def __init__(
        self, stream: trio.SocketStream, idle: dict[_Connection, float], emit_room: Callable[[], None]
    ) -> None:
        self.scope = trio.CancelScope()
        self.server: Server | None = None
        self.has_asked = False
        self._stream = stream
        self._idle = idle
        self._emit_room = emit_room

    @property
    def socket(self) -> trio.socket.SocketType:
        """As :class:`Wire`."""
        return self._stream.socket

    async def send(self, data: bytes, within: float | None = None) -> None:
        """As :class:`Wire`."""
        server = self.server
        assert server is not None  # noqa: S101 - for mypy; a request came over it
        with trio.move_on_after(server.sending if within is None else within) as scope:
            await server.write(data)
        if scope.cancelled_caught:
            self.sever()

    async def restart(self, _task_group: object, _action: object) -> None:
        """It waits for a request's head from now on (hypercorn's call)."""
        self._idle.pop(self, None)
        self._idle[self] = trio.current_time()
        self._emit_room()

    async def stop(self) -> None:
        """It has one (hypercorn's call)."""
        self.has_asked = True
        self._idle.pop(self, None)

    def sever(self) -> None:
        """End it, from below too: what hypercorn shields finds it closed."""
        self.scope.cancel()
        with suppress(OSError):
            self._stream.socket.shutdown(socket.SHUT_RDWR)


class _Bounded(trio.abc.Listener[trio.SocketStream]):
    """Makes room for who is coming, and accepts then: until there is room the kernel keeps who comes."""

    def __init__(self, inner: trio.SocketListener, connections: Connections) -> None:
        self._inner = inner
        self._connections = connections

    async def accept(self) -> trio.SocketStream:
        await trio.lowlevel.wait_readable(self._inner.socket)
        await self._connections.wait_room()
        return await self._inner.accept()

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _listen(
    handler: Callable[[trio.SocketStream], Awaitable[object]],
    listeners: list[_Bounded],
    serving: trio.Nursery,
    *,
    task_status: trio.TaskStatus[Any],
) -> None:
    await trio.serve_listeners(handler, listeners, handler_nursery=serving, task_status=task_status)


def _configure(bounds: Bounds) -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.shutdown_timeout = GRACE
    config.ssl_handshake_timeout = bounds.handshake
    config.h11_max_incomplete_size = bounds.head
    config.keep_alive_max_requests = 1_000_000_000
    config.include_server_header = False
    config.include_date_header = False
    return config
