"""The thread that writes: everything that waits becomes one transaction, the sync makes the batch.

While one commit syncs, the next operations gather; so a lone update is committed at once and a
thousand together, without a timer. Results come back to the loop in the order of the commits, and
reads are done in the same order, in the same thread: whoever reads sees a state that the loop
has heard of, or is about to, before the read's own answer.

What nobody waits for, as most acknowledgements, gathers for some milliseconds: a commit and the wake-ups
around it cost as much processor time as thirty acknowledgements. What is waited for takes it along, but for
an update that finds the thread at rest (:mod:`.submissions`).
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import trio

from trioworkers.breakage import Breakage
from trioworkers.inbox.jobs import Job, halves, tell_durable
from trioworkers.inbox.journal import JournalWatch
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
from trioworkers.inbox.thread_end import ThreadEnd
from trioworkers.inbox.trouble import Proof, Trouble
from trioworkers.shortage import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trioworkers.figures import Commits
    from trioworkers.inbox.acknowledgements import Acknowledgements
    from trioworkers.inbox.store import Operation, Store

T = TypeVar("T")

OPERATIONS_PER_COMMIT = 512
PAUSE_AFTER_FAILURE = 0.5  # seconds, before acknowledgements that could not be written are tried again
PATIENCE = 5.0  # seconds for which a server that is away is waited for at the end
CLOSING = 0.01  # seconds until its end is submitted again for which there was no memory


class Writer:
    """Gives a store to the loop. Made on the loop; `serve` runs the thread until `close`.

    Attributes:
        end: of its thread.
        fault: where it is noted what breaks in a callback that serves no bot in particular.
        on_unknown: called on the loop when it is not known whether a commit took effect: what is in memory
            has to be read anew.
        on_fenced: called on the loop when another daemon has taken over, after everything that waited was
            refused. None: the thread then ends with that error.
    """

    on_unknown: Callable[[], None]
    on_fenced: Callable[[StoreFencedError], None] | None = None

    def __init__(
        self,
        store: Store,
        trouble: Callable[[StoreError | None], None] = lambda _: None,
        commits: Commits | None = None,
        journal: Callable[[int, Sequence[str]], None] = lambda *_: None,
    ) -> None:
        """`trouble` is called on the loop when the store begins to fail, with why, and with None when it
        works again; `journal` as :class:`JournalWatch` has it. `commits` counts in the thread."""
        self.fault = Breakage()
        self._store = store
        self._trouble = Trouble(partial(self._report_soon, trouble))
        self.on_unknown = lambda: None
        self._commits = commits
        self._journal = JournalWatch(partial(self._report_soon, journal))
        self._backups = trio.CapacityLimiter(1)
        self._jobs = Submissions()
        self._token = trio.lowlevel.current_trio_token()
        self._closed = False
        self._patient_until = 0.0
        self.end = ThreadEnd()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until :meth:`close`, then write what is left.

        Cancellation does not reach it: what was submitted is written. Close it to end it.

        Raises:
            StoreDamagedError: the store is damaged; nothing more is written, not even what was submitted.
            StoreFencedError: another daemon has taken over; likewise.
        """
        task_status.started()
        await self.end.run(self._work)

    async def wait_broken(self) -> NoReturn:
        """Wait until a callback has raised that serves no bot in particular, and raise that."""
        await self.fault.wait_raise()

    def close(self) -> None:
        """Let the thread end once everything submitted is written. Idempotent."""
        if not self._closed:
            self._closed = True
            self._patient_until = time.monotonic() + PATIENCE
            while True:  # without it the thread would never end; what has ended meanwhile makes room
                try:
                    self._jobs.put(None)
                except MemoryError:
                    time.sleep(CLOSING)
                else:
                    return

    async def commit(self, operations: Sequence[Operation], then: Callable[[Sequence[Any]], None]) -> None:
        """Commit the operations together; return once they are durable.

        `then` is called on the loop with one result for each operation, in the order of the commits (a
        task would wake in any order). A caller that is cancelled leaves; its operations are committed
        and `then` is called all the same. What `then` raises is raised here.

        Raises:
            StoreError: they were not committed, and will not be.
        """
        await self._do(operations, None, then)

    async def read(self, read: Callable[[Store], T]) -> T:
        """Read in the thread, after everything that was submitted before; return what `read` returned.

        Raises:
            StoreError: it could not be read.
        """
        answer: list[T] = []
        await self._do((), read, answer.append)
        return answer[0]

    async def _do(
        self, operations: Sequence[Operation], read: Callable[[Store], T] | None, then: Callable[[Any], None]
    ) -> None:
        if self._closed:
            message = "the inbox is closed"
            raise StoreError(message)
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()

        broken: Exception | None = None

        def resolve(job: Job) -> None:
            nonlocal broken
            try:
                if job.error is None:
                    then(job.result)
            except Exception as error:
                broken = error
            if task is not None:
                trio.lowlevel.reschedule(task)
            elif broken is not None:
                raise broken

        def abort(_: object) -> trio.lowlevel.Abort:
            nonlocal task
            task = None
            return trio.lowlevel.Abort.SUCCEEDED

        job = Job(operations, read, resolve, self.fault)
        self._jobs.put(job)
        await trio.lowlevel.wait_task_rescheduled(abort)
        if job.error is not None:
            raise job.error
        if broken is not None:
            raise broken

    def submit(
        self,
        operations: Sequence[Operation],
        then: Callable[[], None],
        fault: Breakage,
        *,
        soon: bool = True,
    ) -> None:
        """Commit the operations some time; call `then` on the loop once they are durable.

        For acknowledgements: they hold no update that Telegram could send again, so they are tried
        until they are written, however long a full disk stands in the way. Where nothing waits for them
        `soon` is False: they may gather. `fault` is where it is noted what `then` raises.
        """
        self._jobs.put(
            Job(operations, None, lambda job: then() if job.error is None else None, fault), awaited=soon
        )

    def submit_gathered(self, gathered: Acknowledgements[Any], *, soon: bool) -> None:
        """Commit some time what has gathered by then; it hears of that. As :meth:`submit` otherwise."""
        self._jobs.put(Job((), None, tell_durable, self.fault, gathered), awaited=soon)

    def hurry(self) -> None:
        """Let nothing that was submitted gather any longer."""
        self._jobs.hurry()

    def fetch(
        self, read: Callable[[Store], T], then: Callable[[T | StoreError], None], fault: Breakage
    ) -> None:
        """Read in the thread, after everything that was submitted before; call `then` on the loop.

        It gets what `read` returned, or the error. `fault` is where it is noted what `then` raises.
        """
        self._jobs.put(Job((), read, lambda job: then(job.result if job.error is None else job.error), fault))

    def tend(self, upkeep: Callable[[Store], object]) -> None:
        """Let the store do its own upkeep, then `upkeep`.

        That the first succeeds proves that updates are accepted again: after trouble it writes, too.
        """
        self._jobs.put(Job((), self._tend, lambda _: None, self.fault, upkeep=True))
        self._jobs.put(Job((), upkeep, lambda _: None, self.fault))

    def _tend(self, store: Store) -> None:
        held = store.tend(prove=self._trouble.lasts)
        if not self._backups.borrowed_tokens:  # a copy of ours reads, too
            self._journal.note(held, store.holders)

    async def backup(self, path: Path) -> None:
        """Copy the store to `path`, beside what the thread does; one at a time. Cancellation waits for it.

        Raises:
            StoreError: there is no copy.
        """
        await in_thread(self._store.backup, path, limiter=self._backups)

    def _work(self) -> None:
        """The thread: gather, commit, tell; until there is nothing more, or nothing to write to."""
        waiting: deque[Job] = deque()
        try:
            self._work_off(waiting)
            self.end.is_over = True
        except (StoreDamagedError, StoreFencedError) as error:
            self._closed = True
            self._jobs.gather(waiting)
            for job in waiting:
                job.error = error
            self._tell([*waiting])
            raise

    def _work_off(self, waiting: deque[Job]) -> None:
        closing = False
        while not closing or waiting:
            if not waiting:
                self._jobs.wait()
            closing = not self._jobs.gather(waiting) or closing
            self._run(waiting)

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
            self._trouble.failed(error, Proof.ACCEPTS if job.upkeep else Proof.READS)
        else:
            self._trouble.worked(Proof.ACCEPTS if job.upkeep else Proof.READS)
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
        self._jobs.committed_at = time.monotonic()
        if self._commits is not None:
            self._commits.committed(self._jobs.committed_at - began, len(operations))
        if self._trouble.lasts:
            accepts = any(isinstance(operation, Accept | Filter) for operation in operations)
            self._trouble.worked(Proof.ACCEPTS if accepts else Proof.WRITES)
        start = 0
        for job in batch:
            if job.gathered is None:
                job.result = results[start : start + len(job.operations)]
                start += len(job.operations)
            else:
                start += sum([len(ended) for ended, _ in job.taken])
        self._tell(batch)

    def _not_committed(self, batch: Sequence[Job], error: StoreError, waiting: deque[Job]) -> None:
        if self._commits is not None:
            self._commits.failed += 1
        if isinstance(error, StoreRejectedError) and (parts := halves(batch)) is not None:
            first, second = (
                parts  # what cannot be stored is found by halving, and what is beside it is stored
            )
            waiting.extendleft(reversed(second))
            self._commit(first, [one for job in first for one in job.all], waiting)
            return
        self._trouble.failed(error, Proof.WRITES)
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
                self._report_soon(self.on_unknown)  # before anybody hears that his update was refused
            self._refuse(batch, error, waiting)

    def _fenced(self, error: StoreFencedError, waiting: deque[Job]) -> None:
        """Nothing of this daemon may be written any more: not what waits, and not what it acknowledges."""
        if self.on_fenced is None:
            raise error
        self._jobs.take_left(waiting)
        for job in waiting:
            job.error = error
        self._tell([*waiting])
        waiting.clear()
        self._report_soon(self.on_fenced, error)

    def _refuse(self, batch: Sequence[Job], error: StoreError, waiting: deque[Job]) -> None:
        """A batch failed: what somebody waits for is refused, what acknowledges updates is kept for later.

        Updates that wait behind the batch are refused, too: the acknowledgements before them may fill many
        batches, and a transport has to hear soon that there is no room. If the store cannot be reached,
        reads are refused as well.
        """
        away = isinstance(error, StoreUnreachableError)
        refused = [job for job in (*batch, *waiting) if job.is_awaited or (away and job.read is not None)]
        for job in refused:
            job.error = error
        # of a stop: they are handled again after the next start; it waits for no disk, for a server a little
        left = self._closed and not (away and time.monotonic() < self._patient_until)
        kept = [job for job in (*([] if left else batch), *waiting) if job.error is None]
        waiting.clear()
        waiting.extend(kept)
        self._tell(refused)
        if kept and not refused and not left:
            time.sleep(PAUSE_AFTER_FAILURE)

    def _report_soon(self, listener: Callable[..., None], *what: object) -> None:
        def report() -> None:
            try:
                listener(*what)
            except Exception as broken:
                self.fault.note(broken)

        self._token.run_sync_soon(report)

    def _tell(self, jobs: Sequence[Job]) -> None:
        def resolve_all() -> None:
            for job in jobs:
                try:
                    job.resolve(job)
                except Exception as error:  # of one bot: those behind it are resolved all the same
                    job.fault.note(error)

        self._token.run_sync_soon(resolve_all)
