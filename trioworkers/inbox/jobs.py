"""What is submitted to the thread that writes, and what it and the loop note about each other."""

from __future__ import annotations

from enum import IntEnum
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
    turn comes, and `taken`: which they are.
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


class Rest(IntEnum):
    """The state of the thread; it decides which submissions have to wake it."""

    AT_WORK = 0  # by nothing: it looks for jobs by itself
    GATHERS = 1  # by what somebody waits for
    SLEEPS = 2  # by anything


class Proof(IntEnum):
    """What of the store works, by what succeeded; each includes those before."""

    READS = 0
    WRITES = 1
    ACCEPTS = 2


def tell_durable(job: Job) -> None:
    """Resolve a job that took what had gathered."""
    if job.error is None and job.gathered is not None:
        job.gathered.durable(job.taken)
