"""One worker's life: started, ready, at work, watched, and ended for a reason that is known.

Alive, responsive and making progress are three facts. The process ends: it is not alive. Its loop says
nothing for `hang_timeout`, or does not answer a ping while an update is overdue: it does not respond, and
is killed after it has left its stacks in the log. Its updates take long: that is its handlers' matter, as
long as it answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from trioworkers.nursery.worker import START_TIMEOUT, open_worker
from trioworkers.protocol.frames import FrameError, Ping, Ready, Unfit

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.config import BotSettings
    from trioworkers.nursery.oom import OomKills
    from trioworkers.nursery.output import Output
    from trioworkers.nursery.spawn import Exit, MakesWorkers, WorkerProcess
    from trioworkers.nursery.worker import ConnectedWorker
    from trioworkers.nursery.worker_executor import WorkerExecutor
    from trioworkers.protocol.frames import Configure

DRAIN_SLACK = 10.0  # seconds beyond its handler_timeout that a worker has to end its work
OVERDUE = 10.0  # seconds beyond its handler_timeout after which an update is asked after
PING_TIMEOUT = 10.0  # seconds for the answer
STACKS_TIME = 0.5  # seconds for a hung worker to write its stacks


@dataclass(frozen=True, slots=True)
class Means:
    """What a bot's workers are started and told with."""

    makes: MakesWorkers
    settings: Callable[[], BotSettings]
    configure: Callable[[], Configure]
    output: Output
    make_executor: Callable[[ConnectedWorker], WorkerExecutor]
    emit: Callable[..., None]
    is_paused: Callable[[], bool]
    oom: OomKills


@dataclass(frozen=True, slots=True)
class Ended:
    """How a life went.

    Attributes:
        exit: how the process ended; None when it could not be started.
        lived: seconds from its start.
        why: what it was asked to end for; None when it was not, and crashed.
        unfit: it said that it can never work like this.
        oom: whether the kernel killed it for want of memory; None is not known.
    """

    exit: Exit | None
    lived: float
    why: str | None
    unfit: Unfit | None = None
    oom: bool | None = False


class _UnwantedError(Exception):
    """A process is not wanted any more that was not made yet."""


class WorkerSession:
    """One worker process; :meth:`run` once.

    Attributes:
        worker: while the process runs.
        is_ready: its handler is imported and started.
        code: a fingerprint of its handler's module, once it is ready.
        why: what it was asked to end for.
    """

    def __init__(
        self,
        means: Means,
        idle_stop: Callable[[], float | None],
        when_ready: Callable[[WorkerSession], None] = lambda _: None,
        *,
        quarantine: bool = False,
    ) -> None:
        """`idle_stop`: seconds without work after which it sleeps; None is never. `when_ready`: hears when
        it is."""
        self.worker: ConnectedWorker | None = None
        self.is_ready = False
        self.code: str | None = None
        self.why: str | None = None
        self._means = means
        self._idle_stop = idle_stop
        self._when_ready = when_ready
        self._quarantine = quarantine or None
        self._executor: WorkerExecutor | None = None
        self._making, self._starting = trio.CancelScope(), trio.CancelScope()
        self._working = trio.CancelScope()
        self._oom_kills: int | None = None  # when it was last known to live

    @property
    def idle_since(self) -> float:
        """Since when it has had nothing to do, trio time; infinite while it has."""
        return math.inf if self._executor is None else self._executor.idle_since

    @property
    def held_for(self) -> float:
        """Seconds for which it has had the oldest of what it has in flight."""
        return 0.0 if self._executor is None else self._executor.held_for

    def end(self, why: str) -> None:
        """Let it finish what it has, and end; `run` returns then."""
        self.why = self.why or why
        self._making.cancel()
        self._starting.cancel()
        if self._executor is not None:
            self._executor.drain()
            timeout = self._means.settings().handler_timeout
            self._working.deadline = min(self._working.deadline, trio.current_time() + timeout + DRAIN_SLACK)

    async def run(self) -> Ended:
        """Live; cancelling it ends the process's group."""
        self._emit("worker.starting")
        began = trio.current_time()
        self._oom_kills = self._means.oom.seen()
        exit_: Exit | None = None
        unfit: Unfit | None = None
        oom: bool | None = False
        try:
            async with open_worker(self._make, self._means.configure(), self._means.output) as worker:
                self.worker = worker
                try:
                    unfit = await self._start(worker)
                    if self.is_ready:
                        await self._work(worker)
                finally:
                    self.worker = None
                exit_ = await worker.end()
                if exit_.signal == "SIGKILL" and not worker.killed:
                    oom = self._means.oom.explain(self._oom_kills)
        except _UnwantedError:
            self._emit("worker.exited", how="it was not started any more")
        except OSError as error:
            self._emit("worker.exited", level="error", reason=f"could not be started: {error.strerror}")
        else:
            wanted = self.why is not None or unfit is not None
            self._emit("worker.exited", level="info" if wanted else "warn", how=str(exit_), oom=oom or None)
        return Ended(exit_, trio.current_time() - began, self.why, unfit, oom)

    async def _make(self, channel: int, output: int) -> WorkerProcess:
        """Have the process made, unless it is asked to end before its turn has come.

        Raises:
            _UnwantedError: it was.
        """
        with self._making:
            return await self._means.makes.start(channel, output)
        raise _UnwantedError

    async def _start(self, worker: ConnectedWorker) -> Unfit | None:
        """Wait for its first word."""
        word: Ready | Unfit | None = None
        self._starting.deadline = trio.current_time() + START_TIMEOUT
        with self._starting:
            try:
                word = await worker.first_word()
            except FrameError as error:
                self._emit("worker.refused", reason=str(error))
        if self._starting.cancelled_caught and self.why is None:
            self._emit("worker.refused", reason=f"not ready within {START_TIMEOUT:g} s")
        if isinstance(word, Ready):
            self.code = word.code
            worker.heartbeat_at = trio.current_time()
            self._emit("worker.ready", pid=worker.pid, code=word.code)
            self.is_ready = True
            self._when_ready(self)
        return word if isinstance(word, Unfit) else None

    async def _work(self, worker: ConnectedWorker) -> None:
        self._executor = executor = self._means.make_executor(worker)
        if self.why is not None:
            self.end(self.why)  # it was ready in the same moment: this is bounded as any other end
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, worker, executor)
                with self._working:
                    await executor.run()
                nursery.cancel_scope.cancel()
        finally:
            self._executor = None

    async def _watch(self, worker: ConnectedWorker, executor: WorkerExecutor) -> None:
        """Notice that it hangs, has grown too large, or has nothing to do."""
        pinged_at = math.inf
        while True:
            settings, idle_stop = self._means.settings(), self._idle_stop()
            pauses = [settings.heartbeat_interval, settings.hang_timeout / 4]
            pauses += [idle_stop / 4] if idle_stop is not None else []
            pauses += [PING_TIMEOUT / 4] if pinged_at < math.inf else []
            await trio.sleep(min(pauses))
            now = trio.current_time()
            heard_at = worker.heartbeat_at or now
            if pinged_at <= heard_at:
                pinged_at = math.inf
            if now - heard_at < min(pauses):
                self._oom_kills = self._means.oom.seen()
            if now - heard_at > settings.hang_timeout or now - pinged_at > PING_TIMEOUT:
                await self._end_hung(worker, now - heard_at)
            elif pinged_at == math.inf and executor.held_for > settings.handler_timeout + OVERDUE:
                worker.send(Ping())
                pinged_at = now
            if self.why is not None:
                continue
            if worker.memory > settings.memory_limit:
                self._emit("worker.recycled", memory=worker.memory, limit=settings.memory_limit)
                self.end("recycled")
            elif idle_stop is not None and now - executor.idle_since >= idle_stop:
                self.end("sleeping")

    async def _end_hung(self, worker: ConnectedWorker, silent: float) -> None:
        self._emit("worker.hung", silent=round(silent, 1))
        worker.dump_stacks()
        await trio.sleep(STACKS_TIME)
        worker.kill()
        await trio.sleep_forever()  # the channel ends with the process

    def _emit(self, event: str, **fields: object) -> None:
        self._means.emit(event, quarantine=self._quarantine, **fields)
