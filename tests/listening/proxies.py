"""Small proxies that really forward, for tests: CONNECT, over TLS or not, and SOCKS 5."""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    Target = tuple[str, int] | None
    Speaks = Callable[["SmallProxy", trio.abc.Stream], Awaitable[Target]]


@dataclass
class SmallProxy:
    """A proxy on a port of its own.

    Attributes:
        asked: what it was asked to connect to, as it was written.
        credentials: `user:password` that it wants; empty for none.
        names: what it takes names for, in place of looking them up.
        refuses: it connects to nothing.
    """

    credentials: str = ""
    names: dict[str, str] = field(default_factory=dict)
    refuses: bool = False
    asked: list[tuple[str, int]] = field(default_factory=list)
    port: int = 0

    async def serve(
        self,
        speaks: Speaks,
        tls: ssl.SSLContext | None = None,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve one of the two protocols."""
        handle = partial(self._handle, speaks)
        async with trio.open_nursery() as nursery:
            sockets = await trio.open_tcp_listeners(0, host="127.0.0.1")
            listeners: list[trio.abc.Listener[trio.abc.Stream]] = [
                trio.SSLListener(one, tls) if tls else one for one in sockets
            ]
            nursery.start_soon(trio.serve_listeners, handle, listeners)
            self.port = sockets[0].socket.getsockname()[1]
            task_status.started(self.port)

    async def _handle(self, speaks: Speaks, stream: trio.abc.Stream) -> None:
        try:
            target = await speaks(self, stream)
            if target is not None:
                host, port = target
                far = await trio.open_tcp_stream(self.names.get(host, host), port)
                async with far, trio.open_nursery() as nursery:
                    nursery.start_soon(self._copy, stream, far, nursery)
                    nursery.start_soon(self._copy, far, stream, nursery)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _copy(self, one: trio.abc.Stream, other: trio.abc.Stream, nursery: trio.Nursery) -> None:
        while data := await one.receive_some():
            await other.send_all(data)
        nursery.cancel_scope.cancel()


async def connect(proxy: SmallProxy, stream: trio.abc.Stream) -> Target:
    """RFC 9110, 9.3.6. The answer comes byte by byte."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some()
        if not data:
            return None
        head += data
    lines = head.decode().split("\r\n")
    verb, authority, _ = lines[0].split(" ")
    assert verb == "CONNECT"
    host, _, port = authority.rpartition(":")
    wanted = "proxy-authorization: Basic " + base64.b64encode(proxy.credentials.encode()).decode()
    if proxy.credentials and wanted not in lines:
        await stream.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        return None
    proxy.asked.append((host.strip("[]"), int(port)))
    if proxy.refuses:
        await stream.send_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
        return None
    for byte in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n":
        await stream.send_all(bytes([byte]))
    return host.strip("[]"), int(port)


async def socks5(proxy: SmallProxy, stream: trio.abc.Stream) -> Target:
    """RFC 1928 and 1929."""

    async def read(count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await stream.receive_some(count - len(data))
            if not more:
                raise trio.BrokenResourceError
            data += more
        return data

    version, count = await read(2)
    assert version == 5
    methods = await read(count)
    method = 2 if proxy.credentials else 0
    if method not in methods:
        await stream.send_all(b"\x05\xff")
        return None
    await stream.send_all(bytes([5, method]))
    if method == 2:
        _, length = await read(2)
        user = await read(length)
        password = await read((await read(1))[0])
        is_right = user + b":" + password == proxy.credentials.encode()
        await stream.send_all(bytes([1, not is_right]))
        if not is_right:
            return None
    _, command, _, kind = await read(4)
    assert command == 1
    if kind == 3:
        host = (await read((await read(1))[0])).decode()
    else:
        family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
        host = socket.inet_ntop(family, await read(size))
    port = int.from_bytes(await read(2), "big")
    proxy.asked.append((host, port))
    await stream.send_all(bytes([5, 2 if proxy.refuses else 0, 0, 1, 127, 0, 0, 1, 0, 0]))
    return None if proxy.refuses else (host, port)
