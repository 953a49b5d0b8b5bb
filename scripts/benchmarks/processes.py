"""What processes use, as the kernel counts it."""

from __future__ import annotations

import time
from pathlib import Path

import psutil


def cpu(pid: int) -> float:
    """Seconds of processor that a process has used, all threads that live.

    From the scheduler, in nanoseconds: of a thousand workers that each use some milliseconds, the clock
    ticks of proc(5) show nothing.
    """
    return (
        sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())
        / 1e9
    )


def pss(pid: int) -> float:
    """A process's proportional share of memory, MB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def used_while_idle(pids: list[int], settle: float, seconds: float) -> float:
    """Cores that processes use, in so many seconds in which nobody says anything, after some to settle."""
    time.sleep(settle)
    before, began = sum(map(cpu, pids)), time.perf_counter()
    time.sleep(seconds)
    return (sum(map(cpu, pids)) - before) / (time.perf_counter() - began)
