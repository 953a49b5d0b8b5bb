"""Work beside the loop; where the system has no thread for it, on the loop.

What the client does in threads is bounded: a block of a file, an answer to decode. On the loop it costs some
milliseconds. Rejected: to raise. A call that was made and answered would count as failed, and be made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from trioworkers.starved import NO_THREAD

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def beside(work: Callable[..., T], *args: object, limiter: trio.CapacityLimiter | None = None) -> T:
    """Return `work(*args)`, run in a thread if one can be had.

    Cancellation is noticed before the thread begins, or after it ended.

    Raises:
        Exception: what `work` raised.
    """
    try:
        return await trio.to_thread.run_sync(work, *args, limiter=limiter)
    except RuntimeError as error:
        if str(error) != NO_THREAD:
            raise
    return work(*args)
