"""The rows of the table: what each bot is doing, how fast, in which order. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trioworkers.trouble import trouble_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

HISTORY = 60  # seconds of which rates are kept
RATE_OVER = 5  # seconds over which a rate is the mean

RANKS = {"failed": 0, "backoff": 1, "starting": 3, "draining": 3, "paused": 4, "running": 5, "sleeping": 6}
UNWELL = 2  # the rank of a bot whose worker does not answer, or makes no progress
STOPPED = 7


@dataclass(slots=True)
class Pace:
    """How many updates a bot handled in each of the last seconds."""

    messages: int | None = None
    seconds: deque[int] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def tick(self, messages: int) -> None:
        """A second has passed; `messages`: how many were handled by now."""
        if self.messages is not None:
            self.seconds.append(max(0, messages - self.messages))  # a new daemon counts from 0
        self.messages = messages

    @property
    def rate(self) -> float:
        """Updates per second."""
        latest = list(self.seconds)[-RATE_OVER:]
        return sum(latest) / len(latest) if latest else 0.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A bot as the table shows it. `row`: of the status document, as it is now."""

    bot: str
    row: Mapping[str, Any]
    pace: Pace

    @property
    def state(self) -> str:
        """As in the status document."""
        return str(self.row.get("state", "?"))

    @property
    def waiting(self) -> int:
        """Updates that are not over."""
        queue = self.row.get("queue") or {}
        return sum(int(queue.get(part, 0)) for part in ("ready", "in_flight", "retry"))

    @property
    def dead(self) -> int:
        """Its dead letters."""
        return int((self.row.get("queue") or {}).get("dead", 0))

    @property
    def rank(self) -> int:
        """The less well it is, the lower."""
        if self.is_unwell:
            return UNWELL
        return RANKS.get(self.state, STOPPED)

    @property
    def trouble(self) -> str | None:
        """Why it is not well, in words; None: it is."""
        found = trouble_of(self.row)
        if found is None:
            return None
        return (found.why or None) if self.state in ("failed", "backoff") else found.words

    @property
    def is_unwell(self) -> bool:
        """Whether it is not well, although its state alone says that it is."""
        return self.trouble is not None and self.state not in ("failed", "backoff")


def _number(name: str) -> Callable[[Shown], float]:
    return lambda shown: shown.row.get(name) or 0


ORDERS: dict[str, tuple[Callable[[Shown], Any], bool]] = {
    "trouble": (lambda shown: shown.rank, False),
    "name": (lambda shown: "", False),
    "rate": (lambda shown: shown.pace.rate, True),
    "latency": (_number("latency_ms"), True),
    "waiting": (lambda shown: shown.waiting, True),
    "dead": (lambda shown: shown.dead, True),
    "errors": (_number("errors"), True),
    "restarts": (_number("restarts"), True),
    "memory": (_number("memory_bytes"), True),
}
"""What the table can be sorted by, and whether the largest comes first. Equals are sorted by name."""


def arrange(bots: Iterable[Shown], order: str, *, reverse: bool, text: str) -> list[Shown]:
    """The bots whose name, state or trouble contains `text`, in order."""
    wanted = text.lower()
    found = [
        shown
        for shown in bots
        if not wanted or wanted in f"{shown.bot} {shown.state} {shown.trouble or ''}".lower()
    ]
    key, largest_first = ORDERS[order]
    found.sort(key=lambda shown: shown.bot)
    found.sort(key=key, reverse=largest_first)
    return found[::-1] if reverse else found
