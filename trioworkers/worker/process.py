"""A worker process: take deliveries from the channel, run the handler, send outcomes back.

The channel is the lifeline: at its end of file the daemon is gone, and the worker ends itself with
whatever it was doing; the updates in flight are in the inbox and come again. One whose loop is held up does
not see it, and is ended from outside (:mod:`trioworkers.worker.zygote`).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, NoReturn

import trio

from trioworkers.awake import AwakeClock
from trioworkers.botapi.client import BotApi
from trioworkers.botapi.meter import CallMeter
from trioworkers.botapi.server import Server
from trioworkers.errors import describe
from trioworkers.handling.bot import Bot, Handling
from trioworkers.handling.calls import Calls
from trioworkers.handling.failure import failure_fields
from trioworkers.handling.fence import HandlingFence, close_all
from trioworkers.handling.handle import handle
from trioworkers.handling.log import BotLog
from trioworkers.handling.update import Update
from trioworkers.lease_page import LeaseGate
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import (
    MOST_COUNTS,
    WORDS_LENGTH,
    Answer,
    CallCount,
    Configure,
    Deliver,
    Drain,
    Fence,
    Fenced,
    FrameError,
    Go,
    Heartbeat,
    Outcome,
    Ping,
    Ready,
    Retune,
    Standing,
    ToWorker,
    Unfit,
    cut,
)
from trioworkers.starved import EXIT_STARVED, is_starved
from trioworkers.worker.asks import Asks
from trioworkers.worker.background import Background
from trioworkers.worker.code_reports import report_code
from trioworkers.worker.failures import Failures
from trioworkers.worker.handler import Handler, HandlerError, import_handler
from trioworkers.worker.held_calls import hold_calls
from trioworkers.worker.memory import Memory
from trioworkers.worker.own_process import arrange_process
from trioworkers.worker.recorder import FrameRecorder
from trioworkers.worker.std_logging import handled, hear_logging
from trioworkers.worker.turns import FrameTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import msgspec

    from trioworkers.worker.held_calls import HeldCalls
    from trioworkers.worker.plugins import WorkerPlugins


ADVICE = "tasks that bot.background begins report what they raise"
EXIT_UNFIT = 78  # EX_CONFIG of sysexits.h: it would not go better a second time
CALLS_AT_ONCE = 4  # connections for each chat that is handled at the same time
START_TIMEOUT = 60.0  # seconds for `start`; the daemon waits no longer for all of it
TICK = 5.0  # seconds of the loop's longest sleep, see trioworkers.awake; each wakes a thousand workers


def work(descriptor: int, *, forked: bool = False) -> int:
    """Be a worker on the socket that the daemon left at `descriptor`; return the exit code.

    `forked`: as for :func:`trioworkers.worker.own_process.arrange_process`.
    """
    os.set_inheritable(descriptor, False)  # what a handler starts must not keep the channel open
    arrange_process(forked=forked)
    clock = AwakeClock(tick=TICK, counts_steps=True)
    try:
        return trio.run(serve_worker, socket.socket(fileno=descriptor), clock=clock)
    except trio.TrioInternalError as error:
        if error.__cause__ is None:
            raise
        where = describe(error.__cause__)  # Trio's words speak of a bug in Trio, and quote what was raised
        sys.stderr.write(f"a system task that the handler began ended the worker: {where}; {ADVICE}\n")
        return 1
    except Exception as error:
        if not is_starved(error):
            raise
        sys.excepthook(*sys.exc_info())
        return EXIT_STARVED


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
    if first.program is not None:
        from trioworkers.worker.program import serve_program

        return await serve_program(first.program, first.tuning, channel, others)
    if first.plugins:  # here, as it brings pluggy with it; and before the bot's own modules can be found
        from trioworkers.worker.plugins import WorkerPlugins
    log = BotLog(first.tuning.log_level, bot=first.name)
    hear_logging(log)
    debugger = None
    if first.console is not None:
        from trioworkers.worker.debugger import Debugger  # only here: it brings pdb with it

        debugger = Debugger(first.console, log, first.name)
        debugger.install()
    try:
        handler = import_handler(first.handler, first.python_path)
    except HandlerError as error:
        if error.starved:
            log.error("no room for the handler", error=str(error))
            return EXIT_STARVED
        if first.tells_code:
            report_code(channel, error.loaded, error.missing)
        channel.send(Unfit("handler cannot be imported", cut(str(error), WORDS_LENGTH)))
        await channel.flush()
        return EXIT_UNFIT
    if first.tells_code:
        report_code(channel, handler.loaded)
    if debugger is not None:
        handler = debugger.around(handler)
    plugins = None
    if first.plugins:
        plugins = WorkerPlugins(first.plugins, log)
    connections = CALLS_AT_ONCE * first.concurrency
    meter = CallMeter() if first.counts_calls else None
    server = Server(first.api_base, first.proxy, first.is_test, first.local_files)
    async with BotApi(server, first.token, connections=connections, meter=meter) as api:
        worker = Worker(first, handler, channel, api, meter, plugins)
        hear_logging(worker.log)
        api.turns = worker.turns
        api.gate = LeaseGate(first.lease).wait if first.lease else None
        return await worker.run(others)


class Worker:
    """One bot's handler at work.

    Attributes:
        turns: where its messages wait for their turn.
        log: the bot's log, with the settings in force.
    """

    def __init__(
        self,
        configure: Configure,
        handler: Handler,
        channel: Channel,
        api: BotApi,
        meter: CallMeter | None = None,
        plugins: WorkerPlugins | None = None,
    ) -> None:
        self._plugins = plugins
        self._surrounding = plugins if plugins is not None and plugins.surround_handlings else None
        self._name, self._bot_id = configure.name, configure.bot_id
        self._tuning = configure.tuning
        self._memory = Memory()
        self._handler = handler
        self._channel = channel
        self._api = api
        self.turns = FrameTurns(channel, configure.tuning.takes_turns)
        self._meter = meter
        self.log = BotLog(configure.tuning.log_level, bot=configure.name)
        self._is_started, self._is_drained = trio.Event(), trio.Event()
        self._in_flight: dict[int, HandlingFence] = {}
        self._asks = Asks(channel)
        self._background = Background(self._bot, channel, self._ask_later)
        self._failures = Failures()
        self._exit_code = 1  # when it did not start
        self._start_limit = START_TIMEOUT if configure.console is None else inf
        self._marks = configure.marks

    @cached_property
    def _held(self) -> HeldCalls | None:
        """Where calls are marked, in a file that is made with the first update: many workers get none."""
        return hold_calls(self._marks)

    async def run(self, frames: list[ToWorker]) -> int:
        """Work until drained; return the exit code. `frames` came with the first one."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._channel.serve_writes)
            async with trio.open_nursery() as background:
                self._background.serve_in(background)
                async with trio.open_nursery() as handlings:
                    nursery.start_soon(self._listen, frames, handlings)
                    if self._plugins is not None:
                        await self._plugins.start(self._bot())
                    if started := await self._around(self._handler.start, self._start_limit):
                        self._is_started.set()
                        has_start = self._handler.start is not None or self._plugins is not None
                        self._channel.send(Ready(self._handler.code, has_start))
                        nursery.start_soon(self._beat)
                        await self._is_drained.wait()
                    else:
                        self._is_drained.set()  # nothing is begun any more
                        handlings.cancel_scope.cancel()
                background.cancel_scope.cancel()
            if started:
                await self._around(self._handler.stop, self._tuning.handler_timeout)
                if self._plugins is not None:
                    await self._plugins.stop(self._bot())
                if self._meter is not None and self._meter.requests:
                    self._channel.send(self._heartbeat(self._memory.last))
                await self._channel.flush()
            nursery.cancel_scope.cancel()
        return 0 if started else self._exit_code

    async def _listen(self, frames: list[ToWorker], handlings: trio.Nursery) -> None:
        """Read the channel for the worker's whole life: at its end, or at garbage, the worker ends.

        Handlings begin in the turn of the loop in which their updates came, without a task in between.
        """
        while True:
            for frame in frames:
                if not self._is_drained.is_set() or isinstance(
                    frame, Answer | Go
                ):  # all that follows a drain
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
            self._in_flight[frame.delivery] = HandlingFence()
            handlings.start_soon(self._handle, frame)
        elif isinstance(frame, Answer):
            self._asks.take_in(frame)
        elif isinstance(frame, Go):
            self.turns.take_in(frame)
        elif isinstance(frame, Fence):
            fences = [self._in_flight[one] for one in frame.deliveries if one in self._in_flight]
            for fence in fences:
                fence.close()  # in this turn of the loop, before what begins in it
            handlings.start_soon(self._close, fences, frame.number)
        elif isinstance(frame, Ping):
            if self._is_started.is_set():  # before, it says that soon enough
                self._channel.send(Heartbeat(self._memory.last))
        elif isinstance(frame, Retune):
            changed = frame.settings != self._tuning.settings
            self._tuning = frame
            self.log = BotLog(frame.log_level, bot=self._name)
            hear_logging(self.log)
            self.turns.is_on = frame.takes_turns
            self._background.retune(frame.settings, self.log)
            if self._plugins is not None:
                self._plugins.retune(frame.plugin_settings, self.log)
            if changed:
                handlings.start_soon(self._emit_changed, frame.handler_timeout)
        elif isinstance(frame, Drain):
            self._is_drained.set()

    async def _handle(self, frame: Deliver) -> None:
        seen: tuple[Bot, Update] | None = None
        update: Update | None = None

        async def run(handling: Handling) -> None:
            nonlocal seen, update
            update = Update(
                bytes(frame.update),
                bot_id=self._bot_id,
                attempt=frame.attempt,
                after_gap=frame.after_gap,
                head=frame.head,
            )
            if frame.key is not None:
                update.key = frame.key
            if frame.parts is not None:
                update.join([bytes(part) for part in frame.parts])
            handled.set(update)
            bot = self._bot(handling, update)
            if self._surrounding is not None:
                seen = bot, update
                await self._surrounding.before(bot, update)
            await self._handler.handle(update, bot)

        def failed(outcome: Outcome, error: BaseException) -> None:
            log = self.log if update is None else self.log.about(update)
            self._failures.write(log, outcome, error, frame.attempt)

        fence = self._in_flight[frame.delivery]
        recorder = FrameRecorder(frame, self._channel, self._is_alone, self._held)
        calls = None if frame.calls is None else Calls(frame.calls, recorder)
        try:
            limit = self._tuning.handler_timeout
            outcome = await handle(run, calls, limit, frame.delivery, fence, failed)
            if outcome.result != "done":
                recorder.report()
            elif (call := recorder.take_back()) is not None:
                outcome = Outcome(outcome.delivery, "done", unmade=outcome.unmade, call=call)
            if self._surrounding is not None and seen is not None and outcome.result != "fenced":
                with trio.CancelScope() as scope:
                    fence.guard(scope)
                    await self._surrounding.after(*seen, outcome.result)
        finally:
            del self._in_flight[frame.delivery]
        self._channel.send(outcome)
        recorder.close()
        fence.ended()
        self._memory.tidy()

    async def _close(self, fences: list[HandlingFence], number: int) -> None:
        """Cut handlings off, and answer once they have ended; their outcomes are sent by then."""
        await close_all(fences)
        self._channel.send(Fenced(number))

    def _is_alone(self) -> bool:
        return len(self._in_flight) == 1

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
                handling = Handling(scope)
                handling.background = self._background.begin
                if not self._is_started.is_set():  # the daemon's patience ends as early as ours
                    handling.on_stand = self._stand
                await function(self._bot(handling))
        except (Exception, SystemExit) as error:  # SystemExit would end the worker, and nobody knew why
            self.log.error(f"{name} failed", **failure_fields(error))
            self._exit_code = EXIT_STARVED if is_starved(error) else 1
            return False
        if scope.cancelled_caught:
            self.log.error(f"{name} failed", error=f"took longer than {limit:g} s")
        return not scope.cancelled_caught

    async def _ask_later(self, name: str, params: bytes) -> msgspec.Raw:
        await self._is_started.wait()  # the daemon listens from then on
        return await self._asks.ask(name, params)

    def _stand(self, is_on: bool) -> None:
        self._channel.send(Standing(is_on))

    async def _beat(self) -> None:
        lag = 0.0
        while True:
            memory = self._memory.share(self._tuning.memory_check_interval)
            self._channel.send(self._heartbeat(memory, lag))
            due = trio.current_time() + self._tuning.heartbeat_interval
            await trio.sleep_until(due)
            lag = trio.current_time() - due

    def _heartbeat(self, memory: int, lag: float = 0.0) -> Heartbeat:
        hooks = [] if self._plugins is None else self._plugins.take_counts()
        rows, waited = ((), 0.0) if self._meter is None else self._meter.take(MOST_COUNTS)
        return Heartbeat(memory, lag, [CallCount(*row) for row in rows], waited, hooks)

    def _bot(self, handling: Handling | None = None, update: Update | None = None) -> Bot:
        if handling is not None and self._is_started.is_set():  # the daemon listens from then on
            handling.asks = self._asks.ask
        log = self.log if update is None else self.log.about(update)
        return Bot(self._name, self._bot_id, self._tuning.settings, log, self._api, handling)
