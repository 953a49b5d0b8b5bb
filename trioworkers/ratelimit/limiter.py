"""Decides who may send next, so that a bot stays below its limits and no chat waits for another one. Pure.

Who asks is known by the *source* of the message: one handling, or whatever else makes calls of its own. Turns
go round the sources, and within a source round its chats. So an answer to a user does not wait for a
broadcast to a thousand chats, and in a broadcast a chat that gets a hundred messages delays no other one.
A chat that may not be sent to is not looked at again until it may.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Protocol

from trioworkers.ratelimit.window import Window

if TYPE_CHECKING:
    from trioworkers.botapi.messages import Message

Lane = tuple[bool, Hashable]

PAID_PER_SECOND = 1000  # https://core.telegram.org/bots/api#sendmessage, allow_paid_broadcast


class RateLimits(Protocol):
    """The setting `rate_limit` of a bot."""

    @property
    def per_second(self) -> float: ...
    @property
    def per_chat(self) -> float: ...
    @property
    def per_group_minute(self) -> float | None: ...


class Ticket:
    """A request to send, known by its identity.

    Attributes:
        message: what is to be sent.
        lane: in which it waits: the paid messages of a source, or its others.
        asked_at: since when it waits.
    """

    __slots__ = ("asked_at", "lane", "message")

    def __init__(self, message: Message, source: Hashable) -> None:
        self.message = message
        self.lane = message.is_paid, source
        self.asked_at = 0.0


_Round = OrderedDict[Lane, OrderedDict[str, None]]


class _Chat:
    """One chat: what waits for it, by lane, and how much it was sent."""

    __slots__ = ("held_until", "key", "parked_until", "queues", "windows")

    def __init__(self, key: str, windows: tuple[Window, ...]) -> None:
        self.key = key
        self.windows = windows
        self.queues: dict[Lane, OrderedDict[Ticket, None]] = {}
        self.parked_until: float | None = None  # None: it is in the rounds, or something of it is under way
        self.held_until = -math.inf  # Telegram asked to wait (429)

    def room_at(self, now: float, count: int) -> float:
        return max(window.room_at(now, count) for window in self.windows)


class Limiter:
    """Decides for one bot. Times are seconds of one monotonic clock, and never less than before.

    Whoever calls :meth:`ask`, :meth:`over`, :meth:`leave` or :meth:`tune` calls :meth:`take` then, and again
    at :meth:`next_at`.

    Attributes:
        waiting: how many tickets wait.
        delayed: how many tickets had to wait and went then.
        waited: seconds that they waited, all together.
    """

    def __init__(self, limits: RateLimits) -> None:
        self.waiting = self.delayed = 0
        self.waited = 0.0
        self._limits = limits
        self._all = Window.of_rate(limits.per_second)
        self._paid = Window(PAID_PER_SECOND, 1.0)
        self._chats: dict[str, _Chat] = {}
        # a round for what is not paid and one for what is: lanes, and of each the chats for which it has
        # something, without those that are parked
        self._rounds: tuple[_Round, _Round] = (OrderedDict(), OrderedDict())
        self._parked: list[tuple[float, str]] = []  # a heap; also of chats of which nothing waits
        self._all_held_until = -math.inf
        self._last_held: tuple[str, float] = "", -math.inf  # the chat, and until when
        self._told: list[tuple[Ticket, float]] = []  # who is told to wait, as Telegram asked for it

    def tune(self, limits: RateLimits) -> None:
        """Have other limits from now on; what was sent still counts."""
        self._limits = limits
        self._all.resize(Window.of_rate(limits.per_second))
        for key, chat in list(self._chats.items()):
            fresh = self._windows(key)
            for old, new in zip(chat.windows, fresh, strict=False):
                old.resize(new)
            chat.windows = chat.windows[: len(fresh)] + fresh[len(chat.windows) :]
            if chat.queues and chat.parked_until is not None:
                self._unpark(chat)

    def ask(self, ticket: Ticket, now: float) -> None:
        """A message is to be sent."""
        ticket.asked_at = now
        chat = self._chat(ticket.message.chat)
        if chat.held_until > now:
            self._told.append((ticket, chat.held_until - now))
            return
        if not chat.queues:
            chat.parked_until = None  # it was to be forgotten
        self.waiting += 1
        queue = chat.queues.get(ticket.lane)
        if queue is None:
            queue = chat.queues[ticket.lane] = OrderedDict()
            if chat.parked_until is None:
                self._enter(ticket.lane, chat.key)
        queue[ticket] = None

    def leave(self, ticket: Ticket) -> None:
        """A ticket that waits is not wanted any more. One that has gone is :meth:`over`."""
        chat = self._chats.get(ticket.message.chat)
        if chat is not None and ticket in chat.queues.get(ticket.lane, ()):
            self._remove(ticket, chat)
            if not chat.queues and chat.parked_until is None:
                self._park(chat, ticket.asked_at)  # to be forgotten

    def over(self, ticket: Ticket, now: float, hold: float = 0.0) -> None:
        """The request of a ticket that went has its answer, or has none and never will.

        Args:
            ticket: the ticket.
            now: the time.
            hold: seconds that Telegram asked to wait (429). Nothing is sent to the chat for so long; when it
                asks for that in a second chat meanwhile, the bot as a whole is meant, and nothing is let go
                before the earlier of the two times.
        """
        message = ticket.message
        chat = self._chat(message.chat)
        self._overall(message).end(ticket, now, message.messages)
        for window in chat.windows:
            window.end(ticket, now, message.messages)
        if hold > 0:
            self._hold(chat, now, now + hold)
        if chat.queues:
            if chat.parked_until is not None:  # it may be let go earlier than was thought
                self._unpark(chat)
        elif chat.parked_until is None:
            self._park(chat, max(now + window.span for window in chat.windows))

    def take(self, now: float) -> list[tuple[Ticket, float]]:
        """The tickets whose turn has come, with 0; those that have to wait and ask again, with how long."""
        while self._parked and self._parked[0][0] <= now:
            at, key = heappop(self._parked)
            chat = self._chats.get(key)
            if chat is not None and chat.parked_until == at:
                if chat.queues:
                    self._unpark(chat)
                else:
                    self._forget(chat, now)
        taken, self._told = self._told, []
        while (ticket := self._next(now)) is not None:
            message = ticket.message
            chat = self._chats[message.chat]
            self._remove(ticket, chat)
            lanes = self._rounds[message.is_paid]
            if ticket.lane in lanes:
                lanes.move_to_end(ticket.lane)
            self._overall(message).begin(ticket, now, message.messages)
            for window in chat.windows:
                window.begin(ticket, now, message.messages)
            if now > ticket.asked_at:
                self.delayed += 1
                self.waited += now - ticket.asked_at
            taken.append((ticket, 0.0))
        return taken

    def next_at(self, now: float) -> float:
        """When :meth:`take` may have something, if nothing happens before; infinite when nothing waits."""
        if not self.waiting:
            return math.inf
        if self._all_held_until > now:
            return self._all_held_until
        soonest = self._parked[0][0] if self._parked else math.inf
        for lanes in self._rounds:
            head = self._head(lanes)
            if head is not None:
                soonest = min(soonest, self._overall(head.message).room_at(now, head.message.messages))
        return soonest

    def _next(self, now: float) -> Ticket | None:
        """The ticket whose turn it is; None: nobody may go now. Chats that may not be sent to are parked."""
        if self._all_held_until > now:
            return None
        for lanes in self._rounds:
            while (ticket := self._head(lanes)) is not None:
                message = ticket.message
                chat = self._chats[message.chat]
                at = chat.room_at(now, message.messages)
                if at <= now:
                    if self._overall(message).room_at(now, message.messages) <= now:
                        return ticket
                    break
                self._park(chat, at)
        return None

    def _head(self, lanes: _Round) -> Ticket | None:
        lane = next(iter(lanes), None)
        if lane is None:
            return None
        return next(iter(self._chats[next(iter(lanes[lane]))].queues[lane]))

    def _remove(self, ticket: Ticket, chat: _Chat) -> None:
        """Take a ticket out of what waits; its chat comes last in the round of its source."""
        self.waiting -= 1
        lane = ticket.lane
        queue = chat.queues[lane]
        del queue[ticket]
        if not queue:
            del chat.queues[lane]
            if chat.parked_until is None:
                self._exit(lane, chat.key)
        elif chat.parked_until is None:
            self._rounds[lane[0]][lane].move_to_end(chat.key)

    def _hold(self, chat: _Chat, now: float, until: float) -> None:
        chat.held_until = max(chat.held_until, until)
        other, other_until = self._last_held
        self._last_held = chat.key, until
        if other != chat.key and other_until > now:
            self._all_held_until = max(self._all_held_until, min(other_until, until))
        for ticket in [ticket for queue in chat.queues.values() for ticket in queue]:
            self._remove(ticket, chat)
            self._told.append((ticket, chat.held_until - now))

    def _park(self, chat: _Chat, until: float) -> None:
        if chat.parked_until is None:
            for lane in chat.queues:
                self._exit(lane, chat.key)
        chat.parked_until = until
        heappush(self._parked, (until, chat.key))

    def _unpark(self, chat: _Chat) -> None:
        chat.parked_until = None
        for lane in chat.queues:
            self._enter(lane, chat.key)

    def _enter(self, lane: Lane, key: str) -> None:
        lanes = self._rounds[lane[0]]
        chats = lanes.get(lane)
        if chats is None:
            chats = lanes[lane] = OrderedDict()
        chats[key] = None

    def _exit(self, lane: Lane, key: str) -> None:
        lanes = self._rounds[lane[0]]
        chats = lanes[lane]
        del chats[key]
        if not chats:
            del lanes[lane]

    def _forget(self, chat: _Chat, now: float) -> None:
        """Forget a chat for which nothing waits, once nothing that it was sent counts."""
        at = max(chat.held_until, chat.room_at(now, max(window.most for window in chat.windows)))
        if at > now:
            chat.parked_until = at
            heappush(self._parked, (at, chat.key))
        else:
            del self._chats[chat.key]

    def _chat(self, key: str) -> _Chat:
        chat = self._chats.get(key)
        if chat is None:
            chat = self._chats[key] = _Chat(key, self._windows(key))
        return chat

    def _windows(self, key: str) -> tuple[Window, ...]:
        windows: tuple[Window, ...] = (Window.of_rate(self._limits.per_chat),)
        if self._limits.per_group_minute is not None and key[0] in "-@":
            windows += (Window.of_rate(self._limits.per_group_minute, 60.0),)
        return windows

    def _overall(self, message: Message) -> Window:
        return self._paid if message.is_paid else self._all
