"""Commits what was submitted, in its order, and tells the loop: in a thread, or a lone update on the loop.

Whoever has the turn commits; a commit on the loop is tried only while the thread rests. What does not succeed
there is left to the thread as if it had not been tried: it finds out why, and what becomes of it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import trio

from trioworkers.breakage import Breakage
from trioworkers.inbox.jobs import Job, halves
from trioworkers.inbox.quickness import OPERATIONS, Quickness
from trioworkers.inbox.store import (
    Accept,
    Filter,
    StoreDamagedError,
    StoreError,
    StoreFencedError,
    StoreRejectedError,
    StoreUnknownError,
    StoreUnreachableError,
)
from trioworkers.inbox.submissions import Submissions
from trioworkers.inbox.trouble import Proof, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trioworkers.figures import Commits
    from trioworkers.inbox.store import Operation, Result, Store

OPERATIONS_PER_COMMIT = 512
PAUSE_AFTER_FAILURE = 0.5  # seconds, before acknowledgements that could not be written are tried again
PATIENCE = 5.0  # seconds for which a server that is away is waited for at the end
CLOSING = 0.01  # seconds until its end is submitted again for which there was no memory


class Committer:
    """Has the store, and what is on its way there. Made on the loop; `work` runs in the thread.

    Attributes:
        fault: where it is noted what breaks in a callback that serves no bot in particular.
        jobs: what is submitted.
        trouble: whether the store works.
        closed: nothing more is submitted.
        on_unknown: called on the loop when it is not known whether a commit took effect.
        on_fenced: called on the loop when another daemon has taken over, after everything that waited was
            refused. None: the thread then ends with that error.
    """

    on_unknown: Callable[[], None]
    on_fenced: Callable[[], None] | None = None

    def __init__(
        self,
        store: Store,
        trouble: Callable[[StoreError | None], None],
        commits: Commits | None,
    ) -> None:
        """`trouble`, `commits`: as :class:`~trioworkers.inbox.writer.Writer` has them."""
        self.fault = Breakage()
        self.jobs = Submissions()
        self.trouble = Trouble(partial(self.report_soon, trouble))
        self.closed = False
        self.on_unknown = lambda: None
        self._store = store
        self._commits = commits
        self._quickness = Quickness()
        self._turn = threading.Lock()
        self._waiting: deque[Job] = deque()  # of the thread
        # what the thread has told, and what the loop has heard: each is changed by one of them
        self._told = self._heard = 0
        self._token = trio.lowlevel.current_trio_token()
        self._patient_until = 0.0

    def close(self) -> None:
        """Let the thread end once everything submitted is written. Idempotent."""
        if not self.closed:
            self.closed = True
            self._patient_until = time.monotonic() + PATIENCE
            while True:  # without it the thread would never end; what has ended meanwhile makes room
                try:
                    self.jobs.put(None)
                except MemoryError:
                    time.sleep(CLOSING)
                else:
                    return

    def commit_on_loop(self, job: Job) -> bool:
        """Commit a job on the loop, after all that was submitted before it, if that takes next to no time.

        False: nothing was done, and the job has to be submitted.
        """
        if (
            self._store.try_commit is None
            or not self._quickness.allows(time.monotonic())
            or self.trouble.lasts
            or not self._turn.acquire(blocking=False)
        ):
            return False
        try:
            if self.closed or self._waiting or self._told != self._heard:  # what the thread did is told first
                return False
            batch: deque[Job] = deque()
            if not self.jobs.gather_writes(batch):
                return False
            batch.append(job)
            if self._attempt(batch, self._store.try_commit):
                _resolve_all(batch)
                return True
            batch.pop()
            self.jobs.give_back(batch)
            return False
        finally:
            self._turn.release()

    def _attempt(
        self, batch: Sequence[Job], commit: Callable[[Sequence[Operation]], Sequence[Result]]
    ) -> bool:
        operations: list[Operation] = []
        try:
            for one in batch:
                one.take()
                operations += one.all
            if len(operations) > OPERATIONS:
                return False
            began = time.monotonic()
            results = commit(operations)
        except Exception:  # nothing took effect: the thread finds the same, and does what has to be done
            self._quickness.failed()
            return False
        self._committed(batch, operations, results, began, on_loop=True)
        return True

    def work(self) -> None:
        """The thread: gather, commit, tell; until there is nothing more, or nothing to write to.

        Raises:
            StoreDamagedError: the store is damaged; nothing more is written, not even what was submitted.
            StoreFencedError: another daemon has taken over; likewise.
        """
        waiting = self._waiting
        try:
            closing = False
            while not closing or waiting:
                if not waiting:
                    self.jobs.wait()
                with self._turn:
                    closing = not self.jobs.gather(waiting) or closing
                    self._run(waiting)
        except (StoreDamagedError, StoreFencedError) as error:
            with self._turn:
                self.closed = True
                self.jobs.gather(waiting)
            for job in waiting:
                job.error = error
            self._tell([*waiting])
            raise

    def _run(self, waiting: deque[Job]) -> None:
        """Commit the first jobs of `waiting` together, or do the read at its head."""
        if not waiting:
            return
        if (read := waiting[0].read) is not None:
            self._read(waiting.popleft(), read, waiting)
            return
        batch: list[Job] = []
        operations: list[Operation] = []
        while waiting and waiting[0].read is None and len(operations) < OPERATIONS_PER_COMMIT:
            job = waiting.popleft()
            batch.append(job)
            if job.gathered is None:  # most are
                operations.extend(job.operations)
            else:
                job.take()
                operations.extend(job.all)
        self._commit(batch, operations, waiting)

    def _read(self, job: Job, read: Callable[[Store], object], waiting: deque[Job]) -> None:
        try:
            job.result = read(self._store)
        except StoreError as error:
            job.error = error
            self.trouble.failed(error, Proof.ACCEPTS if job.upkeep else Proof.READS)
        else:
            self.trouble.worked(Proof.ACCEPTS if job.upkeep else Proof.READS)
        self._tell([job])
        if isinstance(job.error, StoreDamagedError):
            raise job.error
        if isinstance(job.error, StoreFencedError):
            self._fenced(job.error, waiting)

    def _commit(self, batch: Sequence[Job], operations: Sequence[Operation], waiting: deque[Job]) -> None:
        began = time.monotonic()
        try:
            results = self._store.commit(operations)
        except StoreError as error:
            self._not_committed(batch, error, waiting)
            return
        self._committed(batch, operations, results, began, on_loop=False)
        self._tell(batch)

    def _committed(
        self,
        batch: Sequence[Job],
        operations: Sequence[Operation],
        results: Sequence[Result],
        began: float,
        *,
        on_loop: bool,
    ) -> None:
        """Note a commit that succeeded, and give each job its results."""
        self.jobs.committed_at = ended = time.monotonic()
        self._quickness.note(began, ended, on_loop=on_loop)
        if self._commits is not None:
            self._commits.committed(ended - began, len(operations))
        if self.trouble.lasts:
            accepts = any(isinstance(operation, Accept | Filter) for operation in operations)
            self.trouble.worked(Proof.ACCEPTS if accepts else Proof.WRITES)
        start = 0
        for job in batch:
            if job.gathered is None:
                job.result = results[start : start + len(job.operations)]
                start += len(job.operations)
            else:
                start += sum([len(ended) for ended, _ in job.taken])

    def _not_committed(self, batch: Sequence[Job], error: StoreError, waiting: deque[Job]) -> None:
        self._quickness.failed()
        if self._commits is not None:
            self._commits.failed += 1
        if isinstance(error, StoreRejectedError) and (parts := halves(batch)) is not None:
            first, second = (
                parts  # what cannot be stored is found by halving, and what is beside it is stored
            )
            waiting.extendleft(reversed(second))
            self._commit(first, [one for job in first for one in job.all], waiting)
            return
        self.trouble.failed(error, Proof.WRITES)
        if isinstance(error, StoreRejectedError):
            (job,) = batch  # an acknowledgement, too: its update is handled again after the next start
            job.error = error
            self._tell(batch)
        elif isinstance(error, StoreDamagedError):
            waiting.extendleft(reversed(batch))
            raise error
        elif isinstance(error, StoreFencedError):
            waiting.extendleft(reversed(batch))
            self._fenced(error, waiting)
        else:
            if isinstance(error, StoreUnknownError):
                self.report_soon(self.on_unknown)  # before anybody hears that his update was refused
            self._refuse(batch, error, waiting)

    def _fenced(self, error: StoreFencedError, waiting: deque[Job]) -> None:
        """Nothing of this daemon may be written any more: not what waits, and not what it acknowledges."""
        if self.on_fenced is None:
            raise error
        for job in waiting:
            job.error = error
        self._tell([*waiting])
        waiting.clear()
        self.report_soon(self.on_fenced)

    def _refuse(self, batch: Sequence[Job], error: StoreError, waiting: deque[Job]) -> None:
        """A batch failed: what somebody waits for is refused, what acknowledges updates is kept for later.

        What brings updates in and waits behind is refused with it: the acknowledgements before it may
        fill one batch after the other, and whoever brings updates has to hear that there is no room. Where
        the store is out of reach, reads are refused, too.
        """
        away = isinstance(error, StoreUnreachableError)
        refused = [job for job in (*batch, *waiting) if job.is_awaited or (away and job.read is not None)]
        for job in refused:
            job.error = error
        # of a stop: they are handled again after the next start; it waits for no disk, for a server a little
        left = self.closed and not (away and time.monotonic() < self._patient_until)
        kept = [job for job in (*([] if left else batch), *waiting) if job.error is None]
        waiting.clear()
        waiting.extend(kept)
        self._tell(refused)
        if kept and not refused and not left:
            time.sleep(PAUSE_AFTER_FAILURE)

    def report_soon(self, listener: Callable[..., None], *what: object) -> None:
        def report() -> None:
            try:
                listener(*what)
            except Exception as broken:
                self.fault.note(broken)

        self._token.run_sync_soon(report)

    def _tell(self, jobs: Sequence[Job]) -> None:
        self._told += 1

        def resolve_all() -> None:
            self._heard += 1
            _resolve_all(jobs)

        self._token.run_sync_soon(resolve_all)


def _resolve_all(jobs: Iterable[Job]) -> None:
    for job in jobs:
        try:
            job.resolve(job)
        except Exception as error:  # of one bot: those behind it are resolved all the same
            job.fault.note(error)
