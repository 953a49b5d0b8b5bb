"""What handlers raise, written to the bot's own log: in words, with a traceback without values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from trioworkers.errors import Drop, Retry, leaves
from trioworkers.handling.failure import in_words, traceback_of

if TYPE_CHECKING:
    from trioworkers.handling.log import BotLog
    from trioworkers.protocol.frames import Outcome

AGAIN = 30.0  # seconds after which the traceback of the same failure is written once more
MOST_KINDS = 100  # failures whose time is kept


class Failures:
    """The failures of one worker.

    A failure that repeats is a line each time, with its traceback now and then: a bot that fails at every
    update would write nothing else.
    """

    def __init__(self) -> None:
        self._written: dict[str, float] = {}

    def write(self, log: BotLog, outcome: Outcome, error: BaseException, attempt: int) -> None:
        """Write a line about a handler that raised or took too long. What a handler raises on purpose to be
        called again, or to drop an update, is no failure."""
        if all(isinstance(leaf, Retry | Drop) for leaf in leaves(error)):
            return
        is_late = any(isinstance(leaf, trio.Cancelled) for leaf in leaves(error))
        fields = {"error": outcome.error if is_late else in_words(error)}
        now = trio.current_time()
        if now >= self._written.get(fields["error"], -math.inf) + AGAIN:
            if len(self._written) >= MOST_KINDS:
                self._written.clear()
            self._written[fields["error"]] = now
            if passed := traceback_of(error):
                fields["traceback"] = passed
        write = log.error if outcome.result == "dead" else log.warning
        write("handler failed", attempt=attempt, **fields)
