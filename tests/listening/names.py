"""The name `localhost` for a test's own connections, on machines whose /etc/hosts does not have it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from typing import NoReturn


class Localhost(trio.abc.HostnameResolver):
    """Resolves `localhost` to 127.0.0.1, and no other name; addresses never come here.

    It is for :func:`trio.socket.set_custom_hostname_resolver`, which holds for one run of Trio.
    """

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        if host != b"localhost" or family not in (0, socket.AF_INET):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", int(port or 0)))]

    async def getnameinfo(self, sockaddr: object, flags: int) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
