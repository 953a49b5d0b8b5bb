"""Sends datagrams to the socket that systemd names in `$NOTIFY_SOCKET`, without ever holding up the loop.

systemd's socket is shared by all services, and is not read while systemd reloads itself. A message that finds
it full is kept and sent when there is room; those behind it wait, so that the order stays.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Variables that are meant for this process, not for those that it starts."""
MOST = 100  # messages that wait; the oldest are lost
LAST = 1.0  # seconds in which what waits at the end is sent


class Notifier:
    """Sends messages, if a service manager listens. :meth:`serve` sends those that had to wait.

    Args:
        environ: the daemon's environment. An address that is neither a path nor an abstract name (`@…`)
            counts as none.

    Attributes:
        is_heard: whether there is a service manager.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self.is_heard = address.startswith(("/", "@"))
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._waiting: deque[bytes] = deque(maxlen=MOST)
        self._came = trio.Event()

    def send(self, message: bytes | None) -> None:
        """Send a message now, or as soon as there is room for it. Never blocks or raises; None is nothing."""
        if not self.is_heard or message is None:
            return
        if self._waiting or not self._sent(message):
            self._waiting.append(message)
            self._came.set()

    async def serve(self) -> None:
        """Send what waits for room, until cancelled; then for a second at most."""
        if not self.is_heard:
            return
        try:
            while True:
                await self._came.wait()
                self._came = trio.Event()
                await self._send_waiting()
        finally:
            with trio.move_on_after(LAST, shield=True):
                await self._send_waiting()

    def close(self) -> None:
        """Close the socket; nothing more is sent."""
        self.is_heard = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _send_waiting(self) -> None:
        while self._waiting:
            if self._sent(self._waiting[0]):
                self._waiting.popleft()
            elif self._socket is not None:
                await trio.lowlevel.wait_writable(self._socket)

    def _sent(self, message: bytes) -> bool:
        """Try it; False when there is no room. Without a service manager the message is dropped."""
        for _ in range(2):
            try:
                if self._socket is None:
                    self._socket = self._connected()
                self._socket.send(message)
                return True
            except BlockingIOError:
                return False
            except OSError:  # another socket may have taken its place, as after a restart of its owner
                if self._socket is not None:
                    self._socket.close()
                    self._socket = None
        return True

    def _connected(self) -> socket.socket:
        """A socket that is connected, since only then does the kernel say when its peer has room."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            made.connect(self._address)
        except OSError:
            made.close()
            raise
        return made
