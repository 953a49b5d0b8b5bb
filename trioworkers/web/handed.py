"""Listening sockets that systemd hands over, instead of binding our own (sd_listen_fds(3)).

They outlive us: whoever connects while no daemon runs waits for the next one.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST = 3  # SD_LISTEN_FDS_START
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"""What is meant for this process alone, and for none that it starts."""


def handed_over(environ: Mapping[str, str], pid: int | None = None) -> dict[str, list[socket.socket]]:
    """The sockets that were handed to this process, by the names that their units give (FileDescriptorName=).

    Empty when they were meant for another process, or there are none. Each is closed on exec from now on.
    Call it once: whoever gets a socket closes it. What is not a listening stream socket stays untouched.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(pid or os.getpid()) or not count.isdecimal():
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[socket.socket]] = {}
    for number in range(min(int(count), 1024)):
        try:
            os.set_inheritable(FIRST + number, False)
            handed = socket.socket(fileno=FIRST + number)
        except OSError:
            continue
        if not _listens(handed):
            handed.detach()
            continue
        handed.setblocking(False)
        name = names[number] if number < len(names) and names[number] else "unknown"
        found.setdefault(name, []).append(handed)
    return found


def _listens(handed: socket.socket) -> bool:
    try:
        return handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError:
        return False
