"""Until when workers may call, in memory that they share with the daemon.

A daemon that was frozen cannot end its workers, which go on: their processes are others. So the end of its
lease stands in a file that each worker has mapped; looking at it takes no system call but for the clock. The
file is of one number: 8 bytes, written and read at once.
"""

from __future__ import annotations

import mmap
import os
import time
from math import inf

import trio

NAME = "lease"
SIZE = 8  # bytes
LOOK_EVERY = 0.05  # seconds


def boottime() -> float:
    """Seconds of a clock that no one sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeasePage:
    """The daemon's side.

    Args:
        path: the file, which is made; what is there is not used any more.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._deadline = -inf
        self._mapped: list[tuple[mmap.mmap, os.stat_result]] = []
        self._make()

    def path(self) -> str:
        """The file for a worker that starts; it is made again if somebody removed it.

        Raises:
            OSError: it cannot be.
        """
        try:
            is_there = os.path.samestat(os.stat(self._path), self._mapped[-1][1])
        except FileNotFoundError:
            is_there = False
        if not is_there:
            self._make()
        return self._path

    def write(self, deadline: float) -> None:
        """Let workers call until then, in seconds of :func:`boottime`; from any thread."""
        self._deadline = deadline
        for memory, _ in self._mapped:
            memoryview(memory).cast("d")[0] = deadline

    def _make(self) -> None:
        made = f"{self._path}.new"
        descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)  # a write into a hole of it may be fatal
            self._mapped.append((mmap.mmap(descriptor, SIZE), os.fstat(descriptor)))
            self.write(self._deadline)
            os.rename(made, self._path)
        finally:
            os.close(descriptor)


class LeaseGate:
    """A worker's side.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            self._deadline = memoryview(mmap.mmap(descriptor, SIZE, access=mmap.ACCESS_READ)).cast("d")
        finally:
            os.close(descriptor)

    async def wait(self) -> None:
        """Return when a call may be made: at once, while the daemon's lease holds.

        Where it has ended for good, the daemon ends this process as soon as it can.
        """
        while boottime() >= self._deadline[0]:  # noqa: ASYNC110 - the other side is a process
            await trio.sleep(LOOK_EVERY)
