"""What the loop and the store have to do with each other: it submits, and hears of results in order.

While one commit syncs, the next operations gather; so a lone update is committed at once and a
thousand together, without a timer. Results come back to the loop in the order of the commits, and
reads are done in the same order, in the same thread: whoever reads sees a state that the loop
has heard of, or is about to, before the read's own answer.

What nobody waits for, as most acknowledgements, gathers for some milliseconds after a commit, unless
something comes that is waited for and takes it along: a commit and the wake-ups around it cost as much
processor time as thirty acknowledgements.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import trio

from trioworkers.inbox.committer import Committer
from trioworkers.inbox.jobs import Job, tell_durable
from trioworkers.inbox.journal import JournalWatch
from trioworkers.inbox.store import StoreError
from trioworkers.inbox.thread_end import ThreadEnd
from trioworkers.shortage import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trioworkers.breakage import Breakage
    from trioworkers.figures import Commits
    from trioworkers.inbox.acknowledgements import Acknowledgements
    from trioworkers.inbox.store import Operation, Store

T = TypeVar("T")


class Writer:
    """Gives a store to the loop. Made on the loop; `serve` runs the thread until `close`.

    Attributes:
        end: of its thread.
        fault: where it is noted what breaks in a callback that serves no bot in particular.
    """

    def __init__(
        self,
        store: Store,
        trouble: Callable[[StoreError | None], None] = lambda _: None,
        commits: Commits | None = None,
        journal: Callable[[int, Sequence[str]], None] = lambda *_: None,
    ) -> None:
        """`trouble` is called on the loop when the store begins to fail, with why, and with None when it
        works again; `journal` as :class:`JournalWatch` has it. `commits` counts each commit."""
        self._store = store
        self._committer = Committer(store, trouble, commits)
        self._jobs = self._committer.jobs
        self.fault = self._committer.fault
        self._journal = JournalWatch(partial(self._committer.report_soon, journal))
        self._backups = trio.CapacityLimiter(1)
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

    def _work(self) -> None:
        self._committer.work()
        self.end.is_over = True

    def on_unknown(self, then: Callable[[], None]) -> None:
        """Call `then` on the loop when it is not known whether a commit took effect.

        What is in memory has to be read anew.
        """
        self._committer.on_unknown = then

    def on_fenced(self, then: Callable[[], None]) -> None:
        """Call `then` on the loop when another daemon has taken over, in place of ending with that error.

        Everything that waited was refused before.
        """
        self._committer.on_fenced = then

    async def wait_broken(self) -> NoReturn:
        """Wait until a callback has raised that serves no bot in particular, and raise that."""
        await self.fault.wait_raise()

    def close(self) -> None:
        """Let the thread end once everything submitted is written. Idempotent."""
        self._committer.close()

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
        if self._committer.closed:
            message = "the inbox is closed"
            raise StoreError(message)
        task: trio.lowlevel.Task | None = None
        is_left = False
        broken: Exception | None = None

        def resolve(job: Job) -> None:
            nonlocal broken
            try:
                if job.error is None:
                    then(job.result)
            except Exception as error:
                if is_left:
                    raise
                broken = error
            if task is not None and not is_left:
                trio.lowlevel.reschedule(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            nonlocal is_left
            is_left = True
            return trio.lowlevel.Abort.SUCCEEDED

        job = Job(operations, read, resolve, self.fault)
        if read is not None or not self._committer.commit_on_loop(job):
            self._jobs.put(job)
            task = trio.lowlevel.current_task()
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
        held = store.tend(prove=self._committer.trouble.lasts)
        if not self._backups.borrowed_tokens:  # a copy of ours reads, too
            self._journal.note(held, store.holders)

    async def backup(self, path: Path) -> None:
        """Copy the store to `path`, beside what the thread does; one at a time. Cancellation waits for it.

        Raises:
            StoreError: there is no copy.
        """
        await in_thread(self._store.backup, path, limiter=self._backups)
