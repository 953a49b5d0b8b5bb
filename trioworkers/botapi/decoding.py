"""Decodes large answers beside the loop, one after another.

A decoder keeps the interpreter to itself until it is done, wherever it runs. What is decoded has to be
bounded for that, and the work cut into steps: between two steps the loop goes on. A loop has one such thread,
so that many servers with large answers take no more of it than one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from trioworkers.botapi.beside import beside

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    Json = TypeVar("Json", bytes, msgspec.Raw)

T = TypeVar("T")

LARGE = 128 * 1024  # bytes from which on a thread costs less than it spares the loop: 0.4 ms at most

_of_loop: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("decoding")


async def decode(function: Callable[[Json], T], data: Json) -> T:
    """Return `function(data)`, run in a thread where the data are large.

    A checkpoint only for large data. Cancellation is noticed before the thread begins, or after it ended.
    """
    if len(data) <= LARGE:
        return function(data)
    try:
        limiter = _of_loop.get()
    except LookupError:
        limiter = trio.CapacityLimiter(1)
        _of_loop.set(limiter)
    return await beside(function, data, limiter=limiter)
