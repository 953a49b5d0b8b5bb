"""The terminal that a daemon runs on, which its log and the breakpoints of its bots share, one at a time.

Whoever writes or reads there holds a lock on the terminal itself (flock(2)). The lock goes with the process
that has it, however that ends; and while a bot has it, the log waits.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


def find_terminal() -> str | None:
    """The path of the terminal that is this process's standard input; None where there is none."""
    with suppress(AttributeError, OSError, ValueError):
        path = os.ttyname(sys.stdin.fileno())
        if os.path.samestat(os.fstat(sys.stdin.fileno()), os.stat(path)):  # not of another container
            return path
    return None


def open_terminal(path: str) -> int:
    """A descriptor of the terminal, which is the caller's; it never becomes this session's own terminal.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def wait_turn(descriptor: int, *, alone: bool) -> None:
    """Wait until nobody else has the terminal, in a thread that may block: `alone`, or beside other logs."""
    fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)


def end_turn(descriptor: int) -> None:
    """Let others have it."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def kept_terminal(path: str) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Give the turns of a log on this terminal; at the end the terminal is as it was.

    A bot that is killed at a breakpoint leaves it without echo.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = open_terminal(path)

    @contextmanager
    def turn() -> Iterator[None]:
        wait_turn(descriptor, alone=False)
        try:
            yield
        finally:
            end_turn(descriptor)

    before = termios.tcgetattr(descriptor)
    try:
        yield turn
    finally:
        with suppress(OSError, termios.error):  # it has gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        # not closed: the log's thread may still write
