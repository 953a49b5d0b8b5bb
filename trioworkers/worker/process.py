"""A worker process: take deliveries from the channel, run the handler, send outcomes back.

The channel is the lifeline: at its end of file the daemon is gone, and the worker ends itself with
whatever it was doing; the updates in flight are in the inbox and come again. One whose loop is held up does
not see it, and is ended from outside (:mod:`trioworkers.worker.zygote`).
"""

from __future__ import annotations

import faulthandler
import gc
import math
import os
import resource
import signal
import socket
from typing import TYPE_CHECKING, NoReturn

import trio

from trioworkers.botapi.client import BotApi
from trioworkers.errors import describe
from trioworkers.handling.bot import Bot, Handling
from trioworkers.handling.calls import Calls
from trioworkers.handling.handle import handle
from trioworkers.handling.log import BotLog
from trioworkers.handling.update import Update
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import (
    WORDS_LENGTH,
    Configure,
    Deliver,
    Drain,
    FrameError,
    Heartbeat,
    Ping,
    Ready,
    Retune,
    ToWorker,
    Unfit,
    cut,
)
from trioworkers.worker.handler import Handler, HandlerError, import_handler
from trioworkers.worker.recorder import FrameRecorder
from trioworkers.worker.remains import WORKER, call_this_process

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


EXIT_UNFIT = 78  # EX_CONFIG of sysexits.h: it would not go better a second time
CALLS_AT_ONCE = 4  # connections for each chat that is handled at the same time
SLACK = 8 * 2**20  # bytes that a worker may gain unseen
START_TIMEOUT = 60.0  # seconds for `start`; the daemon waits no longer for all of it
# objects, then collections, until each generation is looked through: more than what some handlings have at
# a time, which is no garbage; a few objects may hold much, so it is collected after `GROWN` bytes, too
COLLECT = (5_000, 20, 20)
GROWN = 32 * 2**20  # bytes
LOOK_EVERY = 0.01  # seconds
REST = 10  # times as long as it took until garbage is collected again: who keeps much would stand still


def work(descriptor: int) -> int:
    """Be a worker on the socket that the daemon left at `descriptor`; return the exit code."""
    os.set_inheritable(descriptor, False)  # what a handler starts must not keep the channel open
    os.environ[WORKER] = str(os.getpid())
    call_this_process("tw-worker")
    faulthandler.register(signal.SIGQUIT, all_threads=True)  # what the daemon asks one that hangs for
    gc.set_threshold(*COLLECT)
    return trio.run(serve_worker, socket.socket(fileno=descriptor))


def end_group() -> NoReturn:
    """End this process and all that it started: there is nobody left to report to."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise SystemExit(1)  # not reached


async def serve_worker(end: socket.socket) -> int:
    """Be a worker on the socket `end`, which stays the caller's to close; return the exit code."""
    channel = Channel(end, ToWorker)
    try:
        first, *others = await channel.receive() or [None]
    except FrameError:
        end_group()
    if not isinstance(first, Configure):
        end_group()
    try:
        handler = import_handler(first.handler, first.python_path)
    except HandlerError as error:
        channel.send(Unfit("handler cannot be imported", cut(str(error), WORDS_LENGTH)))
        await channel.flush()
        return EXIT_UNFIT
    connections = CALLS_AT_ONCE * first.concurrency
    async with BotApi(first.api_base, first.token, connections=connections) as api:
        return await Worker(first, handler, channel, api).run(others)


class Worker:
    """One bot's handler at work."""

    def __init__(self, configure: Configure, handler: Handler, channel: Channel, api: BotApi) -> None:
        self._name, self._bot_id = configure.name, configure.bot_id
        self._tuning = configure.tuning
        self._memory = Memory()
        self._handler = handler
        self._channel = channel
        self._api = api
        self._log = BotLog(configure.tuning.log_level, bot=configure.name)
        self._is_started, self._is_drained = trio.Event(), trio.Event()
        self._in_flight = 0

    async def run(self, frames: list[ToWorker]) -> int:
        """Work until drained; return the exit code. `frames` came with the first one."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._channel.serve_writes)
            async with trio.open_nursery() as handlings:
                nursery.start_soon(self._listen, frames, handlings)
                if started := await self._around(self._handler.start, START_TIMEOUT):
                    self._is_started.set()
                    self._channel.send(Ready(self._handler.code))
                    nursery.start_soon(self._beat)
                    await self._is_drained.wait()
                else:
                    self._is_drained.set()  # nothing is begun any more
                    handlings.cancel_scope.cancel()
            if started:
                await self._around(self._handler.stop, self._tuning.handler_timeout)
                await self._channel.flush()
            nursery.cancel_scope.cancel()
        return 0 if started else 1

    async def _listen(self, frames: list[ToWorker], handlings: trio.Nursery) -> None:
        """Read the channel for the worker's whole life: at its end, or at garbage, the worker ends.

        Handlings begin in the turn of the loop in which their updates came, without a task in between.
        """
        while True:
            for frame in frames:
                if not self._is_drained.is_set():  # nothing follows a drain
                    self._obey(frame, handlings)
            try:
                frames = await self._channel.receive()
            except FrameError:
                frames = []
            if not frames:
                end_group()

    def _obey(self, frame: ToWorker, handlings: trio.Nursery) -> None:
        """Do what a frame says."""
        if isinstance(frame, Deliver):
            handlings.start_soon(self._handle, frame)
        elif isinstance(frame, Ping):
            if self._is_started.is_set():  # before, it says that soon enough
                self._channel.send(Heartbeat(self._memory.last))
        elif isinstance(frame, Retune):
            changed = frame.settings != self._tuning.settings
            self._tuning = frame
            self._log = BotLog(frame.log_level, bot=self._name)
            if changed:
                handlings.start_soon(self._emit_changed, frame.handler_timeout)
        elif isinstance(frame, Drain):
            self._is_drained.set()

    async def _handle(self, frame: Deliver) -> None:
        async def run(handling: Handling) -> None:
            update = Update(
                bytes(frame.update),
                bot_id=self._bot_id,
                attempt=frame.attempt,
                after_gap=frame.after_gap,
                trace_id=frame.trace_id,
            )
            await self._handler.handle(update, self._bot(handling, trace_id=frame.trace_id))

        self._in_flight += 1
        recorder = FrameRecorder(frame.delivery, self._channel, self._is_alone)
        calls = None if frame.calls is None else Calls(frame.calls, recorder)
        try:
            outcome = await handle(run, calls, self._tuning.handler_timeout, frame.delivery)
        finally:
            self._in_flight -= 1
        if outcome.result == "done":
            recorder.take_back()
        self._channel.send(outcome)
        self._memory.tidy()

    def _is_alone(self) -> bool:
        return self._in_flight == 1

    async def _emit_changed(self, limit: float) -> None:
        """Run `settings_changed`, once `start` is over."""
        await self._is_started.wait()
        await self._around(self._handler.settings_changed, limit)

    async def _around(self, function: Callable[[Bot], Awaitable[None]] | None, limit: float) -> bool:
        """Run `start`, `stop` or `settings_changed`; False when it failed, which is logged."""
        if function is None:
            return True
        name = getattr(function, "__name__", "function")
        try:
            with trio.CancelScope(deadline=trio.current_time() + limit) as scope:
                await function(self._bot(Handling(scope)))
        except Exception as error:
            self._log.error(f"{name} failed", error=describe(error))
            return False
        if scope.cancelled_caught:
            self._log.error(f"{name} failed", error=f"took longer than {limit:g} s")
        return not scope.cancelled_caught

    async def _beat(self) -> None:
        lag = 0.0
        while True:
            memory = self._memory.share(self._tuning.memory_check_interval)
            self._channel.send(Heartbeat(memory, lag))
            due = trio.current_time() + self._tuning.heartbeat_interval
            await trio.sleep_until(due)
            lag = trio.current_time() - due

    def _bot(self, handling: Handling | None = None, **fields: str) -> Bot:
        log = self._log.bind(**fields) if fields else self._log
        return Bot(self._name, self._bot_id, self._tuning.settings, log, self._api, handling)


class Memory:
    """This process's proportional share of memory (PSS), measured now and then.

    RSS would count pages that forked workers share once for each of them. The kernel adds up PSS page by
    page, 3 ms beside a thousand workers; so it is asked only when the process can have grown by more than
    `SLACK`: each page that it gains costs it a page fault, and these the kernel counts anyway. Before that
    is so for the first time, the pages that it has touched are its share.
    """

    def __init__(self) -> None:
        self.last = 0
        self._next_at = self._tidy_at = -math.inf
        self._measured_at = 0  # page faults
        self._tidied_at = _page_faults()

    def tidy(self) -> None:
        """Collect garbage where the process has grown much since it was done last; cheap to call often.

        Python counts objects: a picture in a frame that an exception refers to is a few of them.
        """
        now = trio.current_time()
        if now < self._tidy_at:
            return
        self._tidy_at = now + LOOK_EVERY
        faults = _page_faults()
        if (faults - self._tidied_at) * resource.getpagesize() > GROWN:
            self._tidied_at = faults
            gc.collect()
            after = trio.current_time()
            self._tidy_at = after + REST * (after - now)

    def share(self, interval: float) -> int:
        """The share in bytes, as it was at most `interval` seconds ago, or up to `SLACK` less; 0 where the
        kernel does not tell."""
        now = trio.current_time()
        if now >= self._next_at:
            self._next_at = now + interval
            faults = _page_faults()
            gained = (faults - self._measured_at) * resource.getpagesize()
            if gained > SLACK:
                self.last, self._measured_at = _proportional_share(), faults
            elif not self._measured_at:
                self.last = gained
        return self.last


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _proportional_share() -> int:
    try:
        with open("/proc/self/smaps_rollup", "rb") as rollup:
            for line in rollup:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
