"""One worker session: a process that is started, gets ready, works, is watched, and ends for a known reason.

To be alive, to be responsive and to make progress are three facts. When the process ends, it is not alive.
When its loop is silent for `hang_timeout`, or does not answer a ping while an update is overdue, it is not
responsive: it is killed after it has written its stacks to its log. When updates take long, no progress is
made; that is the handlers' matter as long as the loop answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from trioworkers.nursery.ended import Ended
from trioworkers.nursery.memory_need import MemoryNeed
from trioworkers.nursery.spawn import Exit
from trioworkers.nursery.start_limit import StartLimit
from trioworkers.nursery.task_reports import TaskReports
from trioworkers.nursery.turns import WorkerTurns
from trioworkers.nursery.worker import START_TIMEOUT, ConnectedWorker, open_worker
from trioworkers.protocol.frames import FrameError, Ping, Ready, Unfit
from trioworkers.shortage import words_of
from trioworkers.starved import EXIT_STARVED, is_starved

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trioworkers.config import BotSettings
    from trioworkers.figures import Figures
    from trioworkers.nursery.oom import OomKills
    from trioworkers.nursery.output import Output
    from trioworkers.nursery.spawn import MakesWorkers, WorkerProcess
    from trioworkers.protocol.frames import CodeLoaded, Configure
    from trioworkers.ratelimit.pace import BotPace

DRAIN_SLACK = 10.0  # seconds beyond its handler_timeout that a worker has to end its work
OVERDUE = 10.0  # seconds beyond its handler_timeout after which an update counts as overdue
PING_TIMEOUT = 10.0  # seconds for the answer
STACKS_TIME = 0.5  # seconds for a hung worker to write its stacks
FENCE_TIMEOUT = 5.0  # seconds for a worker to cut handlings off; it waits three for their requests


class SessionExecutor(Protocol):
    """Feeds one worker, from when it is ready until its channel ends."""

    @property
    def idle_since(self) -> float:
        """Since when the worker has had nothing in flight, trio time; infinite while it has."""

    @property
    def held_for(self) -> float:
        """Seconds for which the worker has had the oldest update in flight; 0 when there is none."""

    @property
    def taken(self) -> int:
        """How many updates the worker was given."""

    def fence(self, chat_id: int, done: Callable[[], None]) -> bool:
        """Cut off all that the worker has in flight of a chat; False when there is nothing.

        Else `done` is called once no call of it can be made any more, unless the worker ends before.
        """

    def drain(self) -> None:
        """Hand out nothing more; once nothing is in flight, ask the worker to exit."""

    async def run(self) -> None:
        """Work until the worker has closed its channel, or has sent something that is not a valid frame."""


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What the sessions of one bot need of the bot and the daemon around them."""

    makes: MakesWorkers
    settings: Callable[[], BotSettings]
    """Returns the settings in force."""
    configure: Callable[[], Configure]
    """Makes a worker's first frame of them."""
    output: Output
    make_executor: Callable[[ConnectedWorker], SessionExecutor]
    emit: Callable[..., None]
    oom: OomKills
    figures: Figures | None = None
    """Counts ends; None: nobody wants them."""
    pace: BotPace | None = None
    """The bot's turns to send; None: nobody limits these."""
    on_code: Callable[[float, CodeLoaded], None] | None = None
    """Told when a worker was started (trio time), and the files of its code; None: nobody watches them."""
    has_limits: bool = True
    """Whether a worker that starts too slowly, or answers a fence too slowly, is killed."""
    need: MemoryNeed = field(default_factory=MemoryNeed)
    """How much memory the bot's workers need."""
    first_word: Callable[[ConnectedWorker], Awaitable[Ready | Unfit | None]] = ConnectedWorker.first_word
    """Waits until a worker says that it is ready, as :meth:`ConnectedWorker.first_word`."""


@dataclass(frozen=True, slots=True)
class SessionKind:
    """What tells one kind of session from another.

    Attributes:
        is_quarantine: its events say so.
        idle_stop: seconds without work after which its worker sleeps; None is as the bot's settings say.
        is_told: what happens in it is emitted as events.
    """

    is_quarantine: bool = False
    idle_stop: float | None = None
    is_told: bool = True


ORDINARY = SessionKind()


class Session(Protocol):
    """The part of a session that its starter uses; see :class:`WorkerSession`."""

    @property
    def worker(self) -> ConnectedWorker | None: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def why(self) -> str | None: ...
    @property
    def idle_since(self) -> float: ...
    @property
    def held_for(self) -> float: ...
    def end(self, why: str) -> None: ...
    async def fence(self, chat_id: int, epoch: int) -> None: ...
    async def run(self) -> Ended: ...


class MakesSessions(Protocol):
    """Makes sessions; :class:`WorkerSession` itself is what does outside of tests."""

    def __call__(
        self, context: SessionContext, kind: SessionKind, on_ready: Callable[[str | None], None] | None = None
    ) -> Session: ...


class _UnwantedError(Exception):
    """The session was asked to end before its process was made."""


class WorkerSession:
    """One worker process; :meth:`run` it once.

    Args:
        on_ready: called with the fingerprint of the bot's code in the moment when the worker is ready.

    Attributes:
        worker: the worker while its process runs.
        is_ready: the handler was imported and started.
        why: what the session was asked to end for.
    """

    def __init__(
        self, context: SessionContext, kind: SessionKind, on_ready: Callable[[str | None], None] | None = None
    ) -> None:
        self.worker: ConnectedWorker | None = None
        self.is_ready = False
        self.why: str | None = None
        self._context = context
        self._kind = kind
        self._on_ready = on_ready
        self._executor: SessionExecutor | None = None
        self._making = trio.CancelScope()
        self._starting = StartLimit(START_TIMEOUT if context.has_limits else math.inf)
        self._working = trio.CancelScope()
        self._problem: str | None = None
        self._error: Exception | None = None  # that a request to end led to
        self._oom_kills: int | None = None  # when the process was last known to live
        self._emit: Callable[..., None] = lambda *_, **__: None
        if kind.is_told:
            self._emit = partial(context.emit, quarantine=kind.is_quarantine or None)
        self._task_reports = TaskReports(self._emit)  # no method of this one: that would be a cycle
        self._gone = trio.Event()  # the process, and its whole group
        self._has_worked = self._hung = self._starved = False

    @property
    def idle_since(self) -> float:
        """Since when the worker has had nothing to do, trio time; infinite while it has or is not ready."""
        return math.inf if self._executor is None else self._executor.idle_since

    @property
    def held_for(self) -> float:
        """Seconds for which the worker has had the oldest update in flight."""
        return 0.0 if self._executor is None else self._executor.held_for

    def end(self, why: str) -> None:
        """Let the worker finish what it has, and end; `run` returns then. The first reason stands.

        The caller may be another bot, which wants the slot: an error that this leads to is raised by `run`.
        """
        self.why = self.why or why
        self._making.cancel()
        self._starting.scope.cancel()
        if self._executor is not None:
            try:
                self._executor.drain()
            except Exception as error:
                self._error = error
                self._working.cancel()
            timeout = self._context.settings().handler_timeout
            self._working.deadline = min(self._working.deadline, trio.current_time() + timeout + DRAIN_SLACK)

    async def fence(self, chat_id: int, epoch: int) -> None:
        """Return once no handling that the worker has of a chat can make a call any more.

        What it has of the chat is cut off, and put back. A worker that does not answer in `FENCE_TIMEOUT`
        seconds is killed. The end of a process counts as an answer, and the end of the channel does not: the
        handlers of a worker that closed it may live on for a moment.

        Args:
            chat_id: the chat; all threads of a forum are meant.
            epoch: the caller's own number of the take-over, for events.
        """
        executor, worker = self._executor, self.worker
        if executor is None or worker is None:
            if self._has_worked:
                await self._gone.wait()
            return
        answered = trio.Event()
        if not executor.fence(chat_id, answered.set):
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_when_gone, nursery.cancel_scope)
            with trio.move_on_after(FENCE_TIMEOUT if self._context.has_limits else math.inf) as limit:
                await answered.wait()
            if limit.cancelled_caught:
                await self._end_hung(worker, f"{self._context.settings().name}/{chat_id}", epoch)
            nursery.cancel_scope.cancel()

    async def _cancel_when_gone(self, scope: trio.CancelScope) -> None:
        await self._gone.wait()
        scope.cancel()

    async def run(self) -> Ended:
        """Run the session; cancelling it ends the process's group."""
        try:
            return await self._run()
        finally:
            self._gone.set()

    async def _run(self) -> Ended:
        context = self._context
        self._emit("worker.starting")
        began = trio.current_time()
        self._oom_kills = context.oom.seen()
        exit_: Exit | None = None
        unfit: Unfit | None = None
        oom: bool | None = False
        tail: Sequence[str] = ()
        try:
            async with open_worker(self._make, context.configure(), context.output) as worker:
                self.worker, tail = worker, worker.last_lines
                if context.pace is not None:
                    worker.turns = WorkerTurns(context.pace, worker.send)
                if context.on_code is not None:
                    worker.on_code = partial(context.on_code, worker.started_at)
                worker.on_stand, worker.on_failed_task = self._starting.stand, self._task_reports.report
                try:
                    unfit = await self._start(worker)
                    if self.is_ready:
                        await self._work(worker)
                finally:
                    self.worker = None
                    if worker.turns is not None:
                        worker.turns.close()
                exit_ = await worker.end()
                if exit_.signal == "SIGKILL" and not worker.killed:
                    oom = context.oom.explain(self._oom_kills)
        except _UnwantedError:
            self._emit("worker.exited", how="it was not started any more")
        except OSError as error:
            self._problem = f"could not be started: {words_of(error)}"
            self._starved = is_starved(error)
            self._emit("worker.exited", level="error", reason=self._problem)
        else:
            wanted = self.why is not None or unfit is not None
            self._emit("worker.exited", level="info" if wanted else "warn", how=str(exit_), oom=oom or None)
        lived = trio.current_time() - began
        starved = self._starved or (exit_ == Exit(EXIT_STARVED) and not self.is_ready)
        ended = Ended(exit_, lived, self.why, unfit, oom, self._problem, self._hung, starved, tuple(tail))
        if context.figures is not None and self._kind.is_told and ended.cause is not None:
            context.figures.exits[ended.cause] += 1
        return ended

    async def _make(self, channel: int, output: int) -> WorkerProcess:
        """Have the process made, unless the session is asked to end before its turn has come.

        Raises:
            _UnwantedError: it was.
        """
        with self._making:
            return await self._context.makes.start(channel, output)
        raise _UnwantedError

    async def _start(self, worker: ConnectedWorker) -> Unfit | None:
        """Wait until the worker says that it is ready, or unfit."""
        word: Ready | Unfit | None = None
        self._starting.begin()
        with self._starting.scope:
            try:
                word = await self._context.first_word(worker)
            except FrameError as error:
                self._problem = str(error)
        if self._starting.scope.cancelled_caught and self.why is None:
            self._problem = f"not ready within {START_TIMEOUT:g} s"
        if self._problem is not None:
            self._emit("worker.refused", reason=self._problem)
        if isinstance(word, Ready):
            worker.heartbeat_at = trio.current_time()
            self._emit("worker.ready", pid=worker.pid, code=word.code)
            self.is_ready = True
            self._context.need.begin(word.code)
            if self._on_ready is not None:
                self._on_ready(word.code)
        return word if isinstance(word, Unfit) else None

    async def _work(self, worker: ConnectedWorker) -> None:
        self._executor = executor = self._context.make_executor(worker)
        self._has_worked = True
        if self.why is not None:
            self.end(self.why)  # it was ready in the same moment: this is bounded as any other end
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, worker, executor)
                with self._working:
                    await executor.run()
                nursery.cancel_scope.cancel()
            if self._error is not None:
                raise self._error
        finally:
            self._executor = None

    async def _watch(self, worker: ConnectedWorker, executor: SessionExecutor) -> None:
        """Notice that the worker hangs, has grown too large, or has nothing to do."""
        pinged_at = math.inf
        while True:
            settings, idle_stop = self._context.settings(), self._idle_stop
            pauses = [settings.heartbeat_interval, settings.hang_timeout / 4]
            pauses += [idle_stop / 4] if idle_stop is not None else []
            pauses += [PING_TIMEOUT / 4] if pinged_at < math.inf else []
            await trio.sleep(min(pauses))
            now = trio.current_time()
            heard_at = worker.heartbeat_at or now
            if pinged_at <= heard_at:
                pinged_at = math.inf
            if now - heard_at < min(pauses):
                self._oom_kills = self._context.oom.seen()
            if now - heard_at > settings.hang_timeout or now - pinged_at > PING_TIMEOUT:
                await self._end_hung(worker)
            elif pinged_at == math.inf and executor.held_for > settings.handler_timeout + OVERDUE:
                worker.send(Ping())
                pinged_at = now
            if self.why is not None:
                continue
            if self._has_grown(worker, executor.taken):
                self.end("recycled")
            elif idle_stop is not None and now - executor.idle_since >= idle_stop:
                self.end("sleeping")

    @property
    def _idle_stop(self) -> float | None:
        """Seconds without work after which the worker sleeps; None is never."""
        if self._kind.idle_stop is not None:
            return self._kind.idle_stop
        settings = self._context.settings()
        return settings.idle_stop if settings.worker == "on_demand" else None

    def _has_grown(self, worker: ConnectedWorker, taken: int) -> bool:
        """Whether the worker has more memory than it may; what is found out by that is emitted."""
        need, limit = self._context.need, self._context.settings().memory_limit
        verdict = need.judge(worker.memory, limit, taken)
        if verdict == "needed":
            self._emit("memory.needed", needs=need.base, limit=limit)
        elif verdict == "grown":
            self._emit("worker.recycled", memory=worker.memory, limit=need.base + limit)
        return verdict == "grown"

    async def _end_hung(
        self, worker: ConnectedWorker, dialog: str | None = None, epoch: int | None = None
    ) -> None:
        """Kill a worker that does not answer, for `dialog` to a fence; it writes its stacks first."""
        silent = round(trio.current_time() - (worker.heartbeat_at or trio.current_time()), 1)
        reason = dialog and "fence not answered"
        self._emit("worker.hung", silent=silent, reason=reason, dialog=dialog, epoch=epoch)
        self._hung = True
        worker.dump_stacks()
        await trio.sleep(STACKS_TIME)
        worker.kill()
        await trio.sleep_forever()  # the channel ends with the process, and whoever waits here is cancelled
