"""Where a daemon's API is reached: a unix socket, or an address with or without TLS."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from os import fspath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

if TYPE_CHECKING:
    from os import PathLike

PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
KEPT_ALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect to.

    Attributes:
        path: of the unix socket; None: `host` and `port` are meant.
        authority: the `Host` header.
        prefix: what stands before the paths of the API, behind a proxy.
        tls: whether the connection is encrypted.
    """

    path: str | None
    host: str = ""
    port: int = 0
    authority: str = "control"
    prefix: str = ""
    tls: bool = False

    def __str__(self) -> str:
        return self.path or self.authority

    async def connect(
        self, context: ssl.SSLContext | None
    ) -> trio.abc.HalfCloseableStream | trio.SSLStream[trio.SocketStream]:
        """Connect. `context`: for TLS; None: the system's certificates.

        Raises:
            OSError: nobody listens there.
        """
        if self.path is not None:
            return await trio.open_unix_socket(self.path)
        stream = await trio.open_tcp_stream(self.host, self.port)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a host that is gone says nothing
        for option, value in KEPT_ALIVE:
            stream.setsockopt(socket.IPPROTO_TCP, option, value)
        if not self.tls:
            return stream
        context = context or ssl.create_default_context()
        return trio.SSLStream(stream, context, server_hostname=self.host, https_compatible=True)


def parse_target(target: str | PathLike[str]) -> Target:
    """The target that a URL names, or the path of a control socket.

    Raises:
        ValueError: it is a URL that cannot be meant.
    """
    text = fspath(target)
    if "://" not in text:
        return Target(path=text.removeprefix("unix:"))
    parts = urlsplit(text)
    if parts.scheme not in PORTS or not parts.hostname:
        message = f"{text}: expected http://host:port, https://host:port or the path of a control socket"
        raise ValueError(message)
    return Target(
        path=None,
        host=parts.hostname,
        port=parts.port or PORTS[parts.scheme],
        authority=parts.netloc.rpartition("@")[2],
        prefix=parts.path.rstrip("/"),
        tls=parts.scheme in ("https", "wss"),
    )
