"""The webhook listener: deliveries pass a thin ASGI layer, everything else is Quart's.

`POST /webhook/<bot>` touches neither routes nor request objects: with them a delivery costs half as
much again. A body is read only for whoever knows the bot's secret, so that strangers fill no memory. No
body is logged, and nothing of one is answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import trio
from quart import request

from trioworkers.shortage import NoThreadError
from trioworkers.transport.deliveries import judge
from trioworkers.transport.senders import is_telegram
from trioworkers.web.bare import bare_app
from trioworkers.web.packed import ENCODINGS, PackedError, TooLargeError, unpack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from quart.wrappers.base import BaseRequestWebsocket
    from quart_trio import QuartTrio

    from trioworkers.ip import IPNetwork
    from trioworkers.transport.deliveries import Deliveries, WebhookEndpoint
    from trioworkers.web.admission import Answer

    Refusal = Callable[[BaseRequestWebsocket], Awaitable[Answer | None]]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

PREFIX = "/webhook/"
STATS = "/webhook/stats"
LINGER_BYTES = 256 * 1024  # of a refused body, so that its sender hears of it
RETRY_AFTER = b"5"  # seconds; Telegram honours it
_SECRET = b"x-telegram-bot-api-secret-token"
_EMPTY = (b"content-length", b"0")


class ListenerSettings(Protocol):
    """What is read anew for each delivery, so that changes apply at once."""

    @property
    def max_body(self) -> int: ...
    @property
    def telegram_ips_only(self) -> bool: ...
    @property
    def trusted_proxies(self) -> Sequence[IPNetwork]: ...


@dataclass(frozen=True, slots=True)
class BodyTimes:
    """For how long a body is waited for, in seconds.

    Attributes:
        whole: from its first byte to its last.
        refused: where it is refused, so that its sender hears of it.
    """

    whole: float = 30.0
    refused: float = 1.0


@dataclass(slots=True)
class _Head:
    """What a delivery's headers say."""

    secret: bytes = b""
    length: int = 0
    encoding: bytes = b""
    forwarded_for: str = ""


class WebhookApp:
    """The ASGI application of the `[webhook]` address.

    Args:
        deliveries: where deliveries go.
        settings: the settings in force.
        refusal: the answer to who may not see `GET /webhook/stats`, or None.
        connections: how many connections there are, for the stats.
        times: for how long bodies are waited for.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        settings: Callable[[], ListenerSettings],
        refusal: Refusal,
        connections: Callable[[], dict[str, int]] = dict,
        times: BodyTimes = BodyTimes(),
    ) -> None:
        self._deliveries = deliveries
        self._times = times
        self._settings = settings
        self._rest: Any = _make_rest(deliveries, refusal, connections)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            path: str = scope["path"]
            if path.startswith(PREFIX) and (path != STATS or scope["method"] == "POST"):
                await self._deliver(path[len(PREFIX) :], scope, receive, send)
                return
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        await self._rest(scope, receive, send)

    async def _deliver(self, name: str, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        endpoint = self._deliveries.endpoint(name)
        settings = self._settings()
        head = _read_head(scope["headers"])
        status = self._judge(endpoint, head, scope, settings)
        body = bytearray()
        ended = False
        if status == 200:
            with trio.move_on_after(self._times.whole):
                while not ended and len(body) <= settings.max_body:
                    message = await receive()
                    if message["type"] != "http.request":
                        return  # the connection ended before the body did
                    body += message["body"]
                    ended = not message["more_body"]
            if len(body) > settings.max_body:
                status = 413
            elif not ended:
                status = 408
        content = bytes(body)
        if status == 200 and ENCODINGS[head.encoding]:
            try:
                content = await unpack(content, settings.max_body)
            except PackedError:
                status = 400
            except TooLargeError:
                status = 413
            except NoThreadError:  # Telegram sends it again
                status = 503
        if status == 200 and endpoint is not None:
            status = await self._deliveries.take(endpoint, content)
        else:
            self._deliveries.refuse(endpoint, status)
        if ended:
            await _answer(send, status)
        else:
            await _answer_early(receive, send, status, self._times.refused)

    def _judge(
        self, endpoint: WebhookEndpoint | None, head: _Head, scope: dict[str, Any], settings: ListenerSettings
    ) -> int:
        """The status of a delivery by its head: 200 when its body may be read."""
        if scope["method"] != "POST":
            return 405
        if settings.telegram_ips_only:
            client = scope["client"]
            peer = client[0] if client else None
            if not is_telegram(peer, head.forwarded_for, settings.trusted_proxies):
                return 403
        status = judge(endpoint, head.secret)
        if status == 200 and head.encoding not in ENCODINGS:
            return 415
        return 413 if status == 200 and head.length > settings.max_body else status


def _read_head(headers: Sequence[tuple[bytes, bytes]]) -> _Head:
    head = _Head()
    for name, value in headers:
        if name == _SECRET:
            head.secret = value
        elif name == b"content-length":
            head.length = int(value)  # hypercorn has seen that it is one
        elif name == b"content-encoding":
            head.encoding = b"," if head.encoding else value.lower()  # of two, which are not known together
        elif name == b"x-forwarded-for":
            head.forwarded_for += (
                f",{value.decode('latin-1')}" if head.forwarded_for else value.decode("latin-1")
            )
    return head


async def _answer(send: Send, status: int) -> None:
    headers = [_EMPTY]
    if status == 503:
        headers.append((b"retry-after", RETRY_AFTER))
    elif status == 415:
        headers.append((b"accept-encoding", b"gzip"))
    elif status == 405:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _answer_early(receive: Receive, send: Send, status: int, linger: float) -> None:
    """Answer a request whose body was not read: take in a little of it, or its sender would find the
    connection reset instead of an answer; then hypercorn closes the connection."""
    complete: bool | None = False
    with trio.move_on_after(linger):
        complete = await _drain(receive, LINGER_BYTES)
    if complete is None:
        return
    if complete:
        await _answer(send, status)
        return
    async with trio.open_nursery() as nursery:
        # hypercorn tells the end through the same bounded queue: nobody reading it would block its sender
        nursery.start_soon(_drain, receive, float("inf"))
        await _answer(send, status)
        nursery.cancel_scope.cancel()


async def _drain(receive: Receive, limit: float) -> bool | None:
    """Take in up to so many bytes of a body; whether that was all of it, None when the connection ended."""
    while limit > 0:
        message = await receive()
        if message["type"] != "http.request":
            return None
        if not message["more_body"]:
            return True
        limit -= len(message["body"])
    return False


def _make_rest(
    deliveries: Deliveries, refusal: Refusal, connections: Callable[[], dict[str, int]]
) -> QuartTrio:
    app = bare_app(64 * 1024)

    @app.get(STATS)
    async def stats() -> dict[str, Any] | Answer:
        refused = await refusal(request)
        if refused is not None:
            return refused
        return {
            "connections": connections(),
            "refused": dict(deliveries.refused),
            "bots": {name: endpoint.traffic.document() for name, endpoint in deliveries.endpoints()},
        }

    return app
