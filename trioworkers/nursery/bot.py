"""One bot in its own cancel scope: what brings its updates in, and the workers that handle them.

Intake begins when the bot's first worker is ready, and goes on whatever becomes of workers after that: a
bot that never worked must not take updates from wherever it ran before, one that did loses none. A bot
whose workers start on demand has none to wait for, and takes its updates from the start; so does one whose
webhook an earlier daemon has set.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.errors import describe
from trioworkers.logs.files import RotatedFile
from trioworkers.nursery.dispatch import Activity, Dispatch
from trioworkers.nursery.intake import BotIntake
from trioworkers.nursery.output import Output
from trioworkers.nursery.quarantine import Quarantine
from trioworkers.nursery.session import OVERDUE, SessionContext
from trioworkers.nursery.supervisor import Supervisor, SupervisorContext
from trioworkers.protocol.frames import Configure, Retune
from trioworkers.transport.poll import TokenRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trioworkers.config import BotSettings, Fleet
    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Accepted, Inbox
    from trioworkers.nursery.intake import Webhooks
    from trioworkers.nursery.oom import OomKills
    from trioworkers.nursery.paused import PausedBots
    from trioworkers.nursery.slots import WorkerSlots
    from trioworkers.nursery.spawn import MakesWorkers
    from trioworkers.nursery.worker import ConnectedWorker
    from trioworkers.records import Arrival


@dataclass(frozen=True, slots=True)
class BotContext:
    """What a bot needs of the daemon around it."""

    fleet: Callable[[], Fleet]
    """The fleet in force."""
    inbox: Inbox
    makes: MakesWorkers
    events: Events
    may_start: Callable[[], Awaitable[None]]
    """Waits for this bot's turn in the fleet's start rate."""
    places: WorkerSlots
    webhooks: Webhooks
    paused: PausedBots
    oom: OomKills


class BotScope:
    """Runs one bot. :meth:`run` once; :meth:`stop_intake` and :meth:`drain` end it in order.

    Attributes:
        settings: the settings in force.
        judged: set at its first verdict: a worker is ready, or the bot failed, sleeps or is not enabled.
        ended: set by who runs it, when it has been drained.
    """

    def __init__(self, settings: BotSettings, around: BotContext) -> None:
        self.settings = settings
        self._around = around
        self._backlog = around.inbox.backlog(settings.bot_id)
        self._rng = random.Random()  # noqa: S311 - jitter
        token = settings.token.reveal()
        log = RotatedFile(around.fleet().log_dir / f"worker_{settings.name}.log", lambda: around.fleet().log)
        self._activity = Activity()
        self._ordinary = SessionContext(
            makes=around.makes,
            settings=lambda: self.settings,
            configure=self._configure,
            output=Output(log, token),
            make_executor=self._make_dispatch,
            emit=self._emit,
            oom=around.oom,
        )
        self._supervisor = Supervisor(
            self._ordinary,
            SupervisorContext(
                work=self._backlog.ordinary,
                is_paused=lambda: self.paused,
                slots=around.places,
                may_start=around.may_start,
                rng=self._rng,
            ),
        )
        self._alone = replace(
            self._ordinary, output=Output(log, token), make_executor=partial(self._make_dispatch, alone=True)
        )
        self._quarantine = Quarantine(
            self._alone, self._backlog.suspects, around.may_start, lambda: self.paused
        )
        self._unproven = trio.CancelScope()
        self._intake = BotIntake(lambda: self.settings, self._accept, around.webhooks, self._emit, self._rng)
        self._intake_scope = trio.CancelScope()
        self._fetching = trio.CancelScope()
        self._asked_again = trio.Event()
        self.judged = self._supervisor.judged
        self.ended = trio.Event()

    @property
    def state(self) -> str:
        """As in the status document."""
        state = self._supervisor.state
        return "paused" if self.paused and state in ("running", "sleeping") else state

    @property
    def restarts(self) -> int:
        """How often a worker was started again."""
        return self._supervisor.restarts

    @property
    def rests(self) -> bool:
        """Whether it has no worker, and the next will be a fresh one without anybody's doing."""
        return self._supervisor.rests

    @property
    def paused(self) -> bool:
        """Whether its updates are accepted, and none is handled."""
        return self.settings.bot_id in self._around.paused

    async def run(self) -> None:
        """Run until drained; cancelling it ends the worker's group and leaves no trace."""
        if not self.settings.enabled:
            self.stop_intake()
            self.drain()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_intake)
            async with trio.open_nursery() as workers:
                workers.start_soon(self._serve_quarantine)
                await self._supervisor.run()
                self._quarantine.drain()
            nursery.cancel_scope.cancel()

    def stop_intake(self) -> None:
        """Fetch no more updates; what was accepted is still handled."""
        self._intake_scope.cancel()

    def drain(self) -> None:
        """Let the worker finish what it has, and end; `run` returns then."""
        self._unproven.cancel()
        self._quarantine.drain()
        self._supervisor.drain()

    async def restart(self, *, by_hand: bool = True) -> str | None:
        """Replace the worker by one that runs the code as it is now; return once it is ready.

        Returns why there is none, or None. `by_hand`: as for :meth:`Supervisor.restart`.
        """
        if not self.settings.enabled:
            return "the bot is not enabled"
        if self._quarantine.session is not None:
            self._quarantine.session.end("restarted")
        self._asked_again.set()
        return await self._supervisor.restart(by_hand=by_hand)

    async def try_worker(self) -> str | None:
        """Start a second worker up to its handshake, and end it; return why it was not ready, or None."""
        return await self._supervisor.try_worker()

    async def pause(self) -> None:
        """Hand out nothing more, also after a restart of the daemon. Updates are accepted all the same.

        Raises:
            OSError: it could not be made durable, and nothing changed.
        """
        if await self._around.paused.change(self.settings.bot_id, True):
            self._emit("bot.paused")
            self._backlog.poke()

    async def resume(self) -> None:
        """Hand out updates again.

        Raises:
            OSError: it could not be made durable, and nothing changed.
        """
        if await self._around.paused.change(self.settings.bot_id, False):
            self._emit("bot.resumed")
            self._backlog.poke()

    def retune(self, settings: BotSettings) -> None:
        """Work with new settings that touch no process; updates in flight keep those they began with."""
        differs = settings.digest != self.settings.digest
        self.settings = settings
        for session in (*self._supervisor.sessions, self._quarantine.session):
            if session is not None and session.worker is not None:
                session.worker.send(self._tuning())
        self._backlog.poke()
        self._intake.changed()
        self._supervisor.retune(differs=differs)

    def look_again(self) -> None:
        """What Telegram has to know of its webhook may have changed."""
        self._intake.changed()

    def replace(self, settings: BotSettings, *, fetch_anew: bool) -> None:
        """Replace the worker by one with these settings, which gets ready while the old one works.

        `fetch_anew`: how updates are fetched has changed, too (the token); else they come in all the while.
        """
        self.settings = settings
        for context in (self._ordinary, self._alone):
            context.output.hide(settings.token.reveal())
        if self._quarantine.session is not None:
            self._quarantine.session.end("replaced")
        if fetch_anew:
            self._fetching.cancel()
        self._asked_again.set()  # a refused token parks the bot, not only its intake
        self._supervisor.replace()

    def may_run_beside(self, other: BotScope) -> bool:
        """Whether both may run at the same time: not with one bot id, nor with one log."""
        mine, its = self.settings, other.settings
        return mine.bot_id != its.bot_id and mine.name != its.name

    def status(self) -> dict[str, Any]:
        """This bot's row of the status document."""
        now = trio.current_time()
        supervisor, backlog = self._supervisor, self._backlog
        worker = None if supervisor.session is None else supervisor.session.worker
        beat = None if worker is None else worker.heartbeat_at
        tally = self._around.inbox.tally(self.settings.bot_id)
        return {
            "bot": self.settings.name,
            "bot_id": self.settings.bot_id,
            "state": self.state,
            "pid": worker and worker.pid,
            "transport": self._intake.transport,
            "webhook": self._intake.webhook,
            "uptime_ms": worker and round((now - worker.started_at) * 1000),
            "messages": self._activity.messages,
            "errors": self._activity.errors,
            "restarts": supervisor.restarts,
            "memory_bytes": worker and worker.memory,
            "last_heartbeat_age_ms": None if beat is None else round((now - beat) * 1000),
            "paused": self.paused,
            "code": supervisor.code,
            "queue": {
                "ready": max(0, tally.pending - backlog.in_flight - backlog.waiting_for_retry),
                "in_flight": backlog.in_flight,
                "retry": backlog.waiting_for_retry,
                "dead": tally.dead,
            },
            "last_exit": supervisor.last_exit,
            "next_start_at": supervisor.next_start_at,
            "reason": supervisor.reason,
            "health": self._health(now),
        }

    def fail(self, error: Exception) -> None:
        """Something in here went wrong that never should: this bot ends, the others go on."""
        self._supervisor.park("internal error", error=describe(error))

    def _health(self, now: float) -> dict[str, Any]:
        """Alive, responsive and making progress, apart from each other."""
        session = self._supervisor.session
        worker = None if session is None else session.worker
        alive = worker is not None
        silent = now - (worker.heartbeat_at or now) if worker else 0.0
        held_for = session.held_for if session is not None else 0.0
        return {
            "alive": alive,
            "responsive": alive and silent <= 2 * self.settings.heartbeat_interval,
            "progressing": held_for <= self.settings.handler_timeout + OVERDUE,
            "loop_lag_ms": round(worker.lag * 1000) if worker else 0,
            "oldest_in_flight_ms": round(held_for * 1000),
        }

    async def _serve_quarantine(self) -> None:
        """Only once a worker was ready: suspects of a former run must not start a handler that is unfit."""
        with self._unproven:
            await self._supervisor.proven.wait()
        if not self._unproven.cancelled_caught:
            await self._quarantine.serve()

    async def _serve_intake(self) -> None:
        with self._intake_scope:
            if self.settings.worker != "on_demand":
                await self._supervisor.proven.wait()
            while True:
                refused = False
                with trio.CancelScope() as self._fetching:
                    try:
                        await self._intake.serve(self._around.fleet().api_base)
                    except TokenRefusedError:
                        refused = not self._fetching.cancel_called  # else that was the token of before
                if refused:
                    self._emit("transport.refused")
                    self._supervisor.park("token refused")
                    self._asked_again = trio.Event()
                    await self._asked_again.wait()

    async def _accept(self, arrivals: Sequence[Arrival]) -> Accepted:
        accepted = await self._around.inbox.accept(self.settings.bot_id, arrivals)
        self._emit("update.accepted", new=accepted.new, duplicates=accepted.duplicates)
        return accepted

    def _make_dispatch(self, worker: ConnectedWorker, *, alone: bool = False) -> Dispatch:
        return Dispatch(
            self.settings.name,
            self._backlog,
            worker,
            lambda: self.settings,
            self._around.events,
            self._activity,
            self._rng,
            alone=alone,
            is_paused=lambda: self.paused,
        )

    def _tuning(self) -> Retune:
        settings = self.settings
        return Retune(
            settings=dict(settings.settings),
            handler_timeout=settings.handler_timeout,
            heartbeat_interval=settings.heartbeat_interval,
            memory_check_interval=settings.memory_check_interval,
            log_level=self._around.fleet().log.level,
        )

    def _configure(self) -> Configure:
        settings, fleet = self.settings, self._around.fleet()
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

    def _emit(self, event: str, **fields: Any) -> None:
        self._around.events.emit(event, self.settings.name, **fields)
