"""What is submitted to the thread that writes, and what it and the loop note about each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trioworkers.inbox.store import Accept, Filter, Purge, PutValue, Replay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trioworkers.breakage import Breakage
    from trioworkers.inbox.acknowledgements import Acknowledgements
    from trioworkers.inbox.store import Operation, Store, StoreError

# somebody waits for these, and is told when they cannot be done; all others are tried until they are written
AWAITED = (Accept, Filter, Replay, Purge, PutValue)


class Job(msgspec.Struct, eq=False):
    """One submission, and in the end what came of it: exactly one of `result` and `error`.

    `fault`: where it is noted what breaks in `resolve`. `gathered`: whose acknowledgements it takes when its
    turn comes, and `taken`: which they are. `is_split`: it takes no more.
    """

    operations: Sequence[Operation]
    read: Callable[[Store], Any] | None
    resolve: Callable[[Job], None]
    fault: Breakage
    gathered: Acknowledgements[Any] | None = None
    taken: list[tuple[Sequence[Operation], Any]] = []
    result: Any = None
    error: StoreError | None = None
    upkeep: bool = False
    is_split: bool = False

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for what it does, and has to hear when that cannot be done."""
        return any(isinstance(operation, AWAITED) for operation in self.operations)

    @property
    def only_accepts(self) -> bool:
        """Whether it brings updates and does nothing else, so that ends may be committed after it.

        Values that plugins write with updates and ends replace each other in the order in which they come.
        """
        return bool(self.operations) and all(
            [type(operation) is Accept and not operation.writes for operation in self.operations]
        )

    @property
    def all(self) -> Sequence[Operation]:
        """What is to be committed for it, with what it took."""
        if self.gathered is None:
            return self.operations
        return [operation for operations, _ in self.taken for operation in operations]

    def take(self) -> None:
        """Take what has gathered by now, in the thread."""
        if self.gathered is not None and not self.is_split:
            self.taken += self.gathered.take()  # after those of a try that failed

    def halves(self) -> tuple[Job, Job] | None:
        """Two jobs in the place of one that took what had gathered; None where it cannot be split."""
        if len(self.taken) < 2:
            return None
        middle = len(self.taken) // 2
        first = Job((), None, self.resolve, self.fault, self.gathered, self.taken[:middle], is_split=True)
        second = Job(
            (), None, self.resolve, self.fault, self.gathered, self.taken[middle:], is_split=self.is_split
        )
        return first, second


def halves(jobs: Sequence[Job]) -> tuple[Sequence[Job], Sequence[Job]] | None:
    """These jobs in two parts, in their order; None where there is nothing to split."""
    if len(jobs) > 1:
        return jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]
    parts = jobs[0].halves()
    return None if parts is None else ([parts[0]], [parts[1]])


def tell_durable(job: Job) -> None:
    """Resolve a job that took what had gathered."""
    if job.error is None and job.gathered is not None:
        job.gathered.durable(job.taken)
