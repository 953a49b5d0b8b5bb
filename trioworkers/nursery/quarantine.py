"""A second worker beside a bot's own, for updates that were in flight when one died.

They are handled here one at a time, so that the one that kills shows itself, and the bot goes on
meanwhile. This worker exists while there are suspects; its end counts against the update that it had,
never against the bot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.nursery.session import WorkerSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers.nursery.scheduler import Work
    from trioworkers.nursery.session import Means

IDLE = 2.0  # seconds without a suspect after which the worker is drained
FAILED_START = 10.0  # seconds before one that was not ready is started again


class Quarantine:
    """One bot's quarantine; :meth:`serve` runs it.

    Attributes:
        life: its worker's, while there is one.
    """

    def __init__(self, means: Means, work: Work, may_start: Callable[[], Awaitable[None]]) -> None:
        self.session: WorkerSession | None = None
        self._means = means
        self._work = work
        self._may_start = may_start
        self._leaving = trio.Event()

    def drain(self) -> None:
        """Let :meth:`serve` end: what is in flight is finished, nothing more is handed out."""
        self._leaving.set()
        self._work.wake()
        if self.session is not None:
            self.session.end("leaving")

    async def serve(self) -> None:
        """Handle suspects as they come, until drained. Cancelling ends the worker's group."""
        while not self._leaving.is_set():
            paused = self._means.is_paused()
            if paused or not self._work.has_work:
                await self._work.wait_change(due=not paused)
                continue
            await self._may_start()
            self.session = session = WorkerSession(self._means, lambda: IDLE, quarantine=True)
            if self._leaving.is_set():
                return
            try:
                await session.run()
            finally:
                self.session = None
            if not session.is_ready:
                with trio.move_on_after(FAILED_START):
                    await self._leaving.wait()
