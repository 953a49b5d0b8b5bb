"""An HTTP service of the tests' own, to which a bot's updates are posted: it answers as it is told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import h11
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def update(self) -> dict[str, Any]:
        update: dict[str, Any] = json.loads(self.body)
        return update


@dataclass(frozen=True)
class Reply:
    """What is answered; with `breaks` the connection ends instead."""

    calls: Any = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    breaks: bool = False

    def content(self) -> bytes:
        if self.status == 204:
            return b""
        return json.dumps(self.calls).encode() if self.body is None else self.body


def say(text: str, chat_id: int, **more: Any) -> dict[str, Any]:
    """A call that sends a text."""
    return {"method": "sendMessage", "params": {"chat_id": chat_id, "text": text}, **more}


class PlayedBackend:
    """Answers each request with what `reply` returns for it.

    Attributes:
        asked: all requests, in the order in which they came.
        connections: how many were opened.
    """

    def __init__(self, reply: Callable[[Asked], Awaitable[Reply]]) -> None:
        self._reply = reply
        self.asked: list[Asked] = []
        self.connections = 0
        self.open = 0

    async def serve(self, *, port: int = 0, task_status: trio.TaskStatus[str]) -> None:
        async with trio.open_nursery() as nursery:
            listen = partial(trio.serve_tcp, self._connection, port, host="127.0.0.1")
            (listener,) = await nursery.start(listen)
            task_status.started(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/updates")

    async def _connection(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            await self._talk(stream)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass
        finally:
            self.open -= 1

    async def _talk(self, stream: trio.SocketStream) -> None:
        wire = h11.Connection(h11.SERVER)
        while True:
            head, body = None, bytearray()
            while not isinstance(event := wire.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    wire.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    return
            assert isinstance(head, h11.Request)
            headers = {name.decode(): value.decode() for name, value in head.headers}
            self.asked.append(asked := Asked(head.target.decode(), headers, bytes(body)))
            reply = await self._reply(asked)
            if reply.breaks:
                return
            content = reply.content()
            sent = {"content-length": str(len(content)), **reply.headers}
            data = wire.send(h11.Response(status_code=reply.status, headers=list(sent.items()))) or b""
            if content:
                data += wire.send(h11.Data(data=content)) or b""
            await stream.send_all(data + (wire.send(h11.EndOfMessage()) or b""))
            if wire.our_state is h11.MUST_CLOSE:
                return
            wire.start_next_cycle()
