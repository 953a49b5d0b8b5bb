"""The standard streams of a command, as whoever starts it has left them: closed, or read by nobody."""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
import sys

WAITS = 1.0  # seconds that a write of a crash waits for a reader, where it has to wait at all


def open_closed_streams() -> None:
    """Let a standard stream that is closed (`2>&-`) be the null device.

    Else the next file that is opened gets its number: the database would be standard error, and be written
    to by whatever writes there.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free is this one
            os.set_inheritable(descriptor, True)
            # Python has None there; it stays open as long as the process
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def has_room(descriptor: int) -> bool:
    """Whether a write to it need not wait for a reader, within `WAITS`; true where nobody can say.

    A pipe has room for PIPE_BUF bytes then (pipe(7)), 4 kB, or its reader is gone.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    found = poll.poll(1000 * WAITS)
    return bool(found)


def patient_descriptor(descriptor: int) -> int:
    """A descriptor that leads where this one does, on which a write does not wait long for a reader.

    It is for a signal's handler, which the whole process waits for; the caller may keep it for ever.
    O_NONBLOCK on the descriptor itself would hold for all processes that have the same terminal or pipe; so
    it is opened anew (proc(5)). A socket, such as the journal's, cannot be; its writes get a time limit.

    Raises:
        OSError: it is closed.
    """
    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        seconds = struct.pack("ll", int(WAITS), 0)  # a timeval, socket(7)
        with socket.socket(fileno=os.dup(descriptor)) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
        return descriptor
    try:
        return os.open(
            f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError:  # no /proc, or a terminal that is gone
        return descriptor
