"""What the system has no more of, in words that name the limit: threads, processes, descriptors, memory.

The system's own words for it ("Resource temporarily unavailable") say neither which limit is reached nor that
there is one. And a thread that cannot be started is a bare RuntimeError, which nobody expects of something
that reads a file: :func:`in_thread` makes an OSError of it, so that it is handled where a failing disk is.
"""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from trioworkers.starved import NO_THREAD, find_starved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import trio

T = TypeVar("T")

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


class NoThreadError(OSError):
    """No thread could be started; the message names the limit."""


async def in_thread(
    work: Callable[..., T],
    *args: object,
    limiter: trio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
) -> T:
    """As :func:`trio.to_thread.run_sync`, but that no thread can be had is an OSError.

    Raises:
        NoThreadError: there is none; nothing was done.
    """
    import trio  # only here: a command that reads a fleet file has no time for it

    try:
        return await trio.to_thread.run_sync(
            work, *args, limiter=limiter, abandon_on_cancel=abandon_on_cancel
        )
    except RuntimeError as error:
        if str(error) != NO_THREAD:
            raise
        raise no_thread() from None


def no_thread() -> NoThreadError:
    """The error for a thread that could not be started."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    stack = "" if most == resource.RLIM_INFINITY else f"; or it has no memory for one: {no_memory()}"
    return NoThreadError(errno.EAGAIN, f"no thread can be started: {_limit_of_tasks()}{stack}")


def shortage_of(error: BaseException) -> str | None:
    """Which limit an exception, or what it came of, says is reached; None when that says nothing of one."""
    found = find_starved(error)
    if isinstance(found, OSError):
        return words_of(found)
    if isinstance(found, RuntimeError):
        return words_of(no_thread())
    return None if found is None else f"no memory: {no_memory()}"


def thread_error(error: RuntimeError) -> OSError | None:
    """The same as an OSError if it is that no thread could be started; None for any other one."""
    return no_thread() if str(error) == NO_THREAD else None


def words_of(error: OSError) -> str:
    """What an error of the system says, lowercase, with the limit that is reached if it is about one."""
    said = (error.strerror or str(error)).lower()
    if isinstance(error, NoThreadError):
        return error.strerror or said
    if error.errno == errno.EAGAIN:
        return f"no process can be started: {_limit_of_tasks()}"
    if error.errno == errno.EMFILE:
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return f"{said}: {most} are allowed, raise LimitNOFILE= of the unit, or `ulimit -n`"
    if error.errno == errno.ENFILE:
        return f"{said}: raise the sysctl fs.file-max"
    if error.errno == errno.ENOMEM:
        return f"{said}: {no_memory()}"
    return said


def no_memory() -> str:
    """What limits the memory of this process, and what raises it."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        return f"the process may have {most >> 20} MB (raise LimitAS= of the unit, or `ulimit -v`)"
    return "the system has no more (raise MemoryMax= of the unit, or the memory of the container or machine)"


def _limit_of_tasks() -> str:
    """Which limit of processes and threads it is, and what raises it.

    Three may be meant (fork(2), EAGAIN): that of a control group, that of the user, that of the system.
    """
    for folder in _groups():
        with suppress(OSError, ValueError):
            most = int((folder / "pids.max").read_text())  # ValueError: "max"
            if int((folder / "pids.current").read_text()) >= most - 1:
                return f"the control group may have {most} (raise TasksMax= of the unit, or the pids limit)"
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if most != resource.RLIM_INFINITY:
        return f"the user may have {most} (raise LimitNPROC= of the unit, or `ulimit -u`)"
    return "the system has no more (raise the sysctl kernel.threads-max or kernel.pid_max)"


def _groups() -> Iterator[Path]:
    """The control group of this process and those above it, of either version (cgroups(7))."""
    with suppress(OSError):
        for line in OWN_GROUP.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers in ("", "pids"):
                root = GROUPS / controllers
                own = root / os.path.normpath(name).lstrip("/")
                yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))
