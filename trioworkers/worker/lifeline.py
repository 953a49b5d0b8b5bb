"""Ends a worker whose daemon is gone, also while a handler holds up its loop.

The loop reads the channel for the worker's whole life and sees its end; a handler that never lets it
turn hides that. So a thread waits for it, too: a loop in Python lets other threads run. What holds the
interpreter's lock for ever (a loop in an extension written in C) is beyond both.

A child that a handler makes by `os.fork` has the channel's descriptor, whatever is done about it here,
and not the thread. It is in the worker's group and ends with it; as it keeps the channel open, the
daemon must watch the process itself, and not take the channel's end for the worker's.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

STACK = 256 * 1024  # bytes, of which it touches a few pages; the default is 8 MiB


def watch_lifeline(end: socket.socket) -> None:
    """End the process group as soon as the other side of `end` is closed, whatever the loop does.

    It watches a descriptor of its own, which lives as long as the process: what this side does to `end`
    is none of its business. It costs nothing until then.
    """
    poll = select.poll()
    poll.register(os.dup(end.fileno()), select.POLLRDHUP)  # POLLHUP is always told

    def watch() -> None:
        poll.poll()
        end_group()

    before = threading.stack_size(STACK)
    try:
        threading.Thread(target=watch, name="lifeline", daemon=True).start()
    finally:
        threading.stack_size(before)


def end_group() -> None:
    """End this process and all that it started: there is nobody left to report to."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
