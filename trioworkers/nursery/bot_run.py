"""One run of a bot: from claiming its updates to releasing them.

A run's parts live and end together. When something breaks in one of them, the whole run is thrown away,
memory and all; the next one reads what waits from the inbox.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.breakage import Breakage
from trioworkers.inbox.gate import Gate
from trioworkers.nursery.delivery import Activity, Settling
from trioworkers.nursery.function_executor import FunctionContext, FunctionExecutor
from trioworkers.nursery.intake import BotIntake
from trioworkers.nursery.output import Output
from trioworkers.nursery.quarantine import Quarantine
from trioworkers.nursery.scheduler import Scheduler
from trioworkers.nursery.session import OVERDUE, SessionContext
from trioworkers.nursery.supervisor import Supervisor, SupervisorContext
from trioworkers.nursery.worker_executor import WorkerExecutor
from trioworkers.protocol.frames import Configure, Retune
from trioworkers.transport.poll import TokenRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers.config import BotSettings, Fleet
    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.logs.files import RotatedFile
    from trioworkers.nursery.intake import Webhooks
    from trioworkers.nursery.oom import OomKills
    from trioworkers.nursery.paused import PausedBots
    from trioworkers.nursery.scheduler import Route
    from trioworkers.nursery.slots import WorkerSlots
    from trioworkers.nursery.spawn import MakesWorkers
    from trioworkers.nursery.worker import ConnectedWorker


@dataclass(frozen=True, slots=True)
class BotContext:
    """What a bot needs of the daemon around it.

    Attributes:
        fleet: the fleet in force.
        inbox: the updates of all bots.
        makes: makes worker processes.
        events: where it is emitted what happens.
        may_start: waits for this bot's turn in the fleet's start rate.
        slots: how many workers there may be at once.
        webhooks: what bots need for webhooks.
        paused: which bots are paused.
        oom: the kernel's counter of kills for want of memory.
        route: names the function of the daemon that handles an update of a bot in its worker's place; None:
            there are none.
    """

    fleet: Callable[[], Fleet]
    inbox: Inbox
    makes: MakesWorkers
    events: Events
    may_start: Callable[[], Awaitable[None]]
    slots: WorkerSlots
    webhooks: Webhooks
    paused: PausedBots
    oom: OomKills
    route: Callable[[BotSettings], Route | None] | None = None


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
        self._is_over = False
        self._backlog = context.inbox.claim(bot.bot_id, self._fault)
        rng = random.Random()  # noqa: S311 - jitter
        self._activity = Activity()
        self._settling = Settling(
            bot.name, self._backlog, settings, context.events, rng, time.time, self._activity
        )
        route = None if context.route is None else context.route(bot)
        self._scheduler = Scheduler(self._settling, self._fault, self._is_paused, route)
        token = bot.token.reveal()
        self._outputs = Output(log, token), Output(log, token)
        self._functions: FunctionExecutor | None = None
        if route is not None:
            functions = FunctionContext(
                settings, self._server, self._log_level, self._outputs[0].write_line, rng
            )
            self._functions = FunctionExecutor(functions, self._scheduler)
        ordinary = SessionContext(
            makes=context.makes,
            settings=settings,
            configure=self._configure,
            output=self._outputs[0],
            make_executor=partial(self._make_executor, alone=False),
            emit=self._emit,
            oom=context.oom,
        )
        alone = replace(
            ordinary, output=self._outputs[1], make_executor=partial(self._make_executor, alone=True)
        )
        self.supervisor = Supervisor(
            ordinary,
            SupervisorContext(self._scheduler.work, self._is_paused, context.slots, context.may_start, rng),
        )
        self._quarantine = Quarantine(alone, self._scheduler.suspect_work, context.may_start, self._is_paused)
        self._unproven = trio.CancelScope()
        gate = Gate(bot.name, bot.bot_id, context.inbox, context.events)
        self._intake = BotIntake(settings, gate, context.webhooks, self._emit, rng)
        self._intake_scope = trio.CancelScope()
        self._fetching = trio.CancelScope()
        self._asked_again = trio.Event()

    async def run(self) -> None:
        """Run until drained; cancelling it ends the workers' groups and leaves no trace.

        Raises (in groups):
            Exception: something broke in here, or in a callback of its own.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fault.wait_raise)
                nursery.start_soon(self._scheduler.run)
                nursery.start_soon(self._serve_intake)
                async with trio.open_nursery() as executors:
                    executors.start_soon(self._serve_quarantine)
                    if self._functions is not None:
                        executors.start_soon(self._functions.run)
                    await self.supervisor.run()
                    self.drain()
                nursery.cancel_scope.cancel()
        finally:
            self._is_over = True
            self._context.inbox.release(self._backlog)

    @property
    def is_breaking(self) -> bool:
        """Whether something broke, so that the run is about to end."""
        return self._fault.is_set

    def stop_intake(self) -> None:
        """Fetch no more updates; what was accepted is still handled."""
        self._intake_scope.cancel()

    def drain(self) -> None:
        """Let executors finish what they have, and end; `run` returns then. Idempotent."""
        self._unproven.cancel()
        self._quarantine.drain()
        if self._functions is not None:
            self._functions.drain()
        self.supervisor.drain()

    async def restart(self, *, by_hand: bool) -> str | None:
        """As :meth:`~trioworkers.nursery.bot.BotScope.restart`."""
        if self._quarantine.session is not None:
            self._quarantine.session.end("restarted")
        self._asked_again.set()
        return await self.supervisor.restart(by_hand=by_hand)

    async def try_worker(self) -> str | None:
        """Start a second worker up to its handshake, and end it; return why it was not ready, or None."""
        return await self.supervisor.try_worker()

    def poke(self) -> None:
        """Let all look again who wait for work: the bot was paused or resumed."""
        self._backlog.poke()

    def retune(self, *, differs: bool) -> None:
        """The settings changed, in ways that touch no process; `differs`: at all."""
        for session in (*self.supervisor.sessions, self._quarantine.session):
            if session is not None and session.worker is not None:
                session.worker.send(self._tuning())
        self._backlog.poke()
        self._intake.changed()
        self.supervisor.retune(differs=differs)

    def reroute(self) -> None:
        """Ask the route again for all updates that wait for room."""
        self._scheduler.reroute()

    def webhook_changed(self) -> None:
        """What Telegram has to know of the bot's webhook may have changed."""
        self._intake.changed()

    def replace(self, *, fetch_anew: bool) -> None:
        """The settings changed: replace the worker by one that has them, which gets ready beside it.

        `fetch_anew`: how updates are fetched has changed, too (the token); else they come in all the while.
        """
        for output in self._outputs:
            output.hide(self._settings().token.reveal())
        if self._quarantine.session is not None:
            self._quarantine.session.end("replaced")
        if fetch_anew:
            self._fetching.cancel()
        self._asked_again.set()  # a refused token parks the bot, not only its intake
        self.supervisor.replace()

    def breaks(self, error: Exception) -> None:
        """End the run because of what broke while it was asked for something."""
        self._fault.note(error)

    def status(self) -> dict[str, Any]:
        """What the status document has of the run, without state, pause and settings."""
        now = trio.current_time()
        supervisor, backlog = self.supervisor, self._backlog
        session = supervisor.session
        worker = None if session is None else session.worker
        beat = None if worker is None else worker.heartbeat_at
        tally = self._context.inbox.tally(self._settings().bot_id)
        in_flight = 0 if self._is_over else backlog.in_flight - self._scheduler.held
        retry = 0 if self._is_over else backlog.waiting_for_retry
        return {
            "pid": worker and worker.pid,
            "transport": self._intake.transport,
            "webhook": self._intake.webhook,
            "uptime_ms": worker and round((now - worker.started_at) * 1000),
            "messages": self._activity.messages,
            "errors": self._activity.errors,
            "restarts": supervisor.restarts,
            "memory_bytes": worker and worker.memory,
            "last_heartbeat_age_ms": None if beat is None else round((now - beat) * 1000),
            "code": supervisor.code,
            "queue": {
                "ready": max(0, tally.pending - in_flight - retry),
                "in_flight": in_flight,
                "retry": retry,
                "dead": tally.dead,
            },
            "last_exit": supervisor.last_exit,
            "next_start_at": supervisor.next_start_at,
            "reason": supervisor.reason,
            "health": self._health(now),
        }

    def _health(self, now: float) -> dict[str, Any]:
        """Alive, responsive and making progress, apart from each other."""
        settings, session = self._settings(), self.supervisor.session
        worker = None if session is None else session.worker
        alive = worker is not None
        silent = now - (worker.heartbeat_at or now) if worker else 0.0
        held_for = session.held_for if session is not None else 0.0
        return {
            "alive": alive,
            "responsive": alive and silent <= 2 * settings.heartbeat_interval,
            "progressing": held_for <= settings.handler_timeout + OVERDUE,
            "loop_lag_ms": round(worker.lag * 1000) if worker else 0,
            "oldest_in_flight_ms": round(held_for * 1000),
        }

    async def _serve_quarantine(self) -> None:
        """Only once a worker was ready: suspects of a former run must not start a handler that is unfit."""
        with self._unproven:
            await self.supervisor.proven.wait()
        if not self._unproven.cancelled_caught:
            await self._quarantine.serve()

    async def _serve_intake(self) -> None:
        with self._intake_scope:
            if self._settings().worker != "on_demand":
                await self.supervisor.proven.wait()
            while True:
                refused = False
                with trio.CancelScope() as self._fetching:
                    try:
                        await self._intake.serve(self._context.fleet().api_base)
                    except TokenRefusedError:
                        refused = not self._fetching.cancel_called  # else that was the token of before
                if refused:
                    self._emit("transport.refused")
                    self.supervisor.park("token refused")
                    self._asked_again = trio.Event()
                    await self._asked_again.wait()

    def _make_executor(self, worker: ConnectedWorker, *, alone: bool) -> WorkerExecutor:
        return WorkerExecutor(worker, self._scheduler, self._settling, alone=alone)

    def _server(self) -> tuple[str, str]:
        return self._context.fleet().api_base, self._settings().token.reveal()

    def _log_level(self) -> str:
        return self._context.fleet().log.level

    def _tuning(self) -> Retune:
        settings = self._settings()
        return Retune(
            settings=dict(settings.settings),
            handler_timeout=settings.handler_timeout,
            heartbeat_interval=settings.heartbeat_interval,
            memory_check_interval=settings.memory_check_interval,
            log_level=self._context.fleet().log.level,
        )

    def _configure(self) -> Configure:
        settings, fleet = self._settings(), self._context.fleet()
        return Configure(
            name=settings.name,
            bot_id=settings.bot_id,
            token=settings.token.reveal(),
            api_base=fleet.api_base,
            handler=settings.handler,
            python_path=[str(path) for path in fleet.python_path],
            concurrency=settings.concurrency,
            tuning=self._tuning(),
        )

    def _is_paused(self) -> bool:
        return self._settings().bot_id in self._context.paused

    def _emit(self, event: str, **fields: Any) -> None:
        self._context.events.emit(event, self._settings().name, **fields)
