"""Hypercorn on sockets of ours: the `[api]` address and the control socket."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from trioworkers.errors import TrioworkersError
from trioworkers.web.app import MARK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

BACKLOG = 1024
GRACE = 3.0  # seconds that requests under way have at a stop
SOCKET_PATH_LIMIT = 107  # bytes: sockaddr_un, unix(7)


class ListenError(TrioworkersError):
    """An address cannot be listened on; the message says which and why."""


class SocketPathError(ListenError):
    """A path is too long for a unix socket; trying again does not help."""


def listen_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one.

    Raises:
        ListenError: the address is in use, not ours, or does not exist.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise ListenError(message) from None


def listen_unix(path: Path) -> socket.socket:
    """A listening unix socket that only our own user can open (mode 0600); an old one is replaced.

    The caller holds the daemon's lock, so whatever stands there belongs to nobody.

    Raises:
        SocketPathError: the path is too long.
        ListenError: it cannot be made there.
    """
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        message = f"the path {path} is too long for a socket, expected at most {SOCKET_PATH_LIMIT} bytes:"
        message += " choose a shorter fleet.runtime_dir"
        raise SocketPathError(message)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = path.with_name(f".{path.name[:8]}-{secrets.token_hex(2)}")
    try:
        listener.bind(str(fresh))
        fresh.chmod(0o600)
        listener.listen(BACKLOG)
        fresh.replace(path)  # nobody ever finds it there with another mode, or not listening
    except OSError as error:
        listener.close()
        fresh.unlink(missing_ok=True)
        message = f"cannot listen on {path}: {error.strerror or error}"
        raise ListenError(message) from None
    return listener


async def serve_app(
    app: Callable[..., Awaitable[Any]],
    listener: socket.socket,
    *,
    stop: trio.Event,
    control: bool = False,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `listener`, which it closes, until `stop`; then end what is under way.

    Args:
        app: an ASGI application.
        listener: a listening socket.
        stop: ends it. Cancelling it instead would cut requests off.
        control: marks its requests as coming by the control socket.
    """
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.graceful_timeout = GRACE
    config.shutdown_timeout = GRACE
    config.alpn_protocols = ["http/1.1"]
    config.keep_alive_timeout = 75
    config.keep_alive_max_requests = 1_000_000
    config.include_server_header = False

    async def marked(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, MARK: True} if control else scope, receive, send)

    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, marked, config, stop)
        task_status.started()


async def _serve(
    app: Any,
    config: Config,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[Any],
) -> None:
    await serve(app, config, shutdown_trigger=stop.wait, task_status=task_status)
