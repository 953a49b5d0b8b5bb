"""Reports background tasks that failed; of a bot in which they fail on and on, some of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.protocol.frames import TaskFailed

MOST_FAILURES, FAILURES_SPAN = 20, 60.0  # that are reported in so many seconds


class TaskReports:
    """Emits `task.failed` for the tasks of one worker."""

    def __init__(self, emit: Callable[..., None]) -> None:
        self._emit = emit
        self._count = self._missed = 0
        self._since = -math.inf

    def report(self, frame: TaskFailed) -> None:
        """Report a task, unless there were too many lately; the next report says how many were left out."""
        now = trio.current_time()
        if now - self._since >= FAILURES_SPAN:
            self._since, self._count = now, 0
        self._count += 1
        if self._count > MOST_FAILURES:
            self._missed += 1
            return
        missed, self._missed = self._missed, 0
        self._emit("task.failed", task=frame.task, error=frame.error, missed=missed or None)
