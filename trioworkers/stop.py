"""What is asked of a running daemon: by signals, which are read in one place, and by whatever else."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
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


class Ask:
    """Something that may be asked for at any time; however often meanwhile, it is done once more."""

    def __init__(self) -> None:
        self._asked = trio.Event()

    def ask(self) -> None:
        """Ask for it, some time soon."""
        self._asked.set()

    async def wait(self) -> None:
        """Return when it was asked for since this returned last."""
        await self._asked.wait()
        self._asked = trio.Event()


@dataclass(frozen=True, slots=True)
class Requests:
    """What may be asked of a running daemon; it is there before the daemon is, so that nothing is lost.

    Attributes:
        stop: to end.
        reload: to read the fleet anew.
        restart: to replace all workers.
    """

    stop: Stop = field(default_factory=Stop)
    reload: Ask = field(default_factory=Ask)
    restart: Ask = field(default_factory=Ask)


async def watch_signals(
    requests: Requests,
    others: Mapping[int, Callable[[], None]] = MappingProxyType({}),
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Turn signals into requests until cancelled.

    TERM and INT ask for a stop, QUIT and a second INT for haste, HUP for a reload, USR2 for a restart. USR1
    does nothing, where it would kill unhandled. `others`: what a signal does before that.
    """
    stop = requests.stop
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
            elif number == signal.SIGHUP:
                requests.reload.ask()
            elif number == signal.SIGUSR2:
                requests.restart.ask()
