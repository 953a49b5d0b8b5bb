"""Which repeats of a line are held back, and when they are told: pure, times and windows are arguments.

The first of a kind is written at once. What repeats it within the window is held; when the window ends,
the last of them is written with `repeats`, how many it stands for, itself included, and opens the next
window. It keeps its own time, so that of trouble and recovery the later can be told. So nothing goes
unnoticed, a trouble that goes on is one line a window, and the number of times that something happened is
the lines without `repeats` plus the sum of `repeats`.

Throttled are events that come with each update or each request, from a level of info up: `update.*`,
`inbox.*`, `transport.*`, `webhook.*`, `plugin.*`, `control.refused`, and what libraries say. (A dead
letter is kept by the store, whatever the log holds back.) Never the lives of bots and of the daemon
(`worker.exited`, `bot.failed`, `daemon.*`, `reload.*`, …): each has a process or a person of its own behind
it, is what a post-mortem is read for, and is bounded by back-off and the start rate. Never a
level of debug: who asks for it wants every step.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

THROTTLED = ("update.", "inbox.", "transport.", "webhook.", "plugin.", "control.refused", "library")
MOST_KINDS = 10_000  # remembered at a time; beyond them lines are written as they come
CLASS_LENGTH = 200  # characters of a reason that tell its kind
_FIGURES = re.compile(r"\d+")


def kind_of(told: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What a line repeats: its event, level, bot, and the class of its reason; None: it is not throttled.

    Reasons that differ only in their figures (a pause, a line number, an order) are of one class.
    """
    event, level = str(told["event"]), str(told["level"])
    if level == "debug" or not event.startswith(THROTTLED):
        return None
    classes = (told.get(name) for name in ("bot", "reason", "error", "kind", "logger", "says"))
    return event, level, *(_FIGURES.sub("#", str(value)[:CLASS_LENGTH]) if value else "" for value in classes)


@dataclass(slots=True)
class _Window:
    opened: float
    repeats: int = 0
    last: Mapping[str, Any] | None = None


class Throttle:
    """Holds repeats back. Windows and `now` are seconds of one clock; a window of 0 holds nothing.

    `most`: so many kinds of lines are remembered at a time.
    """

    def __init__(self, most: int = MOST_KINDS) -> None:
        self._most = most
        self._windows: OrderedDict[tuple[str, ...], _Window] = OrderedDict()  # by when they were opened

    @property
    def is_idle(self) -> bool:
        """Whether it holds nothing, and waits for the end of no window."""
        return not self._windows

    def admits(self, told: Mapping[str, Any], now: float, length: float) -> bool:
        """Whether to write it now; otherwise it is held, and comes out of :meth:`due`."""
        kind = kind_of(told) if length > 0 else None
        if kind is None:
            return True
        window = self._windows.get(kind)
        if window is None:
            if len(self._windows) < self._most:
                self._windows[kind] = _Window(now)
            return True
        window.repeats += 1
        window.last = told
        return False

    def due(self, now: float, length: float) -> list[dict[str, Any]]:
        """What to write of the windows that have ended; those in which nothing was held are forgotten."""
        told = []
        while self._windows:
            kind, window = next(iter(self._windows.items()))
            if window.opened + length > now:
                break
            del self._windows[kind]
            if window.last is not None:
                told.append({**window.last, "repeats": window.repeats})
                self._windows[kind] = _Window(now)
        return told

    def flush(self) -> list[dict[str, Any]]:
        """What is held, at once; everything is forgotten."""
        windows, self._windows = self._windows, OrderedDict()
        return [
            {**window.last, "repeats": window.repeats}
            for window in windows.values()
            if window.last is not None
        ]
