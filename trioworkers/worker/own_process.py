"""What a worker arranges for its process before any code of a bot runs in it."""

from __future__ import annotations

import sys
from contextlib import suppress

OOM_SCORE, MOST_OOM_SCORE = 500, 1000  # thousandths of all memory


def write_lines() -> None:
    """Let what is printed leave with each line, so that a SIGKILL loses none of them, and in UTF-8.

    Whatever the locale is: the bot's log file is UTF-8, and no `print` may fail for what a user wrote.
    """
    # new ones: those of a fork were made for what the zygote's descriptors lead to
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = open(descriptor, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def offer_to_the_kernel() -> None:
    """Let the kernel, when memory runs out, end this process and what it starts before the daemon.

    A worker is started again; the end of the daemon is that of the fleet. Raising it needs no privilege
    (proc_pid_oom_score_adj(5)). Half a thousand is as much as if it had half of all memory besides its own.
    """
    with suppress(OSError, ValueError), open("/proc/self/oom_score_adj", "r+b", buffering=0) as score:
        score.write(b"%d" % min(MOST_OOM_SCORE, int(score.read()) + OOM_SCORE))
