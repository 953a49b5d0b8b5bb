"""For how long a loop of Trio is held by one turn: nobody else on it is served meanwhile."""

from __future__ import annotations

import time

import trio


class Held(trio.abc.Instrument):
    """Notes the longest turn of the loop that it watches.

    Attributes:
        longest: seconds.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._woken: float | None = None

    def after_io_wait(self, timeout: float) -> None:
        self._woken = time.perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        if self._woken is not None:
            self.longest = max(self.longest, time.perf_counter() - self._woken)
