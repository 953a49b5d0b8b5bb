"""A listener on a unix socket, for as long as a test needs it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from trioworkers.web.sockets import UnixSocket

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def listen_unix(path: Path, *, key: str, mode: int = 0o600) -> Iterator[socket.socket]:
    """Listen inside; the path is free again afterwards."""
    with closing(UnixSocket(path, key=key, mode=mode)) as held:
        yield held.listener
