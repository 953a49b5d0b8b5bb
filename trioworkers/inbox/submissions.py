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
        self._awaited = False
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.committed_at = 0.0

    def put(self, job: Job | None, *, awaited: bool = True) -> None:
        """Submit a job, or the end (None), from the loop. It may gather, unless it is `awaited`."""
        self._jobs.append(job)
        if awaited:
            self._awaited = True
        if self._rest is Rest.SLEEPS or (awaited and self._rest is Rest.GATHERS):
            rest, self._rest = self._rest, Rest.AT_WORK  # one bell is enough
            try:
                self._bell.put(None)
            except MemoryError:  # else nobody would ring it any more
                self._rest = rest
                raise

    def hurry(self) -> None:
        """Let nothing that was submitted gather any longer."""
        self._awaited = True
        if self._rest is Rest.GATHERS:
            self._rest = Rest.AT_WORK
            self._bell.put(None)

    def wait(self) -> None:
        """Return when there are jobs, and it is time for them; in the thread."""
        left = self.committed_at + GATHERING - time.monotonic()
        self._rest = Rest.GATHERS  # before there is a job: what may gather wakes nobody
        if left > 0 and not self._awaited:
            with suppress(Empty):
                self._bell.get(timeout=left)
        while not self._jobs:
            self._rest = Rest.SLEEPS
            if not self._jobs:
                self._bell.get()
        self._rest = Rest.AT_WORK

    def gather(self, waiting: deque[Job]) -> bool:
        """Move what was submitted to `waiting`, in the thread; False once the end was among it."""
        self._awaited = False
        while self._jobs:
            job = self._jobs.popleft()
            if job is None:
                return False
            waiting.append(job)
        return True
