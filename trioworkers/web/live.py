"""`/api/live`: the live stream over a websocket.

Quart and hypercorn make the connection a websocket and answer its pings. What is sent is not made by them:
the frames are the feed's, and the same bytes are written to all clients.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import trio
from pydantic import Field
from quart import Blueprint, websocket

from trioworkers.events import LEVELS
from trioworkers.live.feed import FeedFullError
from trioworkers.live.frames import GOING_AWAY, NOT_ACCEPTED, PING, TRY_AGAIN, close_frame
from trioworkers.live.ring import CHANGE, Wants
from trioworkers.web.asked import Asked, read_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quart.wrappers.base import BaseRequestWebsocket

    from trioworkers.live.feed import Client, LiveFeed
    from trioworkers.web.connections import Wire

UNANSWERED = 60_000  # milliseconds after which a peer that does not confirm what it was sent is gone
KERNEL = 128 * 1024  # bytes that the kernel keeps for a peer that does not read, at most twice
FAREWELL = 0.5  # seconds at a stop for a client to take in the last messages


@dataclass(frozen=True, slots=True)
class Every:
    """How often clients are looked after, in seconds.

    Attributes:
        ping: a client that was sent nothing else meanwhile is pinged.
        admit: from one check that a client is still admitted to the next.
    """

    ping: float = 20.0
    admit: float = 2.0


class AskedStream(Asked):
    """The query of `/api/live`."""

    since: int | None = Field(
        default=None, ge=0, le=2**63 - 1, description="the seq of the last message that you have"
    )
    events: Literal["debug", "info", "warn", "error", "none"] = Field(
        default="info", description="debug, info, warn, error or none"
    )
    bots: str | None = Field(
        default=None, max_length=10_000, description="names of bots, with commas between"
    )

    @property
    def wants(self) -> Wants:
        """What the client is sent."""
        bots = None if self.bots is None else frozenset(self.bots.split(","))
        return Wants(CHANGE if self.events == "none" else LEVELS[self.events], bots)


def live_routes(
    feed: LiveFeed, still_admits: Callable[[BaseRequestWebsocket], Awaitable[bool]], every: Every
) -> Blueprint:
    """The websocket `/api/live`.

    `still_admits`: whether a client's token or session has not ended meanwhile.
    """
    routes = Blueprint("live", __name__)

    @routes.websocket("/api/live")
    async def live() -> None:
        asked = read_query(AskedStream)
        wire: Wire = websocket.scope["state"]["wire"]
        asking: BaseRequestWebsocket = websocket._get_current_object()  # type: ignore[attr-defined]  # a proxy
        _bound(wire.socket)
        await websocket.accept()
        try:
            with feed.client(asked.wants, asked.since) as client:
                await _stream(wire, client, feed.over, lambda: still_admits(asking), every)
        except FeedFullError as error:
            await websocket.close(TRY_AGAIN, str(error))

    return routes


async def _stream(
    wire: Wire,
    client: Client,
    over: trio.Event,
    is_admitted: Callable[[], Awaitable[bool]],
    every: Every,
) -> None:
    """Send the feed's messages until it is over, the client sends a message, or it is not admitted any more.

    The connection ends with it.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_unadmitted, wire, is_admitted, every.admit)
        nursery.start_soon(_refuse_messages, wire)
        nursery.start_soon(_cut_late, wire, over)
        while True:
            frames: bytes | None = PING
            with trio.move_on_after(every.ping):
                try:
                    frames = await client.next()
                except trio.EndOfChannel:
                    frames = None
            if frames is None:
                break
            await wire.send(frames)
        await wire.send(close_frame(GOING_AWAY, "the daemon stops"), within=FAREWELL)
        wire.sever()


async def _refuse_messages(wire: Wire) -> None:
    await websocket.receive()
    await wire.send(close_frame(NOT_ACCEPTED, "this stream takes no messages"), within=FAREWELL)
    wire.sever()


async def _end_unadmitted(wire: Wire, is_admitted: Callable[[], Awaitable[bool]], every: float) -> None:
    """End the stream of a client that has signed out, or whose token was changed."""
    while True:
        await trio.sleep(every)
        if not await is_admitted():
            break
    await wire.send(close_frame(NOT_ACCEPTED, "the session or the token has ended"), within=FAREWELL)
    wire.sever()


async def _cut_late(wire: Wire, over: trio.Event) -> None:
    """End the connection of a client that does not take in the end of the stream."""
    await over.wait()
    await trio.sleep(FAREWELL)
    wire.sever()


def _bound(connection: Any) -> None:
    """Bound what the kernel keeps for the peer, and how long for one that is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL)
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED)
