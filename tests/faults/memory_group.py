"""A control group of processes whose memory is limited, of either version (cgroups(7))."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Self

import pytest

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class MemoryGroup:
    """A control group; a context manager that removes it. It skips the test where none can be made.

    Attributes:
        procs: the file that a process is put into the group by.
    """

    def __init__(self) -> None:
        is_first = (V1 / "memory.limit_in_bytes").exists()
        self._folder = (V1 if is_first else V2) / f"trioworkers-test-{os.getpid()}"
        self._limit = self._folder / ("memory.limit_in_bytes" if is_first else "memory.max")
        self._usage = self._folder / ("memory.usage_in_bytes" if is_first else "memory.current")
        self._none = "-1" if is_first else "max"
        self.procs = self._folder / "cgroup.procs"

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir()
            self.lift()
        except OSError:
            if self._folder.exists():
                self._folder.rmdir()
            pytest.skip("no control group for memory can be made here")
        return self

    def __exit__(self, *_: object) -> None:
        for _attempt in range(200):  # its last processes are just being taken down
            try:
                self._folder.rmdir()
                return
            except OSError:
                time.sleep(0.05)

    def leave_room(self, spare: int) -> None:
        """Let its processes have so many bytes more than they have now."""
        self._limit.write_text(str(int(self._usage.read_text()) + spare))

    def lift(self) -> None:
        """Let them have whatever there is."""
        self._limit.write_text(self._none)
