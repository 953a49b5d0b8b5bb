"""Keeps a worker of one bot running while one is wanted; what ends it decides what comes next."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.nursery.restart import RestartPolicy
from trioworkers.nursery.session import WorkerSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from trioworkers.nursery.scheduler import Work
    from trioworkers.nursery.session import Ended, Means
    from trioworkers.nursery.slots import WorkerSlots

SPENT = "restart budget spent"
KEEP_PLACE = ("renewed", "recycled")  # who ends for one of these is followed at once


class Supervisor:
    """One bot's worker, from start to start.

    Attributes:
        state: as in the status document.
        restarts: how often one was started again.
        code: a fingerprint of the handler's module that the last ready worker had.
        next_start_at: when one is due, Unix seconds.
        last_exit: as in the status document.
        judged: set at its first verdict: a worker was ready, ended or failed, sleeps, or waits for a place.
        proven: set once a worker was ready.
    """

    def __init__(
        self,
        means: Means,
        feed: Work,
        places: WorkerSlots,
        may_start: Callable[[], Awaitable[None]],
        rng: Random,
    ) -> None:
        self.state = "starting"
        self.restarts = 0
        self.code: str | None = None
        self.next_start_at: float | None = None
        self.last_exit: dict[str, Any] | None = None
        self.judged = trio.Event()
        self.proven = trio.Event()
        self._means = means
        self._feed = feed
        self._places = places
        self._may_start = may_start
        self._policy = RestartPolicy(rng)
        self._session: WorkerSession | None = None
        self._next: WorkerSession | None = None  # takes its place once it is ready
        self._alive: set[WorkerSession] = set()  # these two, and those that only finish what they have
        self._sessions: trio.Nursery | None = None
        self._relief = trio.CancelScope()
        self._over = trio.Event()
        self._leaving = False
        self._called = False  # somebody asked for a worker, work or not
        self._by_hand = False  # and nothing is to hold it up
        self._has_place = False
        self._failure: str | None = None
        self._in_line = False
        self._hold_until = -math.inf  # trio time
        self._again = False  # the next start is a restart
        self._verdict = trio.Event()
        self._waiting = trio.CancelScope()

    @property
    def reason(self) -> str | None:
        """Why it is `failed`, or what it waits for."""
        if self._in_line:
            return f"waits for a place: {self._places.limit} workers are allowed at once"
        return self._failure

    @property
    def session(self) -> WorkerSession | None:
        """The worker's life, while there is one."""
        return self._session

    @property
    def sessions(self) -> list[WorkerSession]:
        """That one, and the one that is about to take its place."""
        return [session for session in (self._session, self._next) if session is not None]

    @property
    def rests(self) -> bool:
        """Whether it has no worker, and the next will be a fresh one without anybody's doing."""
        return self._in_line or self.state in ("sleeping", "stopped")

    async def run(self) -> None:
        """Supervise until drained. Cancelling ends the worker's group and leaves no trace."""
        try:
            async with trio.open_nursery() as self._sessions:
                while not self._leaving:
                    await self._step()
        finally:
            self._leave_place()
        self._come_to("stopped" if self._failure is None else "failed")

    def drain(self) -> None:
        """Let the worker finish what it has, and end; `run` returns then."""
        self._leaving = True
        if self._session is not None and self._failure is None:
            self._come_to("draining")
        self._end("leaving")

    def park(self, reason: str, **fields: object) -> None:
        """End the worker and start none until :meth:`restart`: it would not go better a second time."""
        self._fail(reason, math.inf, **fields)
        self._end("parked")

    async def restart(self, *, by_hand: bool = True) -> str | None:
        """Replace the worker, or start one, whatever stood in the way; return once it is ready.

        Returns why there is none, or None. Those who ask while one is being replaced get the same one;
        those who ask when the next has begun get another, since it may have read older code.

        Args:
            by_hand: somebody wants this very bot: neither the fleet's pace nor its places hold it up.
        """
        while self._called and self._session is not None and self._session.why is None:
            await self._verdict.wait()
        if self._leaving:
            return "the daemon stops"
        self._by_hand = self._by_hand or by_hand
        if not self._called:
            self._called = True
            self.renew()
        await self._verdict.wait()
        if self.state == "backoff" and self._failure is None and not self._in_line:
            return "its worker ended before it was ready"
        return None if self.state == "running" else self.reason or f"the bot is {self.state}"

    def renew(self) -> None:
        """Replace the worker, or start one, whatever stood in the way; do not wait for it."""
        self._policy.forgive()
        self._failure, self._hold_until = None, -math.inf
        self._end("renewed")

    def relieve(self) -> None:
        """Replace the worker as :meth:`renew` does, but let the next get ready while this one works.

        When it is, this one ends, and finishes what it has. When it cannot be, or there is no second
        place, this one ends first.
        """
        if self._session is None or not self._session.is_ready or self._places.full:
            self.renew()
            return
        self._policy.forgive()
        self._failure, self._hold_until = None, -math.inf
        if self._session.why is not None:  # it was parked, and only finishes what it has
            self._come_to("starting")
        self._relief.cancel()
        if self._next is not None:  # it has older settings
            self._next.end("renewed")
            self._next = None
        self._relief = trio.CancelScope()
        assert self._sessions is not None  # noqa: S101 - for mypy; it runs
        self._sessions.start_soon(self._relieve, self._relief)

    def look_again(self, *, anew: bool) -> None:
        """Settings changed: what it waits for may be there. `anew`: and what it crashed for may be mended.

        A refused token, or a handler that cannot be imported, is not mended by these.
        """
        if anew and self._session is None and self._hold_until < math.inf:
            self._policy.forgive()
            self._failure, self._hold_until = None, -math.inf
        self._waiting.cancel()

    @property
    def _may_sleep(self) -> bool:
        return self._means.settings().worker == "on_demand"

    @property
    def _has_work(self) -> bool:
        return self._feed.has_work and not self._means.is_paused()

    def _idle_stop(self) -> float | None:
        settings = self._means.settings()
        return settings.idle_stop if settings.worker == "on_demand" else None

    def _waiting_scope(self) -> trio.CancelScope:
        self._waiting = trio.CancelScope()
        return self._waiting

    async def _get_ready(self) -> bool:
        """Wait for a place and for the fleet's pace; False when something else came first."""
        with self._waiting_scope() as scope:
            if self._by_hand and not self._has_place:
                self._places.take_beyond()
                self._has_place = True
            if not self._has_place:
                self._in_line = self._places.full
                self._come_to("backoff" if self._in_line else "starting")
                try:
                    await self._places.take()
                finally:
                    self._in_line = False
                self._has_place = True
            self._come_to("starting")
            if not self._by_hand:
                await self._may_start()
        return not scope.cancel_called  # in the last moment, too

    def _leave_place(self) -> None:
        if self._has_place:
            self._has_place = False
            self._places.free()

    async def _step(self) -> None:
        """Wait for what a worker has to wait for, or have one."""
        if trio.current_time() < self._hold_until:
            self._leave_place()
            with self._waiting_scope():
                await trio.sleep_until(self._hold_until)
        elif self._may_sleep and not self._called and not self._has_work:
            self._leave_place()
            self._come_to("sleeping")
            with self._waiting_scope():
                await self._feed.wait_change(due=not self._means.is_paused())
        elif self._alive:  # it was relieved, and what relieved it has ended first
            await self._wait_over()
        elif await self._get_ready():
            await self._live()

    async def _live(self) -> None:
        """Have a worker, or one that took its place, until there is none."""
        self.restarts += self._again
        self._session = self._begin()
        while self._session is not None:
            await self._wait_over()

    async def _wait_over(self) -> None:
        """Wait until a worker has ended."""
        self._over = trio.Event()
        await self._over.wait()

    async def _relieve(self, scope: trio.CancelScope) -> None:
        """Start the next worker beside the one that works."""
        with scope:
            await self._may_start()
        if scope.cancel_called or self._session is None:
            return
        if self._places.full:
            self._session.end("renewed")
            return
        self._places.take_beyond()
        self._next = self._begin()

    def _begin(self) -> WorkerSession:
        """Begin a life, in a place that is its own from now on."""
        self._has_place = False
        session = WorkerSession(self._means, self._idle_stop, self._became_ready)
        self._alive.add(session)
        if self._may_sleep:
            self._places.may_sleep(session)
        assert self._sessions is not None  # noqa: S101 - for mypy; it runs
        self._sessions.start_soon(self._see_through, session)
        return session

    async def _see_through(self, session: WorkerSession) -> None:
        """One worker from its start to its end, and what that means."""
        try:
            ended = await session.run()
        finally:
            self._alive.discard(session)
            self._places.gone(session)
            if session is self._session and self._next is None and session.why in KEEP_PLACE:
                self._has_place = True
            else:
                self._places.free()
        self._note(ended)
        if session is self._next:  # it was never ready: then in the usual way, one after the other
            self._next = None
            if self._session is not None:
                self._session.end("renewed")
        elif session is self._session:
            self._session, self._next = self._next, None
            if self._session is None:
                self._judge(ended)
            elif self._session.why is None:
                self._come_to("starting")
        self._over.set()

    def _became_ready(self, session: WorkerSession) -> None:
        if session is self._next:
            before, self._session, self._next = self._session, session, None
            self.restarts += 1
            if before is not None:
                before.end("renewed")
        if session is not self._session:
            return
        self.code = session.code
        self.proven.set()
        if session.why is None:  # else it was asked to end meanwhile: parked, leaving, or to be replaced
            self._failure = None
            self._come_to("running")

    def _end(self, why: str) -> None:
        """Let whatever there is of workers finish what it has, and end."""
        self._relief.cancel()
        for session in self.sessions:
            session.end(why)
        self._waiting.cancel()

    def _note(self, ended: Ended) -> None:
        if ended.exit is not None:
            self.last_exit = {
                "at": time.time(),
                "code": ended.exit.code,
                "signal": ended.exit.signal,
                "oom": ended.oom,
                "stderr": self._means.output.last_lines,
            }

    def _judge(self, ended: Ended) -> None:
        """What comes after the last worker."""
        if ended.unfit is not None and ended.why != "renewed":  # that was the one before
            self.park(ended.unfit.reason, detail=ended.unfit.detail)
        elif ended.why == "sleeping":
            self._means.emit("worker.sleeping")
        elif ended.why is None and not self._leaving:
            self._crashed(ended)
        self._again = ended.why != "sleeping"

    def _crashed(self, ended: Ended) -> None:
        verdict = self._policy.crashed(trio.current_time(), ended.lived, self._means.settings().restart)
        until = trio.current_time() + verdict.pause
        if verdict.spent:
            self._fail(SPENT, until)
        else:
            self._hold_until = until
            self._come_to("backoff")
        self.next_start_at = time.time() + verdict.pause

    def _fail(self, reason: str, until: float, **fields: object) -> None:
        self._failure, self._hold_until = reason, until
        self._come_to("failed")
        self._means.emit("bot.failed", reason=reason, **fields)

    def _come_to(self, state: str) -> None:
        self.state = state
        self.next_start_at = None
        if state not in ("starting", "draining"):
            self.judged.set()
        if state in ("running", "failed", "stopped", "backoff"):
            self._verdict.set()
            self._verdict = trio.Event()
            self._called = self._by_hand = False
