"""What `top` knows and shows, and what keys do to it. Pure: times are arguments, requests are answers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers.client import Mirror
from trioworkers.top.rows import ORDERS, Pace, Shown, arrange

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS = 200  # that are kept
NOTICE = 8.0  # seconds for which a notice stands
PAGE = 10  # rows
LONGEST_FILTER = 40  # characters


@dataclass(frozen=True, slots=True)
class Act:
    """Something to ask of the daemon. `verb`: `pause`, `resume` or `restart`."""

    verb: str
    bot: str


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A line for the person. `is_bad`: something did not work."""

    text: str
    at: float
    is_bad: bool = False


class TopState:
    """The screen's state.

    Attributes:
        mirror: the fleet.
        is_online: whether the daemon is connected.
        offline_since, offline_reason: since when it is not, and why.
        order, reverse, filter: of the table.
        is_typing: keys go into the filter.
        selected: a bot; None: none is there.
        opened: the bot whose page is shown; None: the table is.
        asks: what is about to be done once it is confirmed.
        shows_help: whether the keys are explained.
        events: the latest, the newest last.
    """

    def __init__(self, now: float) -> None:
        self.mirror = Mirror()
        self.is_online = False
        self.offline_since = now
        self.offline_reason: str | None = None
        self.order = "trouble"
        self.reverse = False
        self.filter = ""
        self.is_typing = False
        self.selected: str | None = None
        self.opened: str | None = None
        self.asks: Act | None = None
        self.shows_help = False
        self.events: deque[Mapping[str, Any]] = deque(maxlen=EVENTS)
        self._notice: Notice | None = None
        self._paces: dict[str, Pace] = {}
        self._pid: int | None = None
        self._place = 0  # of what is selected, in case it goes

    # --- what comes from the daemon ---

    def apply(self, message: Mapping[str, Any], now: float) -> None:
        """Take in a message of the stream."""
        kind = message["type"]
        if kind == "online":
            self.is_online = True
        elif kind == "offline":
            if self.is_online or self.offline_reason is None:
                self.offline_since = now
            self.is_online = False
            self.offline_reason = str(message["reason"])
        elif kind == "event":
            self.events.append(message)
        elif kind == "lagged":
            self.note(f"this terminal is slow: {message['missed']} messages were left out", now)
        self.mirror.apply(message, now)
        if kind == "snapshot":
            self._greet(now)

    def _greet(self, now: float) -> None:
        """Say what became of the daemon while it was away."""
        pid = self.mirror.fleet.get("pid")
        if self._pid is not None and pid != self._pid:
            self.note(f"the daemon was restarted: pid {self._pid} is now {pid}", now)
        self._pid = pid

    def tick(self, now: float) -> None:
        """A second has passed."""
        if self.is_online:
            for bot, row in self.mirror.rows.items():
                self._paces.setdefault(bot, Pace()).tick(int(row.get("messages") or 0))
            for bot in self._paces.keys() - self.mirror.rows.keys():
                del self._paces[bot]
        if self._notice is not None and now - self._notice.at > NOTICE:
            self._notice = None

    def note(self, text: str, now: float, *, is_bad: bool = False) -> None:
        """Show a line for some seconds."""
        self._notice = Notice(text, now, is_bad)

    @property
    def notice(self) -> Notice | None:
        """What was noted last, while it stands."""
        return self._notice

    # --- what is shown ---

    def shown(self, bot: str, now: float) -> Shown | None:
        """A bot; None: it is gone."""
        if bot not in self.mirror.rows:
            return None
        return Shown(bot, self.mirror.row_at(bot, now), self._paces.get(bot) or Pace())

    def table(self, now: float) -> list[Shown]:
        """The rows of the table; one of them is selected, if there is any."""
        bots = (self.shown(bot, now) for bot in self.mirror.rows)
        rows = arrange(
            (shown for shown in bots if shown is not None), self.order, reverse=self.reverse, text=self.filter
        )
        names = [shown.bot for shown in rows]
        if self.selected in names:
            self._place = names.index(self.selected)
        elif names:
            self._place = min(self._place, len(names) - 1)
            self.selected = names[self._place]
        else:
            self.selected = None
        return rows

    # --- keys ---

    def key(self, key: str, now: float) -> Act | Quit | None:
        """A key was pressed; return what is to be done for it."""
        if self.asks is not None:
            act, self.asks = self.asks, None
            return act if key in ("y", "enter") else None
        if self.is_typing:
            self._type(key)
            return None
        if self.shows_help:
            self.shows_help = False
            return None
        match key:
            case "q" | "ctrl-c":
                return Quit()
            case "?" | "h":
                self.shows_help = True
            case "escape" | "left" | "backspace":
                self._back()
            case "enter" | "right":
                self.opened = self.opened or self.selected
            case "/":
                self.is_typing, self.opened = True, None
            case "s":
                orders = list(ORDERS)
                self.order, self.reverse = orders[(orders.index(self.order) + 1) % len(orders)], False
            case "S":
                self.reverse = not self.reverse
            case "p" | "r":
                return self._act(key, now)
            case _:
                self._move(key, now)
        return None

    def _back(self) -> None:
        if self.opened is not None:
            self.opened = None
        else:
            self.filter = ""

    def _type(self, key: str) -> None:
        if key in ("enter", "down"):
            self.is_typing = False
        elif key in ("escape", "ctrl-c"):
            self.is_typing, self.filter = False, ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and len(self.filter) < LONGEST_FILTER:
            self.filter += key

    def _act(self, key: str, now: float) -> Act | None:
        bot = self.opened or self.selected
        shown = None if bot is None else self.shown(bot, now)
        if shown is None:
            return None
        if not self.is_online:
            self.note("the daemon is not connected: nothing was done", now, is_bad=True)
            return None
        if key == "r":
            self.asks = Act("restart", shown.bot)
            return None
        return Act("resume" if shown.row.get("paused") else "pause", shown.bot)

    def _move(self, key: str, now: float) -> None:
        names = [shown.bot for shown in self.table(now)]
        steps = {"down": 1, "j": 1, "up": -1, "k": -1, "pagedown": PAGE, "pageup": -PAGE}
        places = {"home": 0, "g": 0, "end": len(names) - 1, "G": len(names) - 1}
        if names and (key in steps or key in places):
            place = places.get(key, self._place + steps.get(key, 0))
            self._place = max(0, min(place, len(names) - 1))
            self.selected = names[self._place]
            if self.opened is not None:
                self.opened = self.selected
