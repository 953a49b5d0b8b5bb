"""What happens in a fleet, as events: declared once, emitted to whoever listens.

No field of an event holds a token, or what a user wrote.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

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

_USUAL = {event: LEVELS[level] for event, level in EVENTS.items()}
NOBODY = 100  # a level that no event has


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


class Subscription:
    """A bounded queue of events for one listener, made by :meth:`Events.subscribe`; a context manager.

    A listener that reads slowly loses the oldest events, and learns how many: it never holds up the daemon.
    """

    def __init__(self, events: Events, least: str, capacity: int) -> None:
        self._events = events
        self._level = LEVELS[least]
        self._queue: deque[Event] = deque(maxlen=capacity)
        self._missed = 0
        self._came = trio.Event()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def level(self) -> int:
        """Events below this are not made for it, as a number of :data:`LEVELS`."""
        return self._level

    def set_least(self, least: str) -> None:
        """Hear events of this level and above from now on."""
        self._level = LEVELS[least]
        self._events.levels_changed()

    async def receive(self) -> tuple[list[Event], int]:
        """Wait for events; return all that have gathered, and how many were lost before them.

        Cancelled, it has taken none.
        """
        while not self._queue:
            await self._came.wait()
            self._came = trio.Event()
        await trio.lowlevel.checkpoint_if_cancelled()
        events, missed = list(self._queue), self._missed
        self._queue.clear()
        self._missed = 0
        return events, missed

    def close(self) -> None:
        """Hear nothing more. Idempotent."""
        self._events.unsubscribe(self)

    def put(self, event: Event) -> None:
        """Queue an event (the emitter's call)."""
        self._missed += len(self._queue) == self._queue.maxlen
        self._queue.append(event)
        self._came.set()


class Events:
    """Where everything that happens is emitted, on the loop.

    An event that nobody listens to is not created.

    Args:
        listeners: called at once with each event of the level `least` and above; they only note it.
        least: their level.
    """

    def __init__(self, *listeners: Callable[[Event], None], least: str = "info") -> None:
        self._listeners = listeners
        self._least = LEVELS[least]
        self._subscriptions: list[Subscription] = []
        self._seq = 0
        self._lowest = 0
        self.levels_changed()

    def set_least(self, least: str) -> None:
        """Call the listeners with events of this level and above from now on."""
        self._least = LEVELS[least]
        self.levels_changed()

    def subscribe(self, least: str = "info", capacity: int = 1000) -> Subscription:
        """Queue events of a level and above for a listener, from now on until it is closed.

        Args:
            least: the level.
            capacity: how many events may wait; of more the oldest are lost.
        """
        subscription = Subscription(self, least, capacity)
        self._subscriptions.append(subscription)
        self.levels_changed()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """As :meth:`Subscription.close`."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self.levels_changed()

    def levels_changed(self) -> None:
        """A listener came, left, or changed its level."""
        levels = [subscription.level for subscription in self._subscriptions]
        if self._listeners:
            levels.append(self._least)
        self._lowest = min(levels, default=NOBODY)

    def hears(self, event: str) -> bool:
        """Whether an event at its usual level is made for anybody."""
        return _USUAL[event] >= self._lowest

    def emit(
        self,
        event: str,
        bot: str | None = None,
        *,
        trace_id: str | None = None,
        level: str | None = None,
        **fields: Any,
    ) -> None:
        """Emit an event of :data:`EVENTS`, at its usual level or at `level`, without fields that are None."""
        number = _USUAL[event] if level is None else LEVELS[level]
        self._seq += 1
        if number < self._lowest:
            return
        given = {name: value for name, value in fields.items() if value is not None}
        made = Event(event, time.time(), self._seq, level or EVENTS[event], bot, trace_id, given)
        if number >= self._least:
            for listener in self._listeners:
                listener(made)
        for subscription in self._subscriptions:
            if number >= subscription.level:
                subscription.put(made)
