"""A source of rows for tests of the live stream, and a listener that serves a feed."""

from __future__ import annotations

import json
import socket
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import trio
from admitting import admission_for
from trio_websocket import wrap_client_stream

from trioworkers.events import Events
from trioworkers.live.feed import LiveFeed
from trioworkers.web.app import AppContext, make_app
from trioworkers.web.connections import Bounds, Connections
from trioworkers.web.live import Every

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trio_websocket import WebSocketConnection


TOKEN = "right"
BEARER = [(b"Authorization", b"Bearer right")]


class Rows:
    """Rows as a test sets them; `built` counts how often each was built."""

    def __init__(self, *names: str) -> None:
        self.touched: set[str] = set()
        self.fleet: dict[str, Any] = {"name": "fleet", "uptime_ms": 0, "state": "running"}
        self.rows: dict[str, dict[str, Any]] = {
            name: {"bot": name, "state": "running", "messages": 0} for name in names
        }
        self.built: dict[str, int] = {}

    def head(self) -> dict[str, Any]:
        return dict(self.fleet)

    def names(self) -> Sequence[str]:
        return list(self.rows)

    def row(self, name: str) -> dict[str, Any] | None:
        self.built[name] = self.built.get(name, 0) + 1
        row = self.rows.get(name)
        return None if row is None else dict(row)

    def set(self, bot: str, **fields: Any) -> None:
        """Change a row as the daemon does: touched."""
        self.rows[bot] = {**self.rows.get(bot, {"bot": bot}), **fields}
        self.touched.add(bot)

    def remove(self, bot: str) -> None:
        del self.rows[bot]
        self.touched.add(bot)


class Served:
    """A feed behind a real listener on loopback."""

    def __init__(self, rows: Rows, live_every: Every = Every(), **options: Any) -> None:  # noqa: B008 - frozen
        self.rows = rows
        self.events = Events()
        self.feed = LiveFeed(self.events, rows, **{"every": 0.02, **options})
        nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(AppContext))
        self.token = TOKEN
        self.admission = admission_for(lambda: self.token)
        context = {
            "admission": self.admission,
            "events": self.events,
            "live": self.feed,
            "live_every": live_every,
        }
        self.app = make_app(AppContext(**{**nothing, **context}))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.stop = trio.Event()
        self.connections = Connections(self.app, bounds=Bounds())

    def sever(self) -> None:
        """Cut all connections off, as a network does."""
        for connection in list(self.connections._open):
            connection.sever()

    @asynccontextmanager
    async def client(self, query: str = "") -> AsyncIterator[Stream]:
        # trio-websocket leaves the socket open when the server has closed the websocket
        peer = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with peer, trio.open_nursery() as nursery:
            connection = await wrap_client_stream(
                nursery, peer, "localhost", f"/api/live{query}", extra_headers=BEARER, max_message_size=2**26
            )
            yield Stream(connection)
            await connection.aclose()
            nursery.cancel_scope.cancel()


class Stream:
    """The messages of one client."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection

    async def get(self) -> dict[str, Any]:
        """The next message."""
        with trio.fail_after(20):
            message: dict[str, Any] = json.loads(await self.connection.get_message())
        return message

    async def find(self, **fields: Any) -> dict[str, Any]:
        """The next message that has these fields."""
        while True:
            message = await self.get()
            if fields.items() <= message.items():
                return message


@asynccontextmanager
async def serving(rows: Rows, **options: Any) -> AsyncIterator[Served]:
    """Serve a feed over these rows."""
    served = Served(rows, **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.feed.serve)
        await nursery.start(served.connections.serve, [served.listener], served.stop)
        try:
            yield served
        finally:
            served.feed.close()
            served.stop.set()


def upgrade(path: str, *headers: tuple[bytes, bytes]) -> bytes:
    """A handshake as bytes."""
    head = [
        f"GET {path} HTTP/1.1".encode(), b"Host: localhost", b"Upgrade: websocket", b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]  # fmt: skip
    return b"\r\n".join([*head, *(name + b": " + value for name, value in headers), b"", b""])
