"""Keeps a worker of one bot running while one is wanted; what ends it decides what comes next."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.nursery.dispatch import Activity
from trioworkers.nursery.life import Life
from trioworkers.nursery.restart import RestartPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from trioworkers.inbox.backlog import Feed
    from trioworkers.nursery.life import Ended, Means
    from trioworkers.nursery.places import Places

SPENT = "restart budget spent"


class Supervisor:
    """One bot's worker, from start to start.

    Attributes:
        state: as in the status document.
        activity: what its workers did.
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
        feed: Feed,
        places: Places,
        may_start: Callable[[], Awaitable[None]],
        chance: Random,
    ) -> None:
        self.state = "starting"
        self.activity = Activity()
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
        self._policy = RestartPolicy(chance)
        self._life: Life | None = None
        self._leaving = False
        self._called = False  # somebody asked for a worker, work or not
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
    def life(self) -> Life | None:
        """The worker's life, while there is one."""
        return self._life

    async def run(self) -> None:
        """Supervise until drained. Cancelling ends the worker's group and leaves no trace."""
        while not self._leaving:
            if trio.current_time() < self._hold_until:
                with self._waiting_scope():
                    await trio.sleep_until(self._hold_until)
            elif self._may_sleep and not self._called and not self._has_work:
                self._come_to("sleeping")
                with self._waiting_scope():
                    await self._feed.wait_change(due=not self._means.is_paused())
            elif await self._get_ready():
                self._judge(await self._live())
        self._come_to("stopped" if self._failure is None else "failed")

    def drain(self) -> None:
        """Let the worker finish what it has, and end; `run` returns then."""
        self._leaving = True
        if self._life is not None:
            if self._failure is None:
                self._come_to("draining")
            self._life.end("leaving")
        self._waiting.cancel()

    def park(self, reason: str, **fields: object) -> None:
        """End the worker and start none until :meth:`restart`: it would not go better a second time."""
        self._fail(reason, math.inf, **fields)
        if self._life is not None:
            self._life.end("parked")
        self._waiting.cancel()

    async def restart(self) -> str | None:
        """Replace the worker, or start one, whatever stood in the way; return once it is ready.

        Returns why there is none, or None. Those who ask while one is being replaced get the same one;
        those who ask when the next has begun get another, since it may have read older code.
        """
        while self._called and self._life is not None and self._life.why is None:
            await self._verdict.wait()
        if self._leaving:
            return "the daemon stops"
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
        if self._life is not None:
            self._life.end("renewed")
        self._waiting.cancel()

    def look_again(self) -> None:
        """Settings changed: what it waits for may be there."""
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
            self._in_line = self._places.full
            self._come_to("backoff" if self._in_line else "starting")
            try:
                await self._places.take()
            finally:
                self._in_line = False
            self._come_to("starting")
            try:
                await self._may_start()
            except BaseException:
                self._places.free()
                raise
        return not scope.cancelled_caught

    async def _live(self) -> Ended:
        self._life = life = Life(self._means, self.activity, self._idle_stop)
        self.restarts += self._again
        if self._may_sleep:
            self._places.may_sleep(life)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._when_ready, life)
                if self._leaving:
                    life.end("leaving")
                ended = await life.run()
                nursery.cancel_scope.cancel()
        finally:
            self._life = None
            self._places.gone(life)
            self._places.free()
        return ended

    async def _when_ready(self, life: Life) -> None:
        await life.ready.wait()
        self.code = life.code
        self.proven.set()
        if life.why is None:  # else it was asked to end meanwhile: parked, leaving, or to be replaced
            self._failure = None
            self._come_to("running")

    def _judge(self, ended: Ended) -> None:
        if ended.exit is not None:
            self.last_exit = {
                "at": time.time(),
                "code": ended.exit.code,
                "signal": ended.exit.signal,
                "oom": ended.oom,
                "stderr": self._means.output.last_lines,
            }
        if ended.unfit is not None and ended.why != "renewed":  # that was the one before
            self.park(ended.unfit.reason, detail=ended.unfit.detail)
        elif ended.why == "sleeping":
            self._means.tell("worker.sleeping")
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
        self._means.tell("bot.failed", reason=reason, **fields)

    def _come_to(self, state: str) -> None:
        self.state = state
        self.next_start_at = None
        if state not in ("starting", "draining"):
            self.judged.set()
        if state in ("running", "failed", "stopped", "backoff"):
            self._verdict.set()
            self._verdict = trio.Event()
            self._called = False
