"""The thread in which a node keeps its lease: it waits for the server, which the loop must not."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from trioworkers.inbox.postgres.lease_change import Change
from trioworkers.inbox.store import StoreUnreachableError
from trioworkers.lease_page import boottime
from trioworkers.shortage import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.inbox.postgres.lease import NodeLease

T = TypeVar("T")
QUIET = Change()
SHORTEST = 0.02  # seconds between two steps: what is due is not always done, as when the server is away


class LeaseThread:
    """Runs the steps of a lease, and hands what they bring to the loop. Made on the loop.

    Args:
        lease: it is closed when the thread ends.
        hear: called on the loop with each change; it must not raise.
    """

    def __init__(self, lease: NodeLease, hear: Callable[[Change], None]) -> None:
        self._lease = lease
        self._hear = hear
        self._token = trio.lowlevel.current_trio_token()
        self._work: deque[Callable[[], None]] = deque()
        self._ends = threading.Event()
        self._over = False

    async def serve(self) -> None:
        """Keep the lease until :meth:`end`, then give it up. Cancellation does not reach it.

        Raises:
            NoThreadError: there is no thread.
        """
        with trio.CancelScope(shield=True):
            await in_thread(self._run, limiter=trio.CapacityLimiter(1))

    def end(self) -> None:
        """Let the thread end. Idempotent."""
        self._ends.set()
        self._lease.ring()

    def soon(self, work: Callable[[], None]) -> None:
        """Call `work` in the thread, between two steps, unless it has ended; it must not raise."""
        self._work.append(work)
        self._lease.ring()

    async def call(self, work: Callable[[NodeLease], T]) -> T:
        """Call `work` in the thread, between two steps; return what it returned.

        Cancelled, it may be called all the same.

        Raises:
            StoreError: as `work` does, or the thread has ended.
        """
        done = trio.Event()
        answer: list[T] = []
        failed: list[Exception] = [StoreUnreachableError("this daemon has left its cluster")]

        def run() -> None:
            try:
                if not self._ends.is_set():
                    answer.append(work(self._lease))
            except Exception as error:
                failed.insert(0, error)
            self._soon(done.set)

        if self._over:
            raise failed[0]
        self._work.append(run)
        self._lease.ring()
        if self._over:  # since it was looked at
            self._do_work()
        await done.wait()
        if answer:
            return answer[0]
        raise failed[0]

    def _run(self) -> None:
        lease, terms = self._lease, self._lease.terms
        before = QUIET
        try:
            while not self._ends.is_set():
                stepped_at = boottime()
                change = lease.step()
                if change != QUIET or before != QUIET:  # that a trouble is over is told, too
                    self._soon(self._hear, change)
                before = change
                self._do_work()
                if not self._ends.is_set():
                    lease.wait(max(SHORTEST, stepped_at + terms.scan - boottime()))
        finally:
            lease.close()
            self._over = True
            self._do_work()

    def _do_work(self) -> None:
        with suppress(IndexError):
            while True:
                work = self._work.popleft()
                work()

    def _soon(self, call: Callable[..., Any], *what: object) -> None:
        try:
            self._token.run_sync_soon(call, *what)
        except trio.RunFinishedError:  # nobody waits any more
            return
