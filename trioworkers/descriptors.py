"""Open files: as many as the system allows, and an error before the start where a fleet needs more.

A shell's usual 1,024 are for programs that hand them to select(2); a fleet of a few hundred bots runs out
of them, and then one bot's connection is another one's failure.
"""

from __future__ import annotations

import errno
import os
import resource

from trioworkers.errors import TrioworkersError

OF_THE_DAEMON = 200  # log, inbox, listeners, the API's connections
OF_A_BOT = 1  # its long poll
OF_A_WORKER = 3  # its channel, its output, itself


class DescriptorsError(TrioworkersError):
    """The system does not allow the descriptors that the fleet needs: so many, or of that kind."""


def needed(bots: int, most_workers: int) -> int:
    """Descriptors that a daemon needs for so many bots, of which so many have a worker at the same time."""
    return OF_THE_DAEMON + OF_A_BOT * bots + OF_A_WORKER * min(bots, most_workers)


def raise_limit(need: int) -> None:
    """Let this process open as many files as the system allows, `need` at least; its children, too.

    Raises:
        DescriptorsError: it allows fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < need:
        message = (
            f"open files: {hard} are allowed, expected at least {need} for this fleet:"
            " raise LimitNOFILE= of the unit, or `ulimit -Hn`"
        )
        raise DescriptorsError(message)


def check_pidfds() -> None:
    """See that processes can be held by descriptors (pidfd_open(2), Linux 5.3), as each worker is.

    Raises:
        DescriptorsError: they cannot; the message says what may forbid it.
    """
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            raise
        message = (
            f"pidfd_open: {(error.strerror or '').lower()}, expected a Linux of 5.3 or later that allows it:"
            " seccomp profiles older than that forbid it to containers, as those of Docker before 20.10 do;"
            " update the container runtime, or allow pidfd_open and pidfd_send_signal in its profile"
        )
        raise DescriptorsError(message) from None
