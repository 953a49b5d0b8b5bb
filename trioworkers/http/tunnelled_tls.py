"""TLS within TLS: a server's, by way of a proxy that is spoken to over TLS itself.

Python's TLS sockets take no other TLS socket; so the inner TLS works on buffers, whose bytes the outer one
carries.
"""

from __future__ import annotations

import ssl

import trio

from trioworkers.http.stream import Stream


class TunnelledTls(Stream):
    """A connection over TLS, within another stream.

    Args:
        outer: what carries it; closed with it.
        tls: what the server is verified with.
        host: the server's name.
    """

    def __init__(self, outer: Stream, tls: ssl.SSLContext, host: str) -> None:
        super().__init__(outer.socket)
        self._outer = outer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._inner = tls.wrap_bio(self._in, self._out, server_hostname=host)
        self._unsent = b""
        self._taken = 0  # bytes of what was to be sent that `_unsent` is made of

    async def shake_hands(self) -> None:
        """Make the server prove who it is.

        Raises:
            OSError: it did not, or the connection broke.
        """
        while True:
            try:
                self._inner.do_handshake()
            except ssl.SSLWantReadError:
                await self._send_all()
                await self._take_in()
            else:
                await self._send_all()
                return

    def send_nowait(self, data: bytes | memoryview) -> int:
        """As :meth:`Stream.send_nowait`: what was given to TLS counts once the system took all of it."""
        if not self._unsent:
            self._taken = self._inner.write(data)
            self._unsent = self._out.read()
        self._unsent = self._unsent[self._outer.send_nowait(self._unsent) :]
        return 0 if self._unsent else self._taken

    async def receive(self) -> bytes:
        """As :meth:`Stream.receive`."""
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self._inner.read(64 * 1024)
            except ssl.SSLWantReadError:
                await self._take_in()
            except ssl.SSLZeroReturnError:
                return b""

    def is_quiet(self) -> bool:
        """As :meth:`Stream.is_quiet`."""
        return not self._inner.pending() and not self._in.pending and self._outer.is_quiet()

    async def _take_in(self) -> None:
        data = await self._outer.receive()
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    async def _send_all(self) -> None:
        unsent = self._out.read()
        while unsent:
            unsent = unsent[self._outer.send_nowait(unsent) :]
            if unsent:
                await self._outer.wait_writable()
