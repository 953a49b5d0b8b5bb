"""What the rest may ask of a worker's process, and of whatever makes one.

A worker leads a session of its own and has the channel's other end; it can be waited for, and its group
signalled. :mod:`trioworkers.nursery.zygote` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import signal


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: with a `code`, or by a `signal` (`SIGKILL`); neither where nobody saw it."""

    code: int | None = None
    signal: str | None = None

    def __str__(self) -> str:
        if self.code is None:
            return self.signal or "unknown"
        return f"exit code {self.code}"


class WorkerProcess(Protocol):
    """A running worker: the leader of a session and group of its own."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> Exit:
        """Wait until it has ended, end what is left of its group, and return how it ended."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to it and to everything it started in its group."""


class MakesWorkers(Protocol):
    """Makes worker processes."""

    async def start(self, channel: int, output: int) -> WorkerProcess:
        """Start a worker with the descriptors `channel` and `output` (stdout, stderr).

        Both stay the caller's to close. Cancelled, it has started none, or returns the one that it started.

        Raises:
            OSError: the system has no room for another process.
        """
