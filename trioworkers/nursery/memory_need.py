"""How much memory a bot needs before it has done much, so that `memory_limit` acts on growth. Pure.

A worker beyond the limit is replaced. That helps against leaks; it does not help where a bot needs as much
from the start, for a model that it loads: each of its workers would be replaced in turn. What a bot needs is
what its workers have within their first few updates, twice in a row.
"""

from __future__ import annotations

from typing import Literal

FEW = 10  # updates; a worker that has had more has grown
TIMES = 2  # workers in a row that are beyond the limit so early

MemoryVerdict = Literal["fits", "grown", "needed"]


class MemoryNeed:
    """What the workers of one bot need; it knows nothing at first.

    Attributes:
        base: bytes from which the limit counts; 0 until more is known to be needed.
    """

    def __init__(self) -> None:
        self.base = 0
        self._limit = 0
        self._code: str | None = None
        self._early = 0

    def begin(self, code: str | None) -> None:
        """A worker is ready; one with other code may need less."""
        if code != self._code:
            self._forget()
        self._code = code

    def judge(self, memory: int, limit: int, taken: int) -> MemoryVerdict:
        """Return whether a worker with so many bytes `fits`, has `grown` beyond what it may, or shows for the
        first time what is `needed`, which is its base from now on.

        Args:
            memory: what the worker has.
            limit: the bot's `memory_limit`; a changed one is tried anew.
            taken: how many updates the worker was given.
        """
        if limit != self._limit:
            self._forget()
            self._limit = limit
        if memory <= self.base + limit:
            return "fits"
        self._early = self._early + 1 if taken <= FEW else 0
        if self._early < TIMES:
            return "grown"
        self.base, self._early = memory, 0
        return "needed"

    @property
    def words(self) -> str | None:
        """What an operator should know; None: nothing."""
        if not self.base:
            return None
        needs, limit = (f"{round(size / 2**20)} MB" for size in (self.base, self._limit))
        return f"needs {needs} from the start, more than memory_limit ({limit}), which counts from there"

    def _forget(self) -> None:
        self.base = self._early = 0
