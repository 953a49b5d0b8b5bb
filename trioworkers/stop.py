"""What ends a daemon: signals, read in one place, and the requests that they become."""

from __future__ import annotations

import signal
from types import MappingProxyType
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Stop:
    """Requests to end the daemon: `requested` gracefully, `hastened` at once."""

    def __init__(self) -> None:
        self.requested = trio.Event()
        self.hastened = trio.Event()

    def request(self) -> None:
        self.requested.set()

    def hasten(self) -> None:
        self.requested.set()
        self.hastened.set()


async def watch_signals(
    stop: Stop,
    others: Mapping[int, Callable[[], None]] = MappingProxyType({}),
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Turn TERM and INT into stop requests, QUIT and a second INT into haste, until cancelled.

    `others`: what USR1, USR2 and HUP do, and what QUIT does before; looked at when one comes. Without it they
    do nothing; unhandled they would kill.
    """
    stops = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    with trio.open_signal_receiver(*stops, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2) as signals:
        task_status.started()
        async for number in signals:
            if number in others:
                others[number]()
            if number == signal.SIGQUIT or (number == signal.SIGINT and stop.requested.is_set()):
                stop.hasten()
            elif number in stops:
                stop.request()
