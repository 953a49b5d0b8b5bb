"""How jobs reach the thread that writes, and when it wakes for them."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from enum import IntEnum
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioworkers.inbox.jobs import Job

GATHERING = 0.02  # seconds after a commit for which what nobody waits for gathers
FEW = 32  # acknowledgements that an update's commit sets aside at most


class Rest(IntEnum):
    """The state of the thread; it decides which submissions have to wake it."""

    AT_WORK = 0  # by nothing: it looks for jobs by itself
    GATHERS = 1  # by what somebody waits for
    SLEEPS = 2  # by anything


class Submissions:
    """Jobs on their way from the loop to the thread.

    Attributes:
        committed_at: when the thread ended its last commit, by the monotonic clock; it sets this.
    """

    def __init__(self) -> None:
        self._jobs: deque[Job | None] = deque()
        # of the thread, and of those who submit; whoever changes one looks at the other after that
        self._rest = Rest.AT_WORK
        self._awaited = self._hurried = False
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.committed_at = 0.0
        self._since = 0.0  # when the first one came that gathers; 0: none does
        # of the thread
        self._left: list[Job] = []  # acknowledgements that an earlier commit has set aside
        self._left_until = 0.0
        self._rested = False

    def put(self, job: Job | None, *, awaited: bool = True) -> None:
        """Submit a job, or the end (None), from the loop. It may gather, unless it is `awaited`."""
        self._jobs.append(job)
        if awaited:
            self._awaited = True
            if job is not None and job.gathered is not None:
                self._hurried = True
        elif not self._since:
            self._since = time.monotonic()
        if self._rest is Rest.SLEEPS or (awaited and self._rest is Rest.GATHERS):
            rest, self._rest = self._rest, Rest.AT_WORK  # one bell is enough
            try:
                self._bell.put(None)
            except MemoryError:  # else nobody would ring it any more
                self._rest = rest
                raise

    def hurry(self) -> None:
        """Let nothing that was submitted gather any longer."""
        self._hurried = self._awaited = True
        if self._rest is Rest.GATHERS:
            self._rest = Rest.AT_WORK
            self._bell.put(None)

    def wait(self) -> None:
        """Return when there are jobs, and it is time for them; in the thread."""
        until = self._left_until if self._left else self.committed_at + GATHERING
        left = until - time.monotonic()
        self._rest = Rest.GATHERS  # before there is a job: what may gather wakes nobody
        if left > 0 and not self._awaited:
            self._rested = True
            with suppress(Empty):
                self._bell.get(timeout=left)
        while not self._jobs and not self._left:
            self._rested = True
            self._rest = Rest.SLEEPS
            if not self._jobs:
                self._bell.get()
        self._rest = Rest.AT_WORK

    def gather(self, waiting: deque[Job]) -> bool:
        """Move what was submitted to `waiting`, in the thread; False once the end was among it.

        If the thread was idle and updates arrive, a few acknowledgements are set aside, so that the updates
        are on disk sooner.
        """
        rested, self._rested = self._rested, False
        self._awaited = False
        hurried, self._hurried = self._hurried, False
        jobs: list[Job] = []
        goes_on = True
        while goes_on and self._jobs:
            job = self._jobs.popleft()
            if job is None:
                goes_on = False
            else:
                jobs.append(job)
        if rested and goes_on and not hurried and self._leave(jobs):
            waiting.extend([job for job in jobs if job.gathered is None])
        else:
            self._since = 0.0
            self.take_left(waiting)
            waiting.extend(jobs)
        return goes_on

    def take_left(self, waiting: deque[Job]) -> None:
        """Move what was set aside to `waiting`; in the thread."""
        waiting.extend(self._left)
        self._left.clear()

    def _leave(self, jobs: list[Job]) -> bool:
        """Set acknowledgements aside if all other jobs only bring updates; return whether it did."""
        gathering = [job for job in jobs if job.gathered is not None]
        acknowledgements = [job.gathered for job in (*self._left, *gathering) if job.gathered is not None]
        now = time.monotonic()
        if (
            len(gathering) == len(jobs)
            or (self._left and now >= self._left_until)
            or not all([job.gathered is not None or job.only_accepts for job in jobs])
            or sum([one.gathering for one in acknowledgements]) > FEW
        ):
            return False
        if gathering and not self._left:
            self._left_until = (self._since or now) + GATHERING
        self._left += gathering
        return True
