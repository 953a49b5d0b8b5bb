"""A second worker beside a bot's own, for updates that were in hand when one died.

They are handled here one at a time, so that the one that kills shows itself, and the bot goes on
meanwhile. This worker exists while there are suspects; its end counts against the update that it had,
never against the bot.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from trioworkers.nursery.dispatch import Activity, Dispatch
from trioworkers.nursery.frames import FrameError, Ready
from trioworkers.nursery.worker import START_TIMEOUT, open_worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers.inbox.backlog import Backlog
    from trioworkers.nursery.frames import Configure
    from trioworkers.nursery.output import Output
    from trioworkers.nursery.spawn import MakesWorkers
    from trioworkers.nursery.worker import Worker

IDLE = 2.0  # seconds without a suspect after which the worker is drained
FAILED_START = 10.0  # seconds before one that was not ready is started again


class Quarantine:
    """One bot's quarantine; :meth:`serve` runs it.

    Args:
        makes, configure, output: what a worker is started with.
        dispatch: makes the dispatch of its worker.
        may_start: waits for this bot's turn to start a worker.
        tell: tells an event of the bot.
    """

    def __init__(
        self,
        backlog: Backlog,
        makes: MakesWorkers,
        configure: Callable[[], Configure],
        output: Output,
        dispatch: Callable[[Worker, Activity], Dispatch],
        may_start: Callable[[], Awaitable[None]],
        tell: Callable[..., None],
    ) -> None:
        self.activity = Activity()
        self._backlog = backlog
        self._makes, self._configure, self._output = makes, configure, output
        self._make_dispatch = dispatch
        self._may_start = may_start
        self._tell = tell
        self._dispatch: Dispatch | None = None
        self._leaving = trio.Event()

    def drain(self) -> None:
        """Let :meth:`serve` end: what is in hand is finished, nothing more is handed out."""
        self._leaving.set()
        self._backlog.suspects.poke()
        if self._dispatch is not None:
            self._dispatch.drain()

    async def serve(self) -> None:
        """Handle suspects as they come, until drained. Cancelling ends the worker's group."""
        while not self._leaving.is_set():
            if not self._backlog.has_suspects:
                await self._backlog.suspects.wait_change()
                continue
            await self._may_start()
            if not await self._live() and not self._leaving.is_set():
                with trio.move_on_after(FAILED_START):
                    await self._leaving.wait()

    async def _live(self) -> bool:
        """One worker's life; False when it was never ready."""
        self._tell("worker.starting", quarantine=True)
        try:
            async with open_worker(self._makes, self._configure(), self._output) as worker:
                ready = await self._is_ready(worker)
                if ready:
                    await self._work(worker)
                ended = await worker.end()
        except OSError as error:
            reason = f"could not be started: {error.strerror}"
            self._tell("worker.exited", level="error", reason=reason, quarantine=True)
            return False
        level = "info" if worker.leaves else "warn"
        self._tell("worker.exited", level=level, how=str(ended), quarantine=True)
        return ready

    async def _is_ready(self, worker: Worker) -> bool:
        with trio.move_on_after(START_TIMEOUT):
            try:
                word = await worker.first_word()
            except FrameError as error:
                self._tell("worker.refused", reason=str(error), quarantine=True)
                return False
            if isinstance(word, Ready):
                self._tell("worker.ready", pid=worker.pid, code=word.code, quarantine=True)
                return True
        return False

    async def _work(self, worker: Worker) -> None:
        self._dispatch = dispatch = self._make_dispatch(worker, self.activity)
        if self._leaving.is_set():
            dispatch.drain()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._drain_idle, dispatch)
                await dispatch.run()
                nursery.cancel_scope.cancel()
        finally:
            self._dispatch = None

    async def _drain_idle(self, dispatch: Dispatch) -> None:
        """Let the worker end once there is nothing for it."""
        idle_since = math.inf
        while True:
            await trio.sleep(IDLE / 4)
            if self._backlog.has_suspects or not dispatch.idle:
                idle_since = math.inf
            else:
                idle_since = min(idle_since, trio.current_time())
            if trio.current_time() - idle_since >= IDLE:
                dispatch.drain()
                return
