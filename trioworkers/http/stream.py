"""The bytes of one connection, plain or over TLS, on a socket that does not block.

Python's TLS works on such a socket as it is. Trio's streams take a turn of the loop after each operation,
also where the system did it at once, and its TLS copies what passes through two buffers of its own.
"""

from __future__ import annotations

import ssl
from math import inf
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import socket

    from trioworkers.http.addresses import Address

READ_SIZE = 64 * 1024  # bytes


class Stream:
    """A connection. All that the system refuses is an OSError.

    Args:
        end: its socket, which does not block; `close` closes it. Over TLS the handshake is done.

    Attributes:
        address: where it leads, if that was chosen here.
        until: when a wait for it is to end, trio time; only for those that `http.patience` looks after.
        is_late: the last such wait was ended, by trio.ClosedResourceError.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.address: Address | None = None
        self.until = inf
        self.is_late = False
        self._tls = end if isinstance(end, ssl.SSLSocket) else None

    @property
    def is_tls(self) -> bool:
        """Whether it is over TLS."""
        return self._tls is not None

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Send what the system takes now; return how much that is. TLS wants the rest to come unchanged."""
        try:
            return self.socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return 0

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self.socket)

    @property
    def is_closed(self) -> bool:
        """Whether it was closed here."""
        return self.socket.fileno() < 0

    async def receive(self) -> bytes:
        """Wait for bytes; none at the end of the connection."""
        if self._tls is not None and self._tls.pending():  # which the system does not know of
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self.socket)
        while True:
            try:
                return self.socket.recv(READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError):
                await trio.lowlevel.wait_readable(self.socket)

    def receive_nowait(self) -> bytes | None:
        """The bytes that are here; None: there are none. None of them at the end of the connection."""
        try:
            return self.socket.recv(READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None

    def is_quiet(self) -> bool:
        """Whether the other side neither closed it nor says anything, but for what TLS says for itself."""
        try:
            self.socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def wake(self) -> None:
        """Raise trio.ClosedResourceError where a task waits for it. The connection itself is left open."""
        trio.lowlevel.notify_closing(self.socket)

    def close(self) -> None:
        """Close it without a farewell, which nobody would wait for."""
        if self.socket.fileno() >= 0:
            self.wake()
            self.socket.close()
