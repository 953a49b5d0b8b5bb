"""What a worker arranges for its process before any code of a bot runs in it."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
from contextlib import suppress

from trioworkers.worker.deaf import hear_in_forks, leave_to_daemon
from trioworkers.worker.remains import WORKER, call_this_process

OOM_SCORE, MOST_OOM_SCORE = 500, 1000  # thousandths of all memory
# objects, then collections, until each generation is looked through: more than what some handlings have at
# a time, which is no garbage; a few objects may hold much, so the module `memory` looks at bytes, too
COLLECT = (5_000, 20, 20)


def arrange_process(*, forked: bool) -> None:
    """Make this process a worker's, as the kernel, the daemon and handlers see it.

    `forked`: from a zygote, which writes lines, shows crashes, and leaves signals to the daemon already.
    """
    os.environ[WORKER] = str(os.getpid())
    call_this_process("tw-worker")
    if not forked:
        leave_to_daemon()
        write_lines()
        faulthandler.enable()  # a crash of the interpreter, or of a library in C, says where
    hear_in_forks()
    faulthandler.register(signal.SIGQUIT, 2, all_threads=True)  # what the daemon asks one that hangs for
    gc.set_threshold(*COLLECT)


def write_lines() -> None:
    """Let what is printed leave with each line, so that a SIGKILL loses none of them, and in UTF-8.

    Whatever the locale is: the bot's log file is UTF-8, and no `print` may fail for what a user wrote.
    """
    # new ones: those of a fork were made for what the zygote's descriptors lead to
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = open(descriptor, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def offer_to_the_kernel(pid: int) -> None:
    """Let the kernel, when memory runs out, end that process and what it starts before the daemon.

    Whoever starts a worker does it, as the worker would copy 50 kB of memory for it. A worker is started
    again; the end of the daemon is that of the fleet. Raising it needs no privilege
    (proc_pid_oom_score_adj(5)). Half a thousand is as much as if it had half of all memory besides its own.
    """
    with suppress(OSError, ValueError):
        score = os.open(f"/proc/{pid}/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.pwrite(score, b"%d" % min(MOST_OOM_SCORE, int(os.pread(score, 16, 0)) + OOM_SCORE), 0)
        finally:
            os.close(score)
