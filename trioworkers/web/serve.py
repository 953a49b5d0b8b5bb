"""Hypercorn on sockets of ours: the `[api]` address and the control socket."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.errors import TrioworkersError
from trioworkers.folders import locked
from trioworkers.web.app import MARK
from trioworkers.web.connections import GRACE, Bounds, Connections

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

__all__ = ["GRACE", "ListenError", "SocketPathError", "Web", "listen_tcp", "listen_unix", "serve_app"]
BACKLOG = 1024
SOCKET_PATH_LIMIT = 107  # bytes: sockaddr_un, unix(7)


class ListenError(TrioworkersError):
    """An address cannot be listened on; the message says which and why."""


class SocketPathError(ListenError):
    """A path is too long for a unix socket; trying again does not help."""


def listen_tcp(host: str, port: int, *, key: str) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. `key`: the setting that the address is from.

    Raises:
        ListenError: the address is in use, not ours, or does not exist.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0].lower()  # then the address again
        message = f"cannot listen on {host}:{port}: {reason}; {key} names another address"
        raise ListenError(message) from None


@contextmanager
def listen_unix(path: Path, *, key: str, mode: int = 0o600) -> Iterator[socket.socket]:
    """A listening unix socket, for our own user alone unless `mode` says more; an old one is replaced.

    A lock beside it is held meanwhile, so that whatever stands there belongs to nobody. At the end it is
    unlinked if it is still ours. `key`: the setting that the path is from.

    Raises:
        SocketPathError: the path is too long.
        AlreadyRunningError: another daemon listens there.
        ListenError: it cannot be made there.
    """
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        message = f"the path {path} is too long for a socket, expected at most {SOCKET_PATH_LIMIT} bytes:"
        message += f" choose a shorter {key}"
        raise SocketPathError(message)
    with ExitStack() as stack:
        try:
            # a name for each: another path in the same folder may be another daemon's
            stack.enter_context(locked(path.with_name(f"{path.name}.lock"), f"listens on {path}"))
            listener = stack.enter_context(_bound(path, mode))
        except OSError as error:
            message = f"cannot listen on {path}: {(error.strerror or str(error)).lower()}"
            raise ListenError(message) from None
        made = _identity(path)
        try:
            yield listener
        finally:
            if _identity(path) == made:
                path.unlink(missing_ok=True)


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


class Web:
    """Both listeners of a daemon and what is under way on them.

    Attributes:
        ended: nothing of it is left.
    """

    def __init__(
        self, app: Callable[..., Awaitable[Any]], *, control: socket.socket, api: socket.socket
    ) -> None:
        self._app = app
        self._control = control
        self._api = api
        self._stop = trio.Event()
        self._scope = trio.CancelScope()
        self.ended = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`close`; cancelling it cuts requests off."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(serve_app, _mark(self._app), self._control, self._stop)
                    await nursery.start(serve_app, self._app, self._api, self._stop)
                    task_status.started()
        finally:
            self.ended.set()

    async def close(self, grace: float, hastened: trio.Event, *, last: float = 1.0) -> None:
        """Listen no more, let what is under way end within `grace` seconds, then cut it off.

        At once when `hastened` is or becomes set. Returns `last` seconds after the cut at the latest, also
        when something of it still runs: `ended` tells.
        """
        self._stop.set()
        self._scope.deadline = trio.current_time() + grace
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_on, hastened)
            with trio.move_on_after(grace + last):
                await self.ended.wait()
            nursery.cancel_scope.cancel()

    async def _cut_on(self, hastened: trio.Event) -> None:
        await hastened.wait()
        self._scope.cancel()


def _mark(app: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same application, told that its requests came by the control socket."""

    async def marked(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, MARK: True}, receive, send)

    return marked


async def serve_app(
    app: Callable[..., Awaitable[Any]],
    listener: socket.socket,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `listener`, which it closes, until `stop`; as :meth:`Connections.serve`."""
    await Connections(app, bounds=Bounds()).serve([listener], stop, task_status=task_status)
