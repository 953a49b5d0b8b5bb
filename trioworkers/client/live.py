"""The live stream of a daemon, over its restarts and lost connections.

trio-websocket leaves its socket open when the server has closed the websocket, so the socket is opened and
closed here. Its reader is a task of each connection, and so is what copies its messages to the caller.
"""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError, wrap_client_stream

from trioworkers.client.errors import BackOff, LiveRefusedError, LostError
from trioworkers.client.target import Target, parse_target

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable
    from os import PathLike

    from trio_websocket import WebSocketConnection

HANDSHAKE = 10.0  # seconds to connect
LARGEST = 2**28  # bytes of a message; a bot takes about 600 of a snapshot
READ = 2**16  # bytes that are read at once
FOR_NOW = frozenset({408, 425, 429})  # statuses that say nothing of the next attempt
NORMAL = 1000  # RFC 6455, section 7.4.1


@asynccontextmanager
async def live(
    target: str | PathLike[str],
    *,
    token: str | None = None,
    events: str = "info",
    bots: Iterable[str] | None = None,
    since: int | None = None,
    reconnect: bool = True,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[LiveStream]:
    """Open the live stream of a daemon, and keep it open whatever becomes of the connection.

    The stream is an asynchronous iterator of messages, as dictionaries. They are those that the daemon sends,
    and two of the client's own: `{"type": "online"}` before the first message of each connection, and
    `{"type": "offline", "reason": …, "retry_in": seconds}` when there is none any more. The connection is
    made anew then, and resumed after the last message: what was missed comes, or a snapshot.

    Args:
        target: a URL, such as `http://127.0.0.1:3001`, or the path of a control socket.
        token: the API's token; a control socket asks for none.
        events: the least level of events: `debug`, `info`, `warn`, `error`, or `none`.
        bots: names of bots; None: all.
        since: the `seq` of the last message that an earlier stream had; None: begin with a snapshot.
        reconnect: whether to connect again; if not, the stream ends when the connection does.
        ssl_context: for https; None: the system's certificates.

    Raises:
        ValueError: the target is not a URL of a daemon.
        LiveRefusedError: raised by the stream: the token is wrong, say.
    """
    query = {"events": events}
    if bots is not None:
        query["bots"] = ",".join(bots)
    stream = LiveStream(parse_target(target), query, token, since, reconnect, ssl_context)
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream._serve)
        try:
            yield stream
        except Exception as error:  # the caller's own: that there is a nursery is not its concern
            raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


class LiveStream:
    """Messages of a daemon; made by :func:`live`. An asynchronous iterator, for one task.

    Attributes:
        since: the `seq` of the last message that was taken, to resume from; None before the first.
    """

    def __init__(
        self,
        target: Target,
        query: dict[str, str],
        token: str | None,
        since: int | None,
        reconnect: bool,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.since = since
        self._target = target
        self._query = query
        self._token = token
        self._reconnect = reconnect
        self._ssl_context = ssl_context
        self._back_off = BackOff(random.Random())  # noqa: S311 - jitter
        self._refusal: LiveRefusedError | None = None
        # nothing waits here: a caller that is slow is waited for, and the daemon merges
        self._put, self._messages = trio.open_memory_channel[dict[str, Any]](0)

    def __aiter__(self) -> LiveStream:
        return self

    async def __anext__(self) -> dict[str, Any]:
        """The next message.

        Raises:
            LiveRefusedError: the daemon does not serve the stream to this client.
            StopAsyncIteration: the connection has ended, and no other is made.
        """
        try:
            message = await self._messages.receive()
        except trio.EndOfChannel:
            if self._refusal is not None:
                raise self._refusal from None
            raise StopAsyncIteration from None
        seq = message.get("seq")
        if isinstance(seq, int):
            self.since = seq
        return message

    async def _serve(self) -> None:
        """Connect, again and again."""
        async with self._put:
            while True:
                try:
                    await self._connect()
                except LiveRefusedError as refusal:
                    self._refusal = refusal
                    return
                except LostError as lost:
                    reason = str(lost)
                if not self._reconnect:
                    await self._put.send({"type": "offline", "reason": reason, "retry_in": None})
                    return
                pause = self._back_off.next()
                await self._put.send({"type": "offline", "reason": reason, "retry_in": round(pause, 3)})
                await trio.sleep(pause)

    async def _connect(self) -> None:
        """Hand on the messages of one connection until it ends.

        Raises:
            LostError: it has ended, or there was none.
            LiveRefusedError: the daemon does not want it.
        """
        lost = LostError("the connection was lost")
        refusal: LiveRefusedError | None = None
        try:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(HANDSHAKE):
                    stream = await self._target.connect(self._ssl_context)
                async with stream:
                    await self._receive(stream, nursery)
        except* ConnectionRejected as group:
            refused = _first(group)
            refusal = _refusal(refused)
            lost = LostError(f"the daemon answers HTTP {refused.status_code}")
        except* ConnectionClosed as group:
            lost = LostError(_reason(_first(group)))
        except* trio.TooSlowError:
            lost = LostError(f"{self._target} does not answer")
        except* PermissionError:
            refusal = LiveRefusedError(403, f"{self._target} belongs to another user")
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, HandshakeError):
            lost = LostError(f"nobody answers on {self._target}")
        except* msgspec.DecodeError:
            lost = LostError("the daemon sent something that is not a message")
        raise refusal or lost

    async def _receive(self, stream: Any, nursery: trio.Nursery) -> None:
        query = self._query if self.since is None else {**self._query, "since": str(self.since)}
        headers = [] if self._token is None else [(b"Authorization", f"Bearer {self._token}".encode())]
        with trio.fail_after(HANDSHAKE):
            connection = await wrap_client_stream(
                nursery,
                stream,
                self._target.authority,
                f"{self._target.prefix}/api/live?{urlencode(query)}",
                extra_headers=headers,
                max_message_size=LARGEST,
                receive_buffer_size=READ,
            )
        try:
            await self._hand_on(connection)
        finally:
            with trio.move_on_after(1, shield=True):
                await connection.aclose(NORMAL)

    async def _hand_on(self, connection: WebSocketConnection) -> None:
        is_first = True
        while True:
            message: dict[str, Any] = msgspec.json.decode(await connection.get_message())
            if is_first:  # the 201st client is closed before it gets anything
                is_first = False
                self._back_off.reset()
                await self._put.send({"type": "online"})
            await self._put.send(message)


def _first(group: BaseExceptionGroup[Any]) -> Any:
    error: Any = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _refusal(rejected: ConnectionRejected) -> LiveRefusedError | None:
    """Why it makes no sense to try again; None: it does."""
    if rejected.status_code >= 500 or rejected.status_code in FOR_NOW:
        return None
    try:
        words = str(msgspec.json.decode(rejected.body or b"{}")["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        words = f"HTTP {rejected.status_code}"
    return LiveRefusedError(rejected.status_code, f"the daemon refuses the live stream: {words}")


def _reason(closed: ConnectionClosed) -> str:
    if closed.reason is None or closed.reason.code == 1006:  # no close frame came
        return "the connection was lost"
    return closed.reason.reason or f"the stream was closed with {closed.reason.code}"
