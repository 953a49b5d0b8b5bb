"""The feed of the live stream: events as they come, and once a second what changed in the rows of the bots.

A bot's row is built anew when it was *touched*: an update was accepted or ended, its worker's life went on, a
heartbeat came, an event named it. A slow sweep over all bots finds what touched nobody: figures of plugins,
an update that takes long. All of it is done once for all clients, and not at all while there are none.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import trio

from trioworkers.errors import TrioworkersError
from trioworkers.events import LEVELS
from trioworkers.live.merge import Board
from trioworkers.live.reader import Reader, encode, encode_change
from trioworkers.live.ring import CHANGE, Message, Ring, Wants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trioworkers.events import Event, Events, Subscription
    from trioworkers.live.merge import Row

MOST_CLIENTS = 200
EVERY = 1.0  # seconds from one look at the rows to the next
GATHER = 0.1  # seconds for which events gather before they are sent
SWEEP = 10.0  # seconds in which all rows are looked at
LINGER = 60.0  # seconds after the last client for which the feed goes on, so that clients can resume
FRESH = 1.0  # seconds for which a snapshot is used again
TURN = 0.0005  # seconds after which the loop may do something else
CAPACITY = 5000  # events that may wait to be taken in

INFO = LEVELS["info"]


class FeedFullError(TrioworkersError):
    """There are as many clients as may be."""


class Source(Protocol):
    """Where the rows come from."""

    @property
    def touched(self) -> set[str]:
        """The bots whose row may have changed; whoever reads it clears it."""

    def head(self) -> dict[str, Any]:
        """What the status document says of the daemon."""

    def names(self) -> Sequence[str]:
        """All bots."""

    def row(self, name: str) -> dict[str, Any] | None:
        """A bot's row; None: there is no such bot."""


class Client:
    """A client of the feed; made by :meth:`LiveFeed.client`."""

    def __init__(self, feed: LiveFeed, wants: Wants, since: int | None) -> None:
        self.wants = wants
        self._feed = feed
        self._since = since
        self._reader: Reader | None = None

    async def next(self) -> bytes:
        """Wait for what the client is to be sent next: whole frames.

        Raises:
            trio.EndOfChannel: the feed has ended, and the client has all of it.
        """
        feed = self._feed
        await feed.wait_warm()
        if self._reader is None:
            if feed.over.is_set():
                raise trio.EndOfChannel
            self._reader = feed.reader(self.wants, self._since)
        while not (frames := self._reader.next()):
            if feed.over.is_set():
                raise trio.EndOfChannel
            await feed.wait_published()
        return frames


class LiveFeed:
    """Makes the messages of the stream. :meth:`serve` once; :meth:`close` ends the stream.

    Args:
        events: what happens.
        source: the rows.
        most: clients at a time.
        every: seconds from one look at the rows to the next.

    Attributes:
        over: set when the stream has ended; clients have to be given what there still is.
    """

    def __init__(
        self, events: Events, source: Source, *, most: int = MOST_CLIENTS, every: float = EVERY
    ) -> None:
        self.over = trio.Event()
        self._events = events
        self._source = source
        self._most = most
        self._every = every
        self._clients: set[Client] = set()
        self._joined, self._closing = trio.Event(), trio.Event()
        self._warm, self._published = trio.Event(), trio.Event()
        self._looking = trio.Lock()  # what is found out about a row is told before anybody looks again
        # a number of another run of the daemon is never one of this run, which makes fewer messages than
        # there are microseconds
        self._seq = time.time_ns() // 1000
        self._board, self._ring = Board(self._seq), Ring(self._seq)
        self._snapshots: dict[frozenset[str] | None, tuple[float, int, bytes]] = {}
        self._subscription: Subscription | None = None
        self._to_sweep: list[str] = []
        self._step = 0

    @property
    def clients(self) -> int:
        """How many there are."""
        return len(self._clients)

    @contextmanager
    def client(self, wants: Wants, since: int | None = None) -> Iterator[Client]:
        """A client of the stream, inside the context.

        Args:
            wants: what it is sent.
            since: the number of the last message that it has; None: it has nothing.

        Raises:
            FeedFullError: there are too many.
        """
        if len(self._clients) >= self._most:
            message = f"{self._most} clients are connected, which is the most"
            raise FeedFullError(message)
        client = Client(self, wants, since)
        self._clients.add(client)
        self._joined.set()
        self._hear()
        try:
            yield client
        finally:
            self._clients.discard(client)
            self._hear()

    def close(self) -> None:
        """Tell the clients the last changes, and end the stream."""
        self._closing.set()

    async def serve(self) -> None:
        """Serve until :meth:`close`; while there are no clients, nothing is done."""
        while not self._closing.is_set():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_on_closing, nursery.cancel_scope)
                await self._joined.wait()
                await self._serve_clients()
                nursery.cancel_scope.cancel()
        if self._warm.is_set():
            if self._subscription is not None:
                self._publish_events(*self._subscription.receive_nowait())
            await self._look({*self._source.names(), *self._take_touched()})
        self.over.set()
        self._warm.set()
        self._wake()
        if self._subscription is not None:
            self._subscription.close()

    async def _cancel_on_closing(self, scope: trio.CancelScope) -> None:
        await self._closing.wait()
        scope.cancel()

    async def _serve_clients(self) -> None:
        """Serve while there are clients, and a little longer; then forget all."""
        if self._subscription is None:
            self._subscription = self._events.subscribe("info", CAPACITY)
        self._hear()
        self._source.touched.clear()
        await self._look(self._source.names())
        self._warm.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_events, self._subscription)
            left_at = math.inf
            while left_at + LINGER > trio.current_time():
                await trio.sleep(self._every)
                await self._look(self._take_touched() | self._next_to_sweep())
                left_at = math.inf if self._clients else min(left_at, trio.current_time())
            nursery.cancel_scope.cancel()
        if not self._clients:  # none has come in this very moment
            self._forget()

    def _forget(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        self._subscription = None
        self._seq += 1  # a message that nobody got: whoever resumes from before it gets a snapshot
        self._board, self._ring = Board(self._seq), Ring(self._seq)
        self._snapshots.clear()
        self._joined, self._warm = trio.Event(), trio.Event()

    async def wait_warm(self) -> None:
        """Return once the rows are known."""
        await self._warm.wait()

    async def wait_published(self) -> None:
        """Return once there are further messages, or the stream has ended."""
        await self._published.wait()

    def reader(self, wants: Wants, since: int | None) -> Reader:
        """A reader of the messages; the rows have to be known."""
        return Reader(self._ring, self._board, wants, since, self._snapshot)

    # --- rows ---

    def _take_touched(self) -> set[str]:
        touched = set(self._source.touched)
        self._source.touched.clear()
        return touched

    def _next_to_sweep(self) -> set[str]:
        """The bots whose turn it is in the sweep, those that are gone by now included."""
        if not self._to_sweep:
            self._to_sweep = [name for name in self._board.rows if name is not None]
            known = set(self._to_sweep)
            self._to_sweep += [name for name in self._source.names() if name not in known]
            self._step = math.ceil(len(self._to_sweep) * self._every / SWEEP)
        turn, self._to_sweep = self._to_sweep[: self._step], self._to_sweep[self._step :]
        return set(turn)

    async def _look(self, names: Iterable[str]) -> None:
        """Look at these rows and the daemon's, and publish what changed."""
        async with self._looking:
            changes: list[tuple[str | None, Row | None, Row | None]] = []
            self._compare(None, self._source.head(), changes)
            began = time.perf_counter()
            for name in names:
                self._compare(name, self._source.row(name), changes)
                if time.perf_counter() - began > TURN:
                    await trio.lowlevel.checkpoint()
                    began = time.perf_counter()
            if changes:
                self._publish_changes(changes)

    def _compare(
        self, name: str | None, row: Row | None, changes: list[tuple[str | None, Row | None, Row | None]]
    ) -> None:
        changed = self._board.difference(name, row, trio.current_time())
        if not isinstance(changed, bool):
            changes.append((name, row, changed))

    def _publish_changes(self, changes: Sequence[tuple[str | None, Row | None, Row | None]]) -> None:
        now = trio.current_time()
        self._ring.begin()
        for name, row, changed in changes:
            self._seq += 1
            self._board.apply(name, row, changed, self._seq, now)
            self._ring.put(Message(self._seq, CHANGE, name, encode_change(self._seq, name, changed)))
        self._wake()

    def _snapshot(self, bots: frozenset[str] | None) -> tuple[int, bytes]:
        """The frame of a snapshot and its number; for a moment, all who come get the same."""
        now = trio.current_time()
        made = self._snapshots.get(bots)
        if made is None or made[0] + FRESH < now:
            for old in [key for key, (at, *_) in self._snapshots.items() if at + FRESH < now]:
                del self._snapshots[old]
            rows = self._board.rows_at(now)
            head = rows.pop(None, {})
            workers = [row for name, row in rows.items() if bots is None or name in bots]
            data = {"fleet": head, "workers": workers}
            frame = encode({"type": "snapshot", "seq": self._seq, "data": data})
            made = self._snapshots[bots] = (now, self._seq, frame)
        return made[1], made[2]

    # --- events ---

    def _hear(self) -> None:
        """Hear what some client wants; information is kept in any case, for those who resume."""
        if self._subscription is not None:
            least = min([INFO, *(client.wants.level for client in self._clients)])
            if self._subscription.level != least:
                self._subscription.set_least(next(name for name, number in LEVELS.items() if number == least))

    async def _serve_events(self, subscription: Subscription) -> None:
        while True:
            events, missed = await subscription.receive()
            self._publish_events(events, missed)
            await trio.sleep(GATHER)
            named = {event.bot for event in events if event.bot is not None and LEVELS[event.level] >= INFO}
            if named:
                await self._look(named)

    def _publish_events(self, events: Sequence[Event], missed: int) -> None:
        self._ring.begin()
        if missed:
            self._seq += 1
            lagged = encode({"type": "lagged", "missed": missed})
            self._ring.put(Message(self._seq, max(LEVELS.values()), None, lagged))
        for event in events:
            level = LEVELS[event.level]
            if level < INFO and not self._is_wanted(level, event.bot):
                continue
            self._seq += 1
            self._ring.put(Message(self._seq, level, event.bot, _encode_event(self._seq, event)))
        self._wake()

    def _is_wanted(self, level: int, bot: str | None) -> bool:
        return any(client.wants.has(level, bot) for client in self._clients)

    def _wake(self) -> None:
        self._published.set()
        self._published = trio.Event()


def _encode_event(seq: int, event: Event) -> bytes:
    message: dict[str, Any] = {
        **event.fields,
        "type": "event",
        "seq": seq,
        "at": event.at,
        "level": event.level,
        "event": event.event,
        "bot": event.bot,
    }
    if event.trace_id is not None:
        message["trace_id"] = event.trace_id
    return encode(message, redacted=True)
