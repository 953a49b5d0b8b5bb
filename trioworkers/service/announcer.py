"""Reports to systemd what the daemon is doing, from its start to its end (sd_notify(3))."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from trioworkers.service.messages import WATCHDOG, Lifecycle, Phase
from trioworkers.service.notifier import Notifier
from trioworkers.service.watchdog import serve_watchdog, watchdog_period

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trioworkers.service.watchdog import Part

STATUS_EVERY = 5.0  # seconds between two looks at the status line
EXTENSION = 15.0  # seconds that a start or a stop gets with each look: the last one covers the end of a stop


class Announcer:
    """Tells the service manager; does nothing where there is none.

    Args:
        environ: the daemon's environment.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._notifier = Notifier(environ)
        self._period = watchdog_period(environ)
        self._lifecycle = Lifecycle()
        self._line: Callable[[], str] = lambda: self._lifecycle.phase.value

    @property
    def is_heard(self) -> bool:
        """Whether there is a service manager."""
        return self._notifier.is_heard

    async def serve(
        self,
        line: Callable[[], str],
        parts: Sequence[Part],
        report: Callable[[str, float], None],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep the status line right, extend a long start or stop, and feed the watchdog, until cancelled.

        Args:
            line: makes the status line.
            parts: what has to answer before the watchdog is fed.
            report: hears of a part that does not, and for how many seconds.
        """
        self._line = line
        task_status.started()
        if not self.is_heard:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notifier.serve)
            if self._period is not None:
                nursery.start_soon(serve_watchdog, self._period, parts, self._feed, report)
            while True:
                self._notifier.send(self._lifecycle.extend(EXTENSION))
                self._notifier.send(self._lifecycle.status(self._words()))
                await trio.sleep(STATUS_EVERY)

    def ready(self) -> None:
        """The listeners are bound, and every bot has its first verdict."""
        if self.is_heard:
            self._notifier.send(self._lifecycle.ready(self._line()))

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Around a reload: RELOADING=1 at its beginning, READY=1 at its end, however it ends."""
        if not self.is_heard:
            yield
            return
        self._notifier.send(self._lifecycle.reload_began(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))
        try:
            yield
        finally:
            self._notifier.send(self._lifecycle.reload_ended(self._line()))

    def stopping(self) -> None:
        """A stop was requested."""
        if self.is_heard:
            self._notifier.send(self._lifecycle.stopping(f"stopping: {self._line()}"))
            self._notifier.send(self._lifecycle.extend(EXTENSION))

    def close(self) -> None:
        """Say nothing more."""
        self._notifier.close()

    def _words(self) -> str:
        phase = self._lifecycle.phase
        return self._line() if phase is Phase.READY else f"{phase.value}: {self._line()}"

    def _feed(self) -> None:
        self._notifier.send(WATCHDOG)
