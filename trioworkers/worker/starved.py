"""Failures of a system that has no room, which are nobody's fault that meets them.

A bot that starts processes without end uses up a limit that all bots share. The others' workers fail to
start, or to import their handlers, then: that says nothing about their code, and goes by.
"""

from __future__ import annotations

import errno

from trioworkers.errors import leaves

EXIT_STARVED = 75  # EX_TEMPFAIL of sysexits.h
_NO_ROOM = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def is_starved(error: BaseException) -> bool:
    """Whether an exception, or what it came of, says that there was no process, memory or descriptor."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        if any(map(_says_so, leaves(one))):
            return True
        one = one.__cause__ or one.__context__
    return False


def _says_so(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    if isinstance(error, RuntimeError):  # of `threading`, which keeps the number to itself
        return str(error) == "can't start new thread"
    return isinstance(error, MemoryError)
