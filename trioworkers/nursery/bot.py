"""One bot in its own cancel scope: what brings its updates in, and the worker that handles them.

Intake begins when the first worker of the bot is ready, and goes on whatever becomes of workers after
that: a bot that never worked must not take updates from wherever it ran before, one that did loses none.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.nursery.dispatch import Activity, Dispatch
from trioworkers.nursery.frames import Configure, FrameError, Ready, Unfit
from trioworkers.nursery.output import Output
from trioworkers.nursery.quarantine import Quarantine
from trioworkers.nursery.restart import RestartPolicy
from trioworkers.nursery.worker import START_TIMEOUT, open_worker
from trioworkers.transport.api import BotApi
from trioworkers.transport.poll import LongPoll, TokenRefusedError
from trioworkers.worker.log import describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from trioworkers.config import BotSettings
    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Accepted, Inbox
    from trioworkers.nursery.spawn import Exit, MakesWorkers
    from trioworkers.nursery.worker import Worker
    from trioworkers.records import Arrival

DRAIN_SLACK = 10.0  # seconds that a failed bot's worker has beyond its handler_timeout to end its work
INTAKE_PAUSE = 15.0  # seconds before an intake that broke is begun anew


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a bot needs of the daemon around it."""

    api_base: str
    python_path: Sequence[str]
    log_dir: Path
    log_level: str
    inbox: Inbox
    makes: MakesWorkers
    events: Events
    may_start: Callable[[], Awaitable[None]]
    """Waits for this bot's turn in the fleet's start rate."""


class BotScope:
    """Runs one bot. :meth:`run` once; :meth:`stop_intake` and :meth:`drain` end it in order.

    Attributes:
        settings: the settings in force.
        state: as in the status document.
        reason: why it is `failed`.
        judged: set at its first verdict: a worker is ready, or the bot failed or is not enabled.
    """

    def __init__(self, settings: BotSettings, around: Surroundings) -> None:
        self.settings = settings
        self.state = "starting"
        self.reason: str | None = None
        self.judged = trio.Event()
        self._around = around
        self._backlog = around.inbox.backlog(settings.bot_id)
        self._activity = Activity()
        self._chance = random.Random()  # noqa: S311 - jitter
        self._restarts = RestartPolicy(self._chance)
        log, token = around.log_dir / f"worker_{settings.name}.log", settings.token.reveal()
        self._output = Output(log, token)
        self._quarantine = Quarantine(
            self._backlog,
            around.makes,
            self._configure,
            Output(log, token),
            partial(self._make_dispatch, alone=True),
            around.may_start,
            self._tell,
        )
        self._worker: Worker | None = None
        self._dispatch: Dispatch | None = None
        self._ready = trio.Event()
        self._leaving = trio.Event()
        self._intake = trio.CancelScope()
        self._starts = 0
        self._starting = trio.CancelScope()
        self._working = trio.CancelScope()
        self._code: str | None = None
        self._last_exit: dict[str, Any] | None = None
        self._next_start_at: float | None = None

    async def run(self) -> None:
        """Run until drained; cancelling it ends the worker's group and leaves no trace."""
        if not self.settings.enabled:
            self._come_to("stopped")
            return
        if self.settings.transport == "webhook":
            self._fail("transport webhook is not available in this version, poll and auto are")
            await self._leaving.wait()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_intake)
            async with trio.open_nursery() as workers:
                workers.start_soon(self._serve_quarantine)
                await self._supervise()
            nursery.cancel_scope.cancel()
        if self.reason is None:
            self._come_to("stopped")

    def stop_intake(self) -> None:
        """Fetch no more updates; what was accepted is still handled."""
        self._intake.cancel()

    def drain(self) -> None:
        """Let the worker finish what it has, and end; `run` returns then."""
        self._leaving.set()
        self._ready.set()  # nobody waits for it any more
        self._quarantine.drain()
        self._starting.cancel()
        if self._dispatch is not None:
            if self.reason is None:
                self._come_to("draining")
            self._dispatch.drain()

    def status(self) -> dict[str, Any]:
        """This bot's row of the status document."""
        now = trio.current_time()
        worker, activity, backlog = self._worker, self._activity, self._backlog
        beat = activity.heartbeat_at
        tally = self._around.inbox.tally(self.settings.bot_id)
        return {
            "bot": self.settings.name,
            "bot_id": self.settings.bot_id,
            "state": self.state,
            "pid": worker and worker.pid,
            "transport": "webhook" if self.settings.transport == "webhook" else "poll",
            "uptime_ms": worker and round((now - worker.started_at) * 1000),
            "messages": activity.messages + self._quarantine.activity.messages,
            "errors": activity.errors + self._quarantine.activity.errors,
            "restarts": max(0, self._starts - 1),
            "memory_bytes": worker and activity.memory,
            "last_heartbeat_age_ms": None if beat is None or not worker else round((now - beat) * 1000),
            "paused": False,
            "code": self._code,
            "queue": {
                "ready": max(0, tally.pending - backlog.in_hand - backlog.waiting_for_retry),
                "in_flight": backlog.in_hand,
                "retry": backlog.waiting_for_retry,
                "dead": tally.dead,
            },
            "last_exit": self._last_exit,
            "next_start_at": self._next_start_at,
            "reason": self.reason,
        }

    async def _supervise(self) -> None:
        """Keep a worker running until the bot leaves; one that failed for good waits for that."""
        while True:
            if self.reason is not None:
                await self._leaving.wait()
            if self._leaving.is_set():
                return
            self._come_to("starting")
            with self._start():
                await self._around.may_start()
            if self._leaving.is_set() or self.reason is not None:
                continue
            began = trio.current_time()
            await self._live()
            if self.reason is None and not self._leaving.is_set():
                await self._back_off(trio.current_time() - began)

    async def _back_off(self, lived: float) -> None:
        pause = self._restarts.next_start(lived, self.settings.restart)
        self._next_start_at = time.time() + pause
        self._come_to("backoff")
        with trio.move_on_after(pause):
            await self._leaving.wait()
        self._next_start_at = None

    def _start(self, seconds: float = float("inf")) -> trio.CancelScope:
        """A scope for one step of a start: a stop or a failure ends it, also one that came before."""
        self._starting = trio.move_on_after(seconds)
        if self._leaving.is_set() or self.reason is not None:
            self._starting.cancel()
        return self._starting

    async def _live(self) -> None:
        """One worker's life, from its start to its exit."""
        self._starts += 1
        self._activity.heartbeat_at = None
        self._tell("worker.starting")
        try:
            async with open_worker(self._around.makes, self._configure(), self._output) as worker:
                self._worker = worker
                try:
                    if await self._handshake(worker):
                        await self._work(worker)
                finally:
                    self._worker = None
                ended = await worker.end()
        except OSError as error:
            self._tell("worker.exited", level="error", reason=f"could not be started: {error.strerror}")
            self.judged.set()
        else:
            self._ended(ended)

    async def _handshake(self, worker: Worker) -> bool:
        """Wait for the worker's first word; True when it is ready."""
        word: Ready | Unfit | None = None
        with self._start(START_TIMEOUT) as scope:
            try:
                word = await worker.first_word()
            except FrameError as error:
                self._tell("worker.refused", reason=str(error))
        if self.reason is not None:
            return False
        if scope.cancelled_caught and not self._leaving.is_set():
            self._tell("worker.refused", reason=f"not ready within {START_TIMEOUT:g} s")
        if isinstance(word, Unfit):
            self._fail(word.reason, detail=word.detail)
        elif isinstance(word, Ready):
            self._code = word.code
            self._come_to("running")
            self._tell("worker.ready", pid=worker.pid, code=word.code)
            self._ready.set()
        return isinstance(word, Ready)

    async def _work(self, worker: Worker) -> None:
        self._working = trio.CancelScope()
        self._dispatch = self._make_dispatch(worker, self._activity)
        if self._leaving.is_set():
            self._dispatch.drain()
        try:
            with self._working:
                await self._dispatch.run()
        finally:
            self._dispatch = None

    def _make_dispatch(self, worker: Worker, activity: Activity, *, alone: bool = False) -> Dispatch:
        return Dispatch(
            self.settings.name,
            self._backlog,
            worker,
            lambda: self.settings,
            self._around.events,
            activity,
            self._chance,
            alone=alone,
        )

    async def _serve_quarantine(self) -> None:
        """Only once a worker was ready: suspects of a former run must not start a handler that is unfit."""
        await self._ready.wait()
        await self._quarantine.serve()

    def _ended(self, ended: Exit) -> None:
        self._last_exit = {
            "at": time.time(),
            "code": ended.code,
            "signal": ended.signal,
            "oom": False,
            "stderr": self._output.last_lines,
        }
        wanted = self._leaving.is_set() or self.reason is not None
        self._tell("worker.exited", level="info" if wanted else "warn", how=str(ended))
        if not wanted:
            self.judged.set()  # a worker that dies before it is ready is a verdict too

    async def _serve_intake(self) -> None:
        await self._ready.wait()
        settings, around = self.settings, self._around
        with self._intake:
            while True:
                async with BotApi(around.api_base, settings.token.reveal()) as api:
                    poll = LongPoll(api, self._accept, lambda: self.settings, _Trouble(self._tell))
                    try:
                        await poll.serve()
                    except TokenRefusedError:
                        self._tell("transport.refused")
                        self._fail("token refused")
                        return
                    except Exception as error:  # a mistake of ours must not silence a bot for good
                        self._tell(
                            "transport.trouble", level="error", reason="internal", error=describe(error)
                        )
                await trio.sleep(INTAKE_PAUSE)

    async def _accept(self, arrivals: Sequence[Arrival]) -> Accepted:
        accepted = await self._around.inbox.accept(self.settings.bot_id, arrivals)
        self._tell("update.accepted", new=accepted.new, duplicates=accepted.duplicates)
        return accepted

    def _configure(self) -> Configure:
        settings, around = self.settings, self._around
        return Configure(
            name=settings.name,
            bot_id=settings.bot_id,
            token=settings.token.reveal(),
            api_base=around.api_base,
            handler=settings.handler,
            python_path=[str(path) for path in around.python_path],
            settings=dict(settings.settings),
            concurrency=settings.concurrency,
            handler_timeout=settings.handler_timeout,
            heartbeat_interval=settings.heartbeat_interval,
            log_level=around.log_level,
        )

    def fail(self, error: Exception) -> None:
        """Something in here went wrong that never should: this bot ends, the others go on."""
        self._fail("internal error", error=describe(error))

    def _fail(self, reason: str, **fields: object) -> None:
        """Park the bot: nothing is tried again until its settings change."""
        self.reason = reason
        self._come_to("failed")
        self._tell("bot.failed", reason=reason, **fields)
        self._starting.cancel()
        self._quarantine.drain()
        if self._dispatch is not None:
            self._dispatch.drain()
            self._working.deadline = trio.current_time() + self.settings.handler_timeout + DRAIN_SLACK

    def _come_to(self, state: str) -> None:
        self.state = state
        if state in ("running", "failed", "stopped"):
            self.judged.set()

    def _tell(self, event: str, **fields: Any) -> None:
        self._around.events.tell(event, self.settings.name, **fields)


class _Trouble:
    """Tells what happens to a long poll as events; a trouble that goes on is told once."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._last: str | None = None

    def conflict(self, reason: str, pause: float) -> None:
        self._tell("transport.conflict", reason=reason, pause=round(pause, 1))
        self._last = reason

    def trouble(self, reason: str, pause: float) -> None:
        if reason != self._last:
            self._tell("transport.trouble", reason=reason, pause=round(pause, 1))
        self._last = reason

    def recovered(self) -> None:
        self._tell("transport.recovered", after=self._last)
        self._last = None

    def webhook_removed(self) -> None:
        self._tell("transport.unhooked")

    def unreadable(self, reason: str) -> None:
        self._tell("update.unreadable", reason=reason)
