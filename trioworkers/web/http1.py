"""Hypercorn's HTTP/1.1, with the edges of it that are ours.

Requests that :mod:`trioworkers.web.heads` refuses are answered 400 here. There is no HTTP/2: an upgrade to
it is ignored, as RFC 9110 7.8 lets a server do, and the request is answered. Hypercorn's tasks for it go on
when the peer is gone, and neither Telegram nor a proxy needs it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h11
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.protocol.ws_stream import FrameTooLargeError, WebsocketBuffer, WSStream
from hypercorn.trio.tcp_server import TCPServer

from trioworkers.web.heads import StrictConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LINGER, LINGER_BYTES = 1.0, 256 * 1024  # seconds and bytes: of what comes behind a refused request
LARGEST_MESSAGE = 2**20  # bytes of a websocket message, which are kept until it is whole
_REFUSED = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"connection", b"close"),
)


class MessageTooLargeError(Exception):
    """A peer sent too large a websocket message."""


class Server(TCPServer):
    """Hypercorn's connection, for HTTP/1.1 alone.

    Attributes:
        sending: seconds for a peer to take in what is sent at once.
    """

    sending: float

    @property
    def protocol(self) -> Any:
        return self._http1

    @protocol.setter
    def protocol(self, wrapper: Any) -> None:
        self._http1 = _Http1(
            wrapper.app,
            wrapper.config,
            wrapper.context,
            wrapper.task_group,
            wrapper.state,
            wrapper.ssl,
            wrapper.client,
            wrapper.server,
            wrapper.send,
        )
        self._http1.linger = self.linger

    async def protocol_send(self, event: Event) -> None:
        """Send what there is, or end the connection, in time and whole; at a request's end hypercorn sends
        nothing, which costs as much.

        Shielded: Quart cancels who answers as soon as the answer is complete, and then a connection whose
        request had more to come would neither go on nor end.
        """
        if isinstance(event, Updated):
            await super().protocol_send(event)
        elif not isinstance(event, RawData) or event.data:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self.sending) as scope:
                if isinstance(event, RawData):
                    await self.write(event.data)  # hypercorn's has a shield that no deadline gets through
                else:
                    await super().protocol_send(event)
            if scope.cancelled_caught:
                self.idle_task.sever()  # type: ignore[attr-defined]  # the _Connection that stands there

    async def write(self, data: bytes) -> None:
        """Write all of it, after what others write; when the peer is gone, the connection ends."""
        try:
            async with self.send_lock:
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            await self.protocol.handle(Closed())  # busy: another task ends it, outside of the lock

    async def linger(self) -> None:
        """Take in a little of what comes behind a refused request.

        Otherwise the kernel would reset the connection, and its peer would find that instead of the answer.
        """
        gone = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)  # or just going
        with suppress(*gone), trio.move_on_after(LINGER):
            if isinstance(self.stream, trio.SocketStream):
                await self.stream.send_eof()
            left = LINGER_BYTES
            while left > 0 and (data := await self.stream.receive_some()):
                left -= len(data)


class _Http1(H11Protocol):
    """Hypercorn's HTTP/1.1, whose answers say so when the connection ends with them.

    Attributes:
        linger: called after the answer to a request that cannot be read.
    """

    linger: Callable[[], Awaitable[None]]

    def __init__(self, app: Any, config: Any, *others: Any) -> None:
        super().__init__(app, config, *others)
        self._strict = StrictConnection(config.h11_max_incomplete_size)
        self.connection = self._strict

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore that a client would speak HTTP/2."""

    async def _create_stream(self, request: h11.Request) -> None:
        await super()._create_stream(request)
        if isinstance(self.stream, WSStream):
            self.stream.buffer = _Message(LARGEST_MESSAGE)

    async def _handle_events(self) -> None:
        connection, stream = self.connection, self.stream
        if (
            isinstance(connection, H11WSConnection)
            and isinstance(stream, WSStream)
            and not stream.handshake.accepted
        ):
            await self._refuse_early_message(connection.buffer)
        else:
            await super()._handle_events()

    async def _refuse_early_message(self, buffer: bytearray) -> None:
        """End a websocket whose client sends something before it is answered; who answers it hears so.

        Hypercorn answers 400 at any time, also after another answer, and then neither ends the connection
        nor lets the application know.
        """
        if not buffer:
            return
        buffer.clear()
        if self._strict.our_state is h11.SEND_RESPONSE:
            self._strict.refusal = "expected nothing before the handshake is answered"
            await self._close_stream()  # first: from now on the application answers nothing
            await self._send_error_response(400)
            await self.send(Closed())

    async def _send_error_response(self, status_code: int) -> None:
        """Answer a request that cannot be read.

        A transfer coding other than chunked is a fault of the request, too, not of the server (501): nobody
        may ask us for one, RFC 9112 6.1 leaves the status to us, and monitors take 5xx for an alarm.
        """
        status = 400 if status_code >= 500 else status_code
        content = json.dumps({"error": self._strict.refusal}).encode()
        headers = [(b"content-length", str(len(content)).encode()), *_REFUSED]
        send = self._strict.send
        answer = send(h11.Response(status_code=status, headers=headers))
        if not self._strict.asks_head:
            answer += send(h11.Data(data=content))
        await self.send(RawData(answer + send(h11.EndOfMessage())))
        await self.linger()

    async def stream_send(self, event: StreamEvent) -> None:
        """An answer to a request that is not whole ends the connection: who does not know that would ask
        the next thing there, and find it gone."""
        if isinstance(event, Response) and self.connection.their_state is h11.SEND_BODY:
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)


class _Message(WebsocketBuffer):
    """A websocket message as far as it is here. One that is too large ends the connection.

    Hypercorn sends a close frame then, and keeps whatever a peer goes on to send.
    """

    def extend(self, event: Any) -> None:
        """Append a part.

        Raises:
            MessageTooLargeError: it has more than `LARGEST_MESSAGE` bytes.
        """
        try:
            super().extend(event)
        except FrameTooLargeError:
            raise MessageTooLargeError from None
