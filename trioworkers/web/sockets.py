"""Listening sockets: TCP addresses, and paths that nobody else listens on.

Apart from what is served on them, so that whoever only binds them loads no web framework.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import trio

from trioworkers.errors import TrioworkersError
from trioworkers.folders import Lock
from trioworkers.shortage import words_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

BACKLOG = 1024
SOCKET_PATH_LIMIT = 107  # bytes: sockaddr_un, unix(7)


class ListenError(TrioworkersError):
    """An address cannot be listened on; the message says which and why."""


class SocketPathError(ListenError):
    """A path is too long for a unix socket; trying again does not help."""


def listen_tcp(host: str, port: int, *, key: str) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. `key`: the setting that the address is from.

    `::` stands for all addresses of both families, as in most servers; Python's default is IPv6 alone.
    `localhost` is 127.0.0.1 and is not looked up: a machine may not know the name, or know another address.

    Raises:
        ListenError: the address is in use, not ours, or does not exist.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        both = family == socket.AF_INET6 and IPv6Address(host).is_unspecified and socket.has_dualstack_ipv6()
        address = "127.0.0.1" if host == "localhost" else host
        return socket.create_server((address, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0].lower()  # then the address again
        message = f"cannot listen on {host}:{port}: {reason}; {key} names another address"
        raise ListenError(message) from None


class UnixSocket:
    """A listening unix socket, for our own user alone unless `mode` says more; an old one is replaced.

    A lock beside it is held meanwhile, so that whatever stands there belongs to nobody. Its name may be
    removed: :meth:`bind_again` makes another socket of that name, and who serves it follows `changed`.

    Args:
        path: its path.
        key: the setting that the path is from.
        mode: its permissions.

    Attributes:
        path: its path.
        listener: the socket.
        changed: set when `listener` is another one; then it is another event.

    Raises:
        SocketPathError: the path is too long.
        AlreadyRunningError: another daemon listens there.
        ListenError: it cannot be made there.
    """

    def __init__(self, path: Path, *, key: str, mode: int = 0o600) -> None:
        if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
            message = f"the path {path} is too long for a socket, expected at most {SOCKET_PATH_LIMIT} bytes:"
            message += f" choose a shorter {key}"
            raise SocketPathError(message)
        self.path = path
        self.changed = trio.Event()
        self._mode = mode
        try:
            # a name for each: another path in the same folder may be another daemon's
            self._lock = Lock(path.with_name(f"{path.name}.lock"), f"listens on {path}")
            try:
                self.listener = _bound(path, mode)
            except OSError:
                self._lock.close()
                raise
        except OSError as error:
            raise ListenError(_cannot(path, error)) from None
        self._announced = self.listener
        self._before: list[socket.socket] = []
        self._turn = threading.Lock()
        self._closed = False
        self._made = _identity(path)

    def is_lost(self) -> bool:
        """Whether the path does not lead here any more, though it should."""
        if self._closed:
            return False
        return self._lock.is_lost() or _identity(self.path) != self._made

    def bind_again(self) -> None:
        """Listen at the path again; its folder exists. From any thread. `listener` is another one then.

        Raises:
            AlreadyRunningError, ListenError: as at the beginning.
        """
        try:
            with self._turn:
                if self._closed:
                    return
                self._lock.hold()
                if _identity(self.path) != self._made:
                    self._before.append(self.listener)
                    self.listener = _bound(self.path, self._mode)
                    self._made = _identity(self.path)
        except OSError as error:
            raise ListenError(_cannot(self.path, error)) from None

    def announce(self) -> None:
        """On the loop: let who serves it know of another `listener`, if there is one."""
        if self._announced is not self.listener:
            self._announced = self.listener
            changed, self.changed = self.changed, trio.Event()
            changed.set()

    def close(self) -> None:
        """Listen no more; the path is unlinked if it still leads here."""
        with self._turn:
            self._closed = True
            for listener in (*self._before, self.listener):
                listener.close()
            if _identity(self.path) == self._made:
                self.path.unlink(missing_ok=True)
            self._lock.close()


async def serve_held(
    serve: Callable[..., Awaitable[object]],
    held: UnixSocket,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve whatever listens at the path of `held` by `serve(listeners, stop)`, until `stop`.

    What was accepted by a listener that was replaced ends as at a stop.
    """
    async with trio.open_nursery() as nursery:
        while not stop.is_set():
            over, changed = trio.Event(), held.changed
            await nursery.start(serve, [held.listener], over)
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            async with trio.open_nursery() as either:
                for event in (stop, changed):
                    either.start_soon(_cancel_on, event, either.cancel_scope)
            over.set()


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _cannot(path: Path, error: OSError) -> str:
    return f"cannot listen on {path}: {words_of(error)}"


def _bound(path: Path, mode: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = path.with_name(f".{path.name[:8]}-{secrets.token_hex(2)}")
    try:
        listener.bind(str(fresh))
        fresh.chmod(mode)
        listener.listen(BACKLOG)
        fresh.replace(path)  # nobody ever finds it there with another mode, or not listening
    except OSError:
        listener.close()
        fresh.unlink(missing_ok=True)
        raise
    return listener


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
