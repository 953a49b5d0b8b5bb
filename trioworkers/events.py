"""What happens in a fleet, as events: declared once, told to whoever listens.

No field of an event holds a token, or what a user wrote.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}

EVENTS: Mapping[str, str] = {
    "update.accepted": "debug",
    "update.delivered": "debug",
    "update.done": "debug",
    "update.dropped": "debug",
    "update.expired": "info",
    "update.retried": "warn",
    "update.repeated": "warn",
    "update.diverged": "warn",
    "update.dead": "error",
    "update.unreadable": "warn",
    "inbox.trouble": "error",
    "inbox.full": "error",
    "inbox.damaged": "error",
    "inbox.recovered": "info",
    "worker.starting": "info",
    "worker.ready": "info",
    "worker.refused": "error",
    "worker.exited": "info",
    "worker.hung": "error",
    "worker.recycled": "info",
    "worker.sleeping": "info",
    "zygote.ready": "info",
    "zygote.exited": "warn",
    "bot.added": "info",
    "bot.removed": "info",
    "bot.failed": "error",
    "bot.paused": "info",
    "bot.resumed": "info",
    "restart.began": "info",
    "restart.refused": "error",
    "restart.done": "info",
    "transport.conflict": "warn",
    "transport.refused": "error",
    "transport.trouble": "warn",
    "transport.recovered": "info",
    "transport.unhooked": "warn",
    "transport.switched": "info",
    "webhook.registered": "info",
    "webhook.refused": "warn",
    "control.action": "info",
    "plugin.failed": "warn",
    "reload.applied": "info",
    "reload.refused": "error",
    "reload.unwatched": "warn",
    "daemon.ready": "info",
    "daemon.stopping": "info",
    "daemon.stack": "warn",
    "daemon.stopped": "info",
    "daemon.summary": "info",
    "log.reopened": "info",
}
"""Every event and its usual level."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `at`: Unix seconds; `seq`: ascending within one run of the daemon."""

    event: str
    at: float
    seq: int
    level: str
    bot: str | None = None
    trace_id: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


class Events:
    """Where everything that happens is told. Listeners are called at once, on the loop, and only note it.

    Args:
        least: events of a lower level are not made for these listeners. It may change at any time.
        listeners: called with each event.
    """

    def __init__(self, *listeners: Callable[[Event], None], least: str = "info") -> None:
        self._listeners = listeners
        self.least = least
        self._seq = 0

    def hears(self, event: str) -> bool:
        """Whether an event at its usual level is made for anybody."""
        return LEVELS[EVENTS[event]] >= LEVELS[self.least]

    def emit(
        self,
        event: str,
        bot: str | None = None,
        *,
        trace_id: str | None = None,
        level: str | None = None,
        **fields: Any,
    ) -> None:
        """Tell an event of :data:`EVENTS`, at its usual level or at `level`; without fields that are None."""
        self._seq += 1
        level = level or EVENTS[event]
        if LEVELS[level] < LEVELS[self.least]:
            return
        given = {name: value for name, value in fields.items() if value is not None}
        told = Event(event, time.time(), self._seq, level, bot, trace_id, given)
        for listener in self._listeners:
            listener(told)
