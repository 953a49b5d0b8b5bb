"""Whether the kernel killed a worker for want of memory: told by the counter of its cgroup.

A process that is killed so ends by SIGKILL like any other that is; only the counter knows. It is that of
the daemon's own cgroup, where its workers are: `oom_kill` in `memory.events` (cgroup v2) or in
`memory.oom_control` (v1). See Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of Linux.
"""

from __future__ import annotations

import math
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def find_counter(proc: Path = Path("/proc/self")) -> Path | None:
    """The file with the counter of this process's cgroup; None where there is none."""
    try:
        groups = (proc / "cgroup").read_text().splitlines()
        mounts = (proc / "mountinfo").read_text().splitlines()
    except (OSError, ValueError):
        return None
    return next((path for path in _candidates(groups, mounts) if path.is_file()), None)


def _candidates(groups: list[str], mounts: list[str]) -> Iterator[Path]:
    """Where the file may be; see proc_pid_cgroup(5) and proc_pid_mountinfo(5)."""
    for group in groups:
        _, controllers, own = group.split(":", 2)
        for mount in mounts:
            place, _, kind = mount.partition(" - ")
            root, folder = place.split()[3:5]
            type_, _, options = kind.split(" ", 2)
            if type_ == "cgroup2" and not controllers:
                yield _below(Path(folder), root, own) / "memory.events"
            elif type_ == "cgroup" and "memory" in controllers.split(",") and "memory" in options.split(","):
                yield _below(Path(folder), root, own) / "memory.oom_control"


def _below(folder: Path, root: str, own: str) -> Path:
    """The folder of the group `own` where `root` of the hierarchy is mounted at `folder`."""
    group, mounted = PurePosixPath(own), PurePosixPath(root)
    return folder / group.relative_to(mounted) if group.is_relative_to(mounted) else folder
