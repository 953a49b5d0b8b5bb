"""What this process may use of the machine: processor cores and memory, as far as its container lets it.

The memory is that of the machine, or what the control groups around this process allow, if that is less.
See proc_pid_cgroup(5) and proc_pid_mountinfo(5), and Documentation/admin-guide/cgroup-v2.rst and
cgroup-v1/memory.rst of Linux.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is. `memory`: bytes; 0 where the system does not tell."""

    cores: int
    memory: int


class MemoryGroup(NamedTuple):
    """A control group that this process is in, with the folder of its hierarchy's root."""

    folder: Path
    root: Path
    version: int


def this_machine(proc: Path = PROC) -> Machine:
    """Look at the machine. What limits this process may change later; it is seen by whoever looks again."""
    return Machine(len(os.sched_getaffinity(0)), _memory(proc))


def memory_groups(process: Path = PROC / "self") -> Iterator[MemoryGroup]:
    """Yield the control groups that may count the memory of a process; whether they exist is not known.

    `process`: its folder in /proc.
    """
    try:
        groups = (process / "cgroup").read_text().splitlines()
        mounts = (process / "mountinfo").read_text().splitlines()
    except (OSError, ValueError):
        return
    for group in groups:
        _, controllers, own = group.split(":", 2)
        for mount in mounts:
            place, _, kind = mount.partition(" - ")
            root, folder = place.split()[3:5]
            type_, _, options = kind.split(" ", 2)
            if type_ == "cgroup2" and not controllers:
                yield MemoryGroup(_below(Path(folder), root, own), Path(folder), 2)
            elif type_ == "cgroup" and "memory" in controllers.split(",") and "memory" in options.split(","):
                yield MemoryGroup(_below(Path(folder), root, own), Path(folder), 1)


def _memory(proc: Path) -> int:
    whole = _of_the_machine(proc)
    found = [] if whole is None else [whole]
    for group in memory_groups(proc / "self"):
        name = "memory.max" if group.version == 2 else "memory.limit_in_bytes"
        # each group is bounded by those around it, too
        for folder in (group.folder, *group.folder.parents):
            with suppress(OSError, ValueError):  # "max" is no limit
                found.append(int((folder / name).read_text()))
            if folder == group.root:
                break
    return min(found, default=0)


def _of_the_machine(proc: Path) -> int | None:
    with suppress(OSError, ValueError):
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    return None


def _below(folder: Path, root: str, own: str) -> Path:
    """The folder of the group `own` where `root` of the hierarchy is mounted at `folder`."""
    group, mounted = PurePosixPath(own), PurePosixPath(root)
    return folder / group.relative_to(mounted) if group.is_relative_to(mounted) else folder
