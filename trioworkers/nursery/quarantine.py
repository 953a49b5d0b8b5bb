"""A second worker beside a bot's own, for updates that were in flight when a worker died.

It is given these suspects one at a time, so that the update that kills is identified while the bot goes on.
Its session exists while there are suspects. When it ends, that counts against the update which it had, and
never against the bot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.nursery.session import SessionKind, WorkerSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers.nursery.session import MakesSessions, Session, SessionContext
    from trioworkers.nursery.work import Work

IDLE = 2.0  # seconds without a suspect after which the worker is drained
FAILED_START = 10.0  # seconds before one that was not ready is started again


class Quarantine:
    """One bot's quarantine; :meth:`serve` runs it.

    Args:
        context: makes executors that have the suspects.
        work: the suspects.
        may_start: waits for this bot's turn in the fleet's start rate.
        is_paused: returns whether the bot is given no updates; whoever changes that pokes `work`.

    Attributes:
        session: the present session, if there is one.
    """

    def __init__(
        self,
        context: SessionContext,
        work: Work,
        may_start: Callable[[], Awaitable[None]],
        is_paused: Callable[[], bool],
        make_session: MakesSessions = WorkerSession,
    ) -> None:
        self.session: Session | None = None
        self._context = context
        self._work = work
        self._may_start = may_start
        self._is_paused = is_paused
        self._make_session = make_session
        self._is_leaving = False
        self._waiting = trio.CancelScope()  # around what is waited for without a session

    def drain(self) -> None:
        """Let :meth:`serve` end: what is in flight is finished, nothing more is handed out."""
        self._is_leaving = True
        self._waiting.cancel()
        if self.session is not None:
            self.session.end("leaving")

    async def serve(self) -> None:
        """Handle suspects as they come, until drained. Cancelling it ends the worker's group."""
        pause = 0.0
        while not self._is_leaving:
            with trio.CancelScope() as self._waiting:
                await trio.sleep(pause)
                await self._wait_for_suspects()
                await self._may_start()
            if self._is_leaving:
                return
            pause = 0.0 if await self._was_ready() else FAILED_START

    async def _wait_for_suspects(self) -> None:
        while (is_paused := self._is_paused()) or not self._work.has_work:
            await self._work.wait_change(due=not is_paused)

    async def _was_ready(self) -> bool:
        """Have a session until there are no suspects left; return whether its worker was ready."""
        self.session = session = self._make_session(
            self._context, SessionKind(is_quarantine=True, idle_stop=IDLE)
        )
        try:
            await session.run()
        finally:
            self.session = None
        return session.is_ready
