"""Whether the kernel killed a worker for want of memory: told by the counter of its cgroup.

A process that is killed so ends by SIGKILL like any other that is; only the counter knows. It is that of
the daemon's own cgroup, where its workers are: `oom_kill` in `memory.events` (cgroup v2) or in
`memory.oom_control` (v1). See Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of Linux.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trioworkers.machine import memory_groups

if TYPE_CHECKING:
    from collections.abc import Callable

FRESH = 0.1  # seconds


class OomKills:
    """The counter, and how many of its kills are explained.

    Args:
        path: the file that has it; None where there is none.
        clock: seconds.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._explained = 0
        self._seen: int | None = None
        self._seen_at = -math.inf

    def seen(self) -> int | None:
        """As :meth:`count`, `FRESH` seconds late at most: a thousand workers ask at their start.

        A kill in these seconds explains the end that it caused, which is noticed sooner than that.
        """
        now = self._clock()
        if now - self._seen_at > FRESH:
            self._seen, self._seen_at = self.count(), now
        return self._seen

    def count(self) -> int | None:
        """How many processes were killed so far; None where nobody counts."""
        if self._path is None:
            return None
        try:
            lines = self._path.read_text().splitlines()
        except (OSError, ValueError):
            return None
        for line in lines:
            name, _, figure = line.partition(" ")
            if name == "oom_kill" and figure.isdecimal():
                return int(figure)
        return None

    def explain(self, seen: int | None) -> bool | None:
        """Whether such a kill ended a worker that got a SIGKILL from nobody known; None: not known.

        Each kill explains one end.

        Args:
            seen: the count when the worker was last known to live.
        """
        now = self.count()
        if now is None or seen is None:
            return None
        first = max(seen, self._explained)
        if now <= first:
            return False
        self._explained = first + 1
        return True


def find_counter(process: Path = Path("/proc/self")) -> Path | None:
    """The file with the counter of this process's cgroup; None where there is none."""
    names = {1: "memory.oom_control", 2: "memory.events"}
    paths = (group.folder / names[group.version] for group in memory_groups(process))
    return next((path for path in paths if path.is_file()), None)
