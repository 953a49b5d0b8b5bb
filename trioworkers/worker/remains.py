"""Finds the processes of a run of the daemon, and ends them, however they were left behind.

Everything that a run starts carries the run's number in its environment, where the kernel keeps it for
whoever may read it (proc(5), environ): a process is known by a number of 128 random bits, never by its
name, and never by a process number alone, which may be another's by now: what it is killed by is a pidfd,
opened before its start is compared with that of the process that was marked.

Without a descriptor nothing can be looked at: functions that look raise an OSError then, rather than miss
one.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trioworkers.starved import is_starved

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

RUN = "TRIOWORKERS_RUN"
"""The variable that names the run, in the zygote and in all that comes of it."""

WORKER = "TRIOWORKERS_WORKER"
"""The variable that names the worker's process, in what a worker starts."""

PAUSE = 0.01  # seconds between them


def end_run(run: str, *, seconds: float = 2.0) -> int:
    """Kill every process that is marked with `run`, but for this one; return how many were.

    With a leader of a session go the processes of its session, marked or not. Blocks until all have ended,
    at most so many seconds: one that the kernel does not let go is left.

    Raises:
        OSError: there is no descriptor to look with.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        killed = {pid for pid, start in _of_run(run) if _kill(pid, start)}
        if not killed:
            break
        ended |= killed
        time.sleep(PAUSE)
    return len(ended)


def children_of(pid: int) -> list[int]:
    """The processes whose parent is `pid`, those that wait to be reaped included.

    Raises:
        OSError: there is no descriptor to look with.
    """
    try:
        lists = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
        return [int(child) for children in lists for child in children.read_bytes().split()]
    except FileNotFoundError:  # a thread ended meanwhile, or it is a kernel without CONFIG_PROC_CHILDREN
        return [child for child in _processes() if (stat := _stat(child)) and stat.parent == pid]


def variable_of(pid: int, name: str) -> str | None:
    """A variable of the environment that a process was started with; None when there is none to be read.

    Raises:
        OSError: there is no descriptor to look with.
    """
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError as error:
        if is_starved(error):
            raise
        return None
    start = f"{name}=".encode()
    return next(
        (entry[len(start) :].decode() for entry in environ.split(b"\0") if entry.startswith(start)), None
    )


def orphans(workers: Collection[int], run: str | None = None) -> list[int]:
    """The children of this process that came to it when the worker that they come from ended.

    A child is one of `workers` (children, too), or from one of them that still runs, by its session or its
    environment; else it is an orphan: what has neither comes from none. With `run` only marked ones count.

    Raises:
        OSError: there is no descriptor to look with.
    """
    found = []
    for pid in children_of(os.getpid()):
        if pid not in workers and (run is None or variable_of(pid, RUN) == run):
            named = variable_of(pid, WORKER) or ""
            owners = {_session_of(pid), int(named) if named.isdecimal() else 0}.intersection(workers)
            if not any(map(_runs, owners)):
                found.append(pid)
    return found


def strangers(own: Collection[int]) -> set[tuple[int, int]]:
    """The children of this process that have ended and that it did not start, with their starts.

    They came to it as the first process of a container, of probes and of shells that were run there. Each is
    of another session than this process, of which a plugin's children are.

    Raises:
        OSError: there is no descriptor to look with.
    """
    session = os.getsid(0)
    found = {pid: _stat(pid) for pid in children_of(os.getpid()) if pid not in own}
    return {
        (pid, stat.start)
        for pid, stat in found.items()
        if stat is not None and not stat.lives and stat.session != session
    }


def kill(pid: int) -> None:
    """Kill a child of this process, which is not reaped and so still itself."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def begin_run(path: Path) -> str:
    """End what is left of the run that the file at `path` names; return a new run's name, which it names now.

    Blocks for what :func:`end_run` blocks. Nobody else may begin one there at the same time.

    Raises:
        OSError: the file cannot be read or written, or there is no descriptor to look with.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        former = os.read(descriptor, 64).decode(errors="replace").strip()
        if former:
            end_run(former)
        run = secrets.token_hex(16)
        os.pwrite(descriptor, f"{run}\n".encode(), 0)
        os.ftruncate(descriptor, len(run) + 1)
        return run
    finally:
        os.close(descriptor)


def call_this_process(name: str) -> None:
    """Let lists of processes show it as `name` (proc(5), comm; 15 characters); nothing is found by it.

    Without `Path` and text: the pages that those touch are copied in each worker, 5 % of its start.
    """
    with suppress(OSError):
        comm = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(comm, name.encode())
        finally:
            os.close(comm)


def _of_run(run: str) -> Iterable[tuple[int, int]]:
    """The processes of a run that still live, and those of the sessions that they lead, with their starts."""
    found = {pid: stat for pid in _processes() if (stat := _stat(pid)) and stat.lives and pid != os.getpid()}
    marked = {pid for pid in found if variable_of(pid, RUN) == run}
    return [(pid, stat.start) for pid, stat in found.items() if pid in marked or stat.session in marked]


def _kill(pid: int, start: int) -> bool:
    """Kill a process if it is, now that it is held on to, still the one that started then."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        stat = _stat(pid)
        if stat is None or stat.start != start:
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return True
    finally:
        os.close(descriptor)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def session_share() -> int:
    """The proportional share of memory (PSS) of all processes of this one's session, in bytes.

    The kernel adds it up page by page, some milliseconds for each process.
    """
    session, share = os.getsid(0), 0
    for pid in _processes():
        if _session_of(pid) == session:
            with suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
                share += sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith(b"Pss:"))
    return share


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _runs(pid: int) -> bool:
    """Whether a process is a child of this one that has not ended."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


class _Stat(NamedTuple):
    """Of a process (proc(5), stat). `start`: clock ticks since the machine's start."""

    lives: bool
    parent: int
    session: int
    start: int


def _stat(pid: int) -> _Stat | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError as error:
        if is_starved(error):
            raise
        return None
    return _Stat(fields[0] not in "ZX", int(fields[1]), int(fields[3]), int(fields[19]))
