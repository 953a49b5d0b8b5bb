"""What happens in a fleet, as events: declared once, emitted to whoever listens.

No field of an event holds a token, or what a user wrote.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}

EVENTS: Mapping[str, str] = {
    "update.accepted": "debug",
    "update.stored": "debug",
    "update.delivered": "debug",
    "update.call": "debug",
    "update.returned": "debug",
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
    "inbox.journal": "warn",
    "inbox.recovered": "info",
    "state.lost": "error",
    "state.restored": "warn",
    "worker.starting": "info",
    "worker.ready": "info",
    "worker.refused": "error",
    "worker.exited": "info",
    "worker.hung": "error",
    "worker.recycled": "info",
    "memory.needed": "warn",
    "worker.sleeping": "info",
    "task.failed": "error",
    "zygote.ready": "info",
    "zygote.exited": "warn",
    "bot.added": "info",
    "bot.removed": "info",
    "bot.failed": "error",
    "bot.paused": "info",
    "bot.resumed": "info",
    "lease.acquired": "info",
    "lease.lost": "warn",
    "lease.released": "info",
    "node.joined": "info",
    "node.left": "info",
    "node.evicted": "warn",
    "code.changed": "info",
    "code.refused": "error",
    "restart.began": "info",
    "restart.refused": "error",
    "restart.done": "info",
    "transport.conflict": "warn",
    "transport.refused": "error",
    "transport.trouble": "warn",
    "transport.recovered": "info",
    "transport.unhooked": "warn",
    "transport.switched": "info",
    "transport.dropped": "warn",
    "webhook.registered": "info",
    "webhook.refused": "warn",
    "webhook.narrowed": "warn",
    "gateway.unprobed": "warn",
    "gateway.withheld": "warn",
    "gateway.dropped": "warn",
    "gateway.hooked": "info",
    "gateway.unanswered": "warn",
    "gateway.answered": "info",
    "gateway.trouble": "error",
    "handoff.requested": "info",
    "handoff.assigned": "info",
    "handoff.released": "info",
    "control.action": "info",
    "control.refused": "warn",
    "plugin.failed": "warn",
    "plugin.disabled": "error",
    "plugin.slow": "warn",
    "plugin.log": "info",
    "reload.applied": "info",
    "reload.refused": "error",
    "reload.unwatched": "warn",
    "daemon.ready": "info",
    "daemon.stopping": "info",
    "daemon.stack": "warn",
    "daemon.away": "warn",
    "daemon.stalled": "error",
    "daemon.stopped": "info",
    "daemon.summary": "info",
    "log.reopened": "info",
}
"""Every event and its usual level. A name is two words with a dot: what it is about, and what happened."""

_USUAL = {event: LEVELS[level] for event, level in EVENTS.items()}
NOBODY = 100  # a level that no event has


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something that happened. `at`: Unix seconds; `seq`: ascending within one run of the daemon."""

    event: str
    at: float
    seq: int
    level: str
    bot: str | None = None
    trace_id: str | None = None
    fields: dict[str, Any] = {}


class Hearing(NamedTuple):
    """Events that a listener hears whatever their level, and those that it does not hear."""

    names: frozenset[str]
    without: frozenset[str]


class Subscription:
    """A bounded queue of events for one listener, made by :meth:`Events.subscribe`; a context manager.

    A listener that reads slowly loses the oldest events, and learns how many: it never holds up the daemon.
    """

    def __init__(self, events: Events, least: str | None, capacity: int, hearing: Hearing) -> None:
        self._events = events
        self._level = NOBODY if least is None else LEVELS[least]
        self._hearing = hearing
        self._queue: deque[Event] = deque(maxlen=capacity)
        self._missed = 0
        self._came = trio.Event()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hears(self, event: str, number: int) -> bool:
        """Whether an event of this level is for it; the level as a number of :data:`LEVELS`."""
        names, without = self._hearing
        return event in names or (number >= self._level and event not in without)

    @property
    def level(self) -> int:
        """The level from which on it hears events, as a number of :data:`LEVELS`."""
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
        return self.receive_nowait()

    def receive_nowait(self) -> tuple[list[Event], int]:
        """Return all events that have gathered, and how many were lost before them."""
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

    Attributes:
        heard: the events that are made at their usual level, with the subscriptions that they are for;
            whoever emits with each update looks here before an event is put together.
    """

    def __init__(self, *listeners: Callable[[Event], None], least: str = "info") -> None:
        self._listeners = listeners
        self._least = LEVELS[least]
        self._subscriptions: list[Subscription] = []
        self._seq = 0
        self._lowest = 0
        self.heard: dict[str, tuple[Subscription, ...]] = {}
        self.levels_changed()

    def set_least(self, least: str) -> None:
        """Call the listeners with events of this level and above from now on."""
        self._least = LEVELS[least]
        self.levels_changed()

    def subscribe(
        self,
        least: str | None = "info",
        capacity: int = 1000,
        names: frozenset[str] = frozenset(),
        without: frozenset[str] = frozenset(),
    ) -> Subscription:
        """Queue events of a level and above for a listener, from now on until it is closed.

        Args:
            least: the level; None: only the events of `names`.
            capacity: how many events may wait; of more the oldest are lost.
            names: further events, whatever their level.
            without: events that are left out all the same.
        """
        subscription = Subscription(self, least, capacity, Hearing(names, without))
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
        self.heard = {
            event: self._for(event, number)
            for event, number in _USUAL.items()
            if self._is_for_any(event, number)
        }

    def hears(self, event: str, level: str | None = None) -> bool:
        """Whether an event is made for anybody, at its usual level or at `level`."""
        return event in self.heard if level is None else self._is_for_any(event, LEVELS[level])

    def _is_for_any(self, event: str, number: int) -> bool:
        return bool(self._listeners and number >= self._least) or bool(self._for(event, number))

    def _for(self, event: str, number: int) -> tuple[Subscription, ...]:
        return tuple([one for one in self._subscriptions if one.hears(event, number)])

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
        self._seq += 1
        number = _USUAL[event]
        if level is None:
            hearing = self.heard.get(event)
        else:
            number = LEVELS[level]
            hearing = self._for(event, number)
        if not hearing and not (self._listeners and number >= self._least):
            return
        given = fields
        if None in fields.values():
            given = {name: value for name, value in fields.items() if value is not None}
        made = Event(event, time.time(), self._seq, level or EVENTS[event], bot, trace_id, given)
        self._pass_on(made, number, hearing or ())

    def post(self, event: str, bot: str, trace_id: str, **fields: Any) -> None:
        """Emit an event of its usual level; :meth:`hears` has said that it is heard. No field is None.

        For what comes with each update: it takes half the time of :meth:`emit`.
        """
        self._seq += 1
        made = Event(event, time.time(), self._seq, EVENTS[event], bot, trace_id, fields)
        self._pass_on(made, _USUAL[event], self.heard[event])

    def _pass_on(self, event: Event, number: int, hearing: Sequence[Subscription]) -> None:
        if number >= self._least:
            for listener in self._listeners:
                listener(event)
        for subscription in hearing:
            subscription.put(event)

    def log_now(self, event: str, **fields: Any) -> None:
        """Call the listeners alone with an event, from any thread: also while the loop is held."""
        made = Event(event, time.time(), self._seq, EVENTS[event], None, None, fields)
        for listener in self._listeners:
            listener(made)
