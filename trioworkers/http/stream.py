"""The bytes of one connection, plain or over TLS, on a socket that does not block.

Python's TLS works on such a socket as it is. Trio's streams take a turn of the loop after each operation,
also where the system did it at once, and its TLS copies what passes through two buffers of its own.
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress

import httpx
import trio

READ_SIZE = 64 * 1024  # bytes


class Stream:
    """A connection. All that the system refuses is an OSError.

    Args:
        end: its socket, which does not block; `close` closes it. Over TLS the handshake is done.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._tls = end if isinstance(end, ssl.SSLSocket) else None

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Send what the system takes now; return how much that is. TLS wants the rest to come unchanged."""
        try:
            return self.socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return 0

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self.socket)

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


async def connect(host: str, port: int, tls: ssl.SSLContext | None) -> Stream:
    """Connect to a server, and shake hands with it where there is TLS.

    Raises:
        httpx.ConnectError: it cannot be reached, or is not who it should be.
    """
    place = f"{host}:{port}"
    try:
        plain = await _open(host, port)
    except OSError as error:
        raise httpx.ConnectError(f"cannot connect to {place}: {_reason(error)}") from None
    if tls is None:
        return Stream(plain)
    secure = plain
    try:
        secure = tls.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        await _shake_hands(secure)
    except BaseException as error:
        trio.lowlevel.notify_closing(secure)
        secure.close()
        if not isinstance(error, OSError):
            raise
        reason = getattr(error, "verify_message", None) or "the handshake failed"
        raise httpx.ConnectError(f"no TLS with {place}: {reason}") from None
    return Stream(secure)


async def _open(host: str, port: int) -> socket.socket:
    """A connected socket. A name may have several addresses, which Trio tries side by side."""
    family = _family(host)
    if family is None:
        opened = await trio.open_tcp_stream(host, port)
        plain = socket.socket(fileno=opened.socket.detach())
        plain.setblocking(False)
        return plain
    plain = socket.socket(family, socket.SOCK_STREAM)
    try:
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BlockingIOError):
            plain.connect((host, port))
        await trio.lowlevel.wait_writable(plain)
        failure = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, os.strerror(failure))
    except BaseException:
        trio.lowlevel.notify_closing(plain)
        plain.close()
        raise
    return plain


def _family(host: str) -> socket.AddressFamily | None:
    """What kind of address the host is, when it is one and no name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, host)
            return family
    return None


async def _shake_hands(secure: ssl.SSLSocket) -> None:
    while True:
        try:
            secure.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(secure)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(secure)
        else:
            return


def _reason(error: OSError) -> str:
    """Why a connection could not be made, in the system's words; trio raises them as causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, socket.gaierror) and cause.strerror:
            return cause.strerror
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)  # trio's own text repeats the address
        cause = cause.__cause__
    return "no address answers"
