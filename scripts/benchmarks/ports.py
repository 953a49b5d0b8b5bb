"""A port for a server that is killed and started again."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """One that is free now, below those that outgoing connections are given: another one's, or one of whoever
    asks for the killed server, which is then connected to itself, would keep it from its next life.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - anyone will do
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
