"""When a plugin is switched off: after repeated failures, or at once when it held the daemon's loop."""

from __future__ import annotations

from collections import deque

MOST_FAILURES = 5
WINDOW = 600.0  # seconds


class Breaker:
    """Counts one plugin's failures; open, its hooks are not called any more. Pure.

    It stays open until the plugin's settings change, somebody switches it on again, or the daemon starts
    again: a plugin that is tried again by itself would fail in the same way, on the way of every update.

    Args:
        most: so many failures within the window open it.
        window: seconds.

    Attributes:
        reason: why it is open; None while it is closed.
    """

    def __init__(self, most: int = MOST_FAILURES, window: float = WINDOW) -> None:
        self.reason: str | None = None
        self._most = most
        self._window = window
        self._failures: deque[float] = deque(maxlen=most)

    @property
    def is_open(self) -> bool:
        """Whether the plugin is switched off."""
        return self.reason is not None

    def fail(self, now: float) -> bool:
        """Count a failure; return whether it opened the breaker. `now`: seconds, of any clock."""
        self._failures.append(now)
        if self.is_open or len(self._failures) < self._most or now - self._failures[0] > self._window:
            return False
        self.reason = f"{self._most} failures within {max(1.0, now - self._failures[0]):.0f} s"
        return True

    def open(self, reason: str) -> bool:
        """Open it at once; return whether it was closed."""
        if self.is_open:
            return False
        self.reason = reason
        return True

    def reset(self) -> None:
        """Close it, and forget the failures."""
        self.reason = None
        self._failures.clear()
