"""The time that a worker has to get ready: a minute, without the waits to send of its `start`."""

from __future__ import annotations

import trio

from trioworkers.handling.bot import LONGEST_WAITS
from trioworkers.nursery.worker import START_TIMEOUT


class StartLimit:
    """Cancels what waits for a worker to be ready.

    Args:
        seconds: that it has.

    Attributes:
        scope: around what is cancelled.
    """

    def __init__(self, seconds: float = START_TIMEOUT) -> None:
        self._seconds = seconds
        self.scope = trio.CancelScope()
        self._may_stand = LONGEST_WAITS  # seconds, whatever the worker says
        self._stands_since: float | None = None

    def begin(self) -> None:
        """The process runs: its time begins."""
        self.scope.deadline = trio.current_time() + self._seconds

    def stand(self, is_on: bool) -> None:
        """Its time stands still from now on, or goes on."""
        now = trio.current_time()
        if is_on and self._stands_since is None:
            self._stands_since = now
            self.scope.deadline += self._may_stand
        elif not is_on and self._stands_since is not None:
            unused = max(0.0, self._stands_since + self._may_stand - now)
            self.scope.deadline -= unused
            self._may_stand, self._stands_since = unused, None
