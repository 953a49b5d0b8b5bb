"""The end of a thread, noticed even if Trio cannot report it.

Where there was no memory for what reports it, it never will be, and whoever waits for it would wait for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.shortage import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

REPORTED = 1.0  # seconds until the end of the thread is reported, at the most


class ThreadEnd:
    """Runs a function in a thread that nobody cancels.

    Attributes:
        is_over: the function sets it when all that it has to do is done.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._hearing, self._heard = trio.CancelScope(shield=True), trio.Event()

    async def run(self, work: Callable[[], None]) -> None:
        """Run it to its end. Cancellation does not reach it.

        Raises:
            NoThreadError: there is no thread.
            Exception: what it raised.
        """
        try:
            with self._hearing:
                # it is abandoned only where its end cannot be heard of
                await in_thread(work, limiter=trio.CapacityLimiter(1), abandon_on_cancel=True)
        finally:
            self._heard.set()

    async def see_through(self) -> None:
        """Return when :meth:`run` has; once all is done, let it, whether the end is reported or not."""
        with trio.CancelScope(shield=True):
            while not self.is_over and not self._heard.is_set():
                with trio.move_on_after(REPORTED / 10):
                    await self._heard.wait()
            with trio.move_on_after(REPORTED):
                await self._heard.wait()
            self._hearing.cancel()
