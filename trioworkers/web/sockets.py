"""Listening sockets: TCP addresses, and paths that nobody else listens on.

Apart from what is served on them, so that whoever only binds them loads no web framework.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from trioworkers.errors import TrioworkersError
from trioworkers.folders import locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
