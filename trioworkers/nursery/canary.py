"""A canary: a session that is started only to see whether its worker can be ready, and is ended again."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from trioworkers.nursery.session import SessionKind, WorkerSession
from trioworkers.protocol.frames import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.nursery.ended import Ended
    from trioworkers.nursery.session import MakesSessions, SessionContext
    from trioworkers.nursery.worker import ConnectedWorker

LEAVES = 10.0  # seconds for the handler's `stop`
KIND = SessionKind(is_told=False)  # its caller reports the outcome


async def try_worker(context: SessionContext, make_session: MakesSessions = WorkerSession) -> str | None:
    """Start a worker beside the bot's own, wait until it is ready, end it; return why it never was, or None.

    It is given no update; the handler's `start` and `stop` run. This takes at most `START_TIMEOUT` and
    `LEAVES` seconds, and the time to end a process; cancelling it ends the process's group.
    """
    farewells: list[_Farewell] = []

    def make_executor(worker: ConnectedWorker) -> _Farewell:
        farewells.append(_Farewell(worker, LEAVES if context.has_limits else math.inf))
        return farewells[-1]

    session = make_session(replace(context, make_executor=make_executor), KIND)
    ended = await session.run()
    if not session.is_ready:
        return _problem(ended)
    return next((one.problem for one in farewells), None)


def _problem(ended: Ended) -> str:
    if ended.unfit is not None:
        return f"{ended.unfit.reason}: {ended.unfit.detail}" if ended.unfit.detail else ended.unfit.reason
    if ended.exit is None:
        return f"it {ended.problem}"
    return ended.problem or f"it ended before it was ready: {ended.exit}"


class _Farewell:
    """An executor that has no updates: it asks the worker to exit.

    Args:
        worker: the worker.
        seconds: that it has for that.

    Attributes:
        problem: the worker sent something that is not a valid frame.
    """

    idle_since, held_for, taken = math.inf, 0.0, 0

    def __init__(self, worker: ConnectedWorker, seconds: float) -> None:
        self._worker = worker
        self._seconds = seconds
        self.problem: str | None = None

    def fence(self, chat_id: int, done: Callable[[], None]) -> bool:
        """It has nothing of any chat."""
        return False

    def drain(self) -> None:
        """There is nothing to finish."""

    async def run(self) -> None:
        """Let the worker exit; it may send its last heartbeats and the like meanwhile."""
        self._worker.drain()
        try:
            with trio.move_on_after(self._seconds):
                while await self._worker.receive():
                    self._worker.heartbeat_at = trio.current_time()
        except FrameError as error:
            self.problem = str(error)
