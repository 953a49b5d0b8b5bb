"""Signals that are the daemon's to hear, whoever sends them to all of its processes.

systemd's default, `KillMode=control-group`, sends TERM to each process of a service, as a container runtime
or `kill -- -GROUP` may do. A worker that ended of it would cut off its handlers and skip `stop`, while the
daemon has just begun to drain it. So the zygote and the workers do nothing on such a signal. What a handler
starts has the defaults.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

DEAF = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Also: a bot that sends one to its parent would at its second meet the daemon, whose child it is when the
zygote has gone."""


def leave_to_daemon() -> None:
    """Do nothing on these signals from now on; programs that this process starts have the defaults."""
    for number in DEAF:
        signal.signal(number, do_nothing)  # not SIG_IGN, which a program that is started would inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DEAF)


@contextmanager
def held_back() -> Iterator[None]:
    """Around the start of a process that leaves these signals to the daemon: until it does, they wait.

    The new process inherits which signals are blocked (execve(2)).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def do_nothing(number: int, frame: FrameType | None) -> None:
    """The handler of these signals."""


def hear_in_forks() -> None:
    """Let a handler's forks, as those of `multiprocessing`, which ends them by TERM, have the defaults.

    From its first moment on: a signal that comes before that is held back until then.
    """
    masks: list[set[int | signal.Signals]] = []

    def hold() -> None:
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, DEAF))

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop())

    def hear() -> None:
        for number in DEAF:
            if signal.getsignal(number) is do_nothing:
                usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, usual)
        release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=hear)
