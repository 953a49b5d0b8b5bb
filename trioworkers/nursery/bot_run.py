"""One run of a bot: from claiming its updates to releasing them.

A run's parts live and end together. When something breaks in one of them, the whole run is thrown away,
memory and all; the next one reads what waits from the inbox.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.bot_server import server_of
from trioworkers.breakage import Breakage
from trioworkers.figures import RunFigures
from trioworkers.inbox.gate import Gate
from trioworkers.nursery.asks import BotAsks
from trioworkers.nursery.bot_commands import BotCommands
from trioworkers.nursery.delivery import Activity, Settling
from trioworkers.nursery.fetching import Fetching
from trioworkers.nursery.function_executor import FunctionContext, FunctionExecutor
from trioworkers.nursery.health import health_of
from trioworkers.nursery.intake import BotIntake
from trioworkers.nursery.output import Output
from trioworkers.nursery.quarantine import Quarantine
from trioworkers.nursery.scheduler import Scheduler
from trioworkers.nursery.session import SessionContext
from trioworkers.nursery.start_rate import never
from trioworkers.nursery.supervisor import Supervisor, SupervisorContext
from trioworkers.nursery.worker_executor import WorkerExecutor
from trioworkers.nursery.worker_settings import configuration_of, tuning_of
from trioworkers.ratelimit.pace import OwnTurns

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from trioworkers.botapi.server import Server
    from trioworkers.config import BotSettings
    from trioworkers.logs.files import RotatedFile
    from trioworkers.nursery.bot_context import BotContext
    from trioworkers.nursery.delivery import Run
    from trioworkers.nursery.worker import ConnectedWorker
    from trioworkers.protocol.frames import Configure, Retune


class BotRun:
    """The parts of one run. :meth:`run` once; :meth:`stop_intake` and :meth:`drain` end it in order.

    Args:
        settings: the bot's settings in force.
        context: the daemon around it.
        log: the bot's log file.

    Attributes:
        supervisor: keeps its worker.
    """

    def __init__(self, settings: Callable[[], BotSettings], context: BotContext, log: RotatedFile) -> None:
        bot = settings()
        self._settings = settings
        self._context = context
        self._fault = Breakage()
        self._is_over = self._drains = False
        self._bot_id = bot.bot_id  # the same for all of a run
        touch = partial(context.touched.add, bot.name)
        self._backlog = context.inbox.claim(bot.bot_id, self._fault, touch)
        rng = context.rng
        self._activity = Activity()
        self._pace = None if context.paces is None else context.paces.of(bot.bot_id)
        if self._pace is not None:
            self._pace.fault = self._fault.note
        figures = context.figures
        self._meter = None if figures is None else figures.calls
        self._settling = Settling(
            bot=bot.name,
            backlog=self._backlog,
            settings=settings,
            events=context.events,
            rng=rng,
            clock=time.time,
            activity=self._activity,
            figures=figures,
            count_hooks=context.hooks.count,
            touch=touch,
        )
        route = context.hooks.route(settings)
        self._scheduler = Scheduler(self._settling, self._fault, self._is_paused, route)
        token = bot.token.reveal()
        echo = None if context.echo is None else partial(context.echo, bot.name)
        self._outputs = outputs = Output(log, token, echo), Output(log, token, echo)
        self._rng = rng
        self._asks = BotAsks(bot.name, context.ask)
        self._commands = BotCommands(settings, context, self._settling, self._scheduler, self._fault.note)
        self._executors: trio.Nursery | None = None
        self._functions = None if route is None else self._make_functions()
        ordinary = SessionContext(
            makes=context.makes,
            settings=settings,
            configure=self._configure,
            output=outputs[0],
            make_executor=partial(self._make_executor, alone=False),
            emit=self._emit,
            oom=context.oom,
            figures=figures,
            pace=self._pace,
            has_limits=context.console is None,
            on_code=context.on_code and partial(context.on_code, bot.name),
            first_word=lambda worker: self._fetching.first_word(worker),
        )
        self._need = ordinary.need
        alone = replace(ordinary, output=outputs[1], make_executor=partial(self._make_executor, alone=True))
        self.supervisor = Supervisor(
            ordinary,
            SupervisorContext(
                self._scheduler.work,
                self._is_paused,
                context.slots,
                partial(context.may_start, self._is_wanted),
                rng,
                self._commands.make_session,
                touch,
                lambda: self._commands.is_program,
                lambda: self._fetching.note_proven(),
            ),
        )
        suspects = self._scheduler.suspect_work
        self._quarantine = Quarantine(
            alone, suspects, partial(context.may_start, never), self._has_no_quarantine
        )
        self._unproven = trio.CancelScope()
        gate = Gate(
            bot.name,
            bot.bot_id,
            context.inbox,
            context.events,
            context.hooks.judges(settings),
            lambda: settings().callbacks == "own_lane",
        )
        self._intake = BotIntake(
            self._commands.intake_settings, gate, context.webhooks, self._emit, rng, self._meter
        )
        self._fetching = Fetching(self._intake, settings, lambda: self._server()[0], context, self._emit, rng)
        self._commands.fetches_by(self._fetching.begin_anew, self.nothing_fetched)

    async def run(self) -> None:
        """Run until drained; cancelling it ends the workers' groups and leaves no trace.

        Raises (in groups):
            Exception: something broke in here, or in a callback of its own.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fault.wait_raise)
                nursery.start_soon(self._scheduler.run)
                nursery.start_soon(self._asks.run)
                nursery.start_soon(self._fetching.serve, self.supervisor)
                async with trio.open_nursery() as executors:
                    self._executors = executors
                    executors.start_soon(self._serve_quarantine)
                    if self._functions is not None:
                        executors.start_soon(self._functions.run)
                    await self.supervisor.run()
                    self.drain()
                nursery.cancel_scope.cancel()
        finally:
            self._is_over = True
            if self._pace is not None:
                self._pace.fault = None
            self._context.inbox.release(self._backlog)

    @property
    def is_breaking(self) -> bool:
        """Whether something broke, so that the run is about to end."""
        return self._fault.is_set

    def stop_intake(self) -> None:
        """Fetch no more updates; what was accepted is still handled."""
        self._fetching.stop()

    def drain(self) -> None:
        """Let executors finish what they have, and end; `run` returns then. Idempotent."""
        self._unproven.cancel()
        self._quarantine.drain()
        self._drains = True
        if self._functions is not None:
            self._functions.drain()
        self.supervisor.drain()

    async def restart(self, *, by_hand: bool) -> str | None:
        """As :meth:`~trioworkers.nursery.bot.BotScope.restart`."""
        if self._quarantine.session is not None:
            self._quarantine.session.end("restarted")
        self._fetching.ask_again()
        return await self.supervisor.restart(by_hand=by_hand)

    def nothing_fetched(self) -> AbstractAsyncContextManager[None]:
        """Inside, no updates are fetched; what was accepted is handled."""
        return self._fetching.nothing_fetched()

    async def try_worker(self) -> str | None:
        """Start a second worker up to its handshake, and end it; return why it was not ready, or None."""
        return None if self._commands.is_program else await self.supervisor.try_worker()

    def poke(self) -> None:
        """Let all look again who wait for work: the bot was paused or resumed."""
        self._backlog.poke()

    def retune(self, *, differs: bool) -> None:
        """The settings changed, in ways that touch no process; `differs`: at all."""
        for session in (*self.supervisor.sessions, self._quarantine.session):
            if session is not None and session.worker is not None:
                session.worker.send(self._tuning())
        self._commands.retune()
        self._intake.changed()
        self._fetching.look_again()
        self.supervisor.retune(differs=differs)

    def reroute(self) -> None:
        """Ask the route again for all updates that wait for room."""
        self._scheduler.reroute()

    def hooks_changed(self) -> None:
        """Plugins became active, or are not active any more: there may be another route."""
        route = self._context.hooks.route(self._settings)
        if route is not None and self._functions is None and not self._drains:
            self._functions = self._make_functions()
            if self._executors is not None:
                self._executors.start_soon(self._functions.run)
        self._scheduler.set_route(route)

    async def fence(
        self, chat_id: int, epoch: int, is_spared: Callable[[Run], bool] = lambda run: False
    ) -> None:
        """As :meth:`~trioworkers.nursery.bot.BotScope.fence`."""
        async with trio.open_nursery() as nursery:
            for session in (*self.supervisor.all_sessions, self._quarantine.session):
                if session is not None:
                    nursery.start_soon(session.fence, chat_id, epoch)
            if self._functions is not None:
                nursery.start_soon(self._functions.fence, chat_id, is_spared)

    def webhook_changed(self) -> None:
        """What Telegram has to know of the bot's webhook may have changed."""
        self._intake.changed()

    def replace(self, *, fetch_anew: bool = False, tries: bool = False) -> None:
        """The settings or the code changed: replace the worker by one that has them and gets ready beside it.

        `fetch_anew`: how updates are fetched has changed, too (the token); else they come in all the while.
        `tries`: as for :meth:`Supervisor.replace`.
        """
        for output in self._outputs:
            output.hide(self._settings().token.reveal())
        if self._quarantine.session is not None:
            self._quarantine.session.end("replaced")
        if fetch_anew:
            self._fetching.begin_anew()
        self._fetching.look_again()
        self._commands.retune()  # a bot that was a program has no quarantine, and may have one now
        self._fetching.ask_again()  # a refused token parks the bot, not only its intake
        self.supervisor.replace(tries=tries)

    def breaks(self, error: Exception) -> None:
        """End the run because of what broke while it was asked for something."""
        self._fault.note(error)

    def status(self) -> dict[str, Any]:
        """What the status document has of the run, without state, pause and settings."""
        now, supervisor = trio.current_time(), self.supervisor
        session = supervisor.session
        worker = None if session is None else session.worker
        beat = None if worker is None else worker.heartbeat_at
        tally = self._context.inbox.tally(self._settings().bot_id)
        in_flight, retry = self._under_way
        return {
            "pid": worker and worker.pid,
            "transport": self._intake.transport,
            "webhook": self._intake.webhook,
            "uptime_ms": worker and round((now - worker.started_at) * 1000),
            "messages": self._activity.messages,
            "errors": self._activity.errors,
            "latency_ms": self._activity.latency(time.time()),
            "restarts": supervisor.restarts,
            "memory_bytes": worker and worker.memory,
            "last_heartbeat_age_ms": None if beat is None else round((now - beat) * 1000),
            "code": supervisor.code,
            "acknowledge": worker and worker.promise(),
            "queue": {
                "ready": max(0, tally.pending - in_flight - retry),
                "in_flight": in_flight,
                "retry": retry,
                "dead": tally.dead,
            },
            "last_exit": supervisor.last_exit,
            "next_start_at": supervisor.next_start_at or self._fetching.looks_at,
            "reason": supervisor.reason or self._need.words,
            "rate_limit": None if self._pace is None else self._pace.status(),
            "health": health_of(
                session,
                self._settings(),
                now,
                waits=self._pace is not None and self._pace.figures().waiting > 0,
                deafness=self._intake.deafness,
            ),
        }

    @property
    def _under_way(self) -> tuple[int, int]:
        """How many updates are at an executor, and how many wait for their next attempt."""
        if self._is_over:
            return 0, 0
        return self._backlog.in_flight - self._scheduler.held, self._backlog.waiting_for_retry

    def figures(self) -> RunFigures:
        """What metrics show of the run."""
        session = self.supervisor.session
        worker = None if session is None else session.worker
        oldest_at = None if self._is_over else self._backlog.oldest_at
        memory, age = (None, None) if worker is None else (worker.memory, worker.heartbeat_age)
        return RunFigures(*self._under_way, oldest_at, memory, age)

    async def _serve_quarantine(self) -> None:
        """Only once a worker was ready: suspects of a former run must not start a handler that is unfit."""
        with self._unproven:
            await self.supervisor.proven.wait()
        if not self._unproven.cancelled_caught:
            await self._quarantine.serve()

    def _make_executor(self, worker: ConnectedWorker, *, alone: bool) -> WorkerExecutor:
        return WorkerExecutor(worker, self._scheduler, self._settling, alone=alone, asks=self._asks)

    def _make_functions(self) -> FunctionExecutor:
        write = self._outputs[0].write_line
        context = FunctionContext(
            self._settings,
            self._server,
            self._log_level,
            write,
            self._rng,
            self._asks.ask,
            self._meter,
            None if self._context.paces is None else OwnTurns(self._context.paces, self._bot_id),
        )
        return FunctionExecutor(context, self._scheduler)

    def _server(self) -> tuple[Server, str]:
        settings = self._settings()
        return server_of(self._context.fleet(), settings), settings.token.reveal()

    def _log_level(self) -> str:
        return self._context.fleet().log.level

    def _tuning(self) -> Retune:
        return tuning_of(self._settings(), self._context)

    def _configure(self) -> Configure:
        return configuration_of(self._settings(), self._context)

    def _is_paused(self) -> bool:
        return self._bot_id in self._context.paused

    def _is_wanted(self) -> bool:
        """Whether updates wait for a worker, whose start then comes before those of others."""
        return self._scheduler.work.has_work and not self._is_paused()

    def _has_no_quarantine(self) -> bool:
        return self._commands.is_program or self._is_paused()

    def _emit(self, event: str, **fields: Any) -> None:
        self._context.events.emit(event, self._settings().name, **fields)
