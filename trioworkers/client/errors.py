"""What goes wrong between a client and a daemon, and for how long it may be waited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trioworkers.errors import TrioworkersError

if TYPE_CHECKING:
    from random import Random


class LiveRefusedError(TrioworkersError):
    """The daemon does not serve the stream to this client, and trying again would not help.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class LostError(TrioworkersError):
    """There is no connection any more, or none yet; it may be tried again. The message says why."""


@dataclass(slots=True)
class BackOff:
    """Pauses between attempts to connect: they double, and vary so that clients do not come all at once.

    Attributes:
        initial, longest: seconds.
    """

    rng: Random
    initial: float = 0.25
    longest: float = 10.0
    failures: int = 0

    def next(self) -> float:
        """The pause after one more failure, in seconds."""
        pause: float = min(self.longest, self.initial * 2 ** min(self.failures, 16))
        self.failures += 1
        return pause * self.rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked."""
        self.failures = 0
