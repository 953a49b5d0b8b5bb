"""Failures of a system that has no room, which are nobody's fault that meets them.

A bot that starts processes without end uses up a limit that all bots share. The others' workers fail to
start, or to import their handlers, then: that says nothing about their code, and goes by. So do plugins.
"""

from __future__ import annotations

import errno

from trioworkers.errors import leaves

NO_THREAD = "can't start new thread"  # the words of Python's RuntimeError
EXIT_STARVED = 75  # EX_TEMPFAIL of sysexits.h
NO_ROOM = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""What the system answers when it has no process, memory or descriptor."""


def is_starved(error: BaseException) -> bool:
    """Whether an exception, or what it came of, says that there was no process, memory or descriptor."""
    return find_starved(error) is not None


def find_starved(error: BaseException) -> BaseException | None:
    """The exception that says so, among this one and what it came of; None when none does."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        for leaf in leaves(one):
            if _says_so(leaf):
                return leaf
        one = one.__cause__ or one.__context__
    return None


def _says_so(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    if isinstance(error, RuntimeError):  # of `threading`, which keeps the number to itself
        return str(error) == NO_THREAD
    return isinstance(error, MemoryError)
