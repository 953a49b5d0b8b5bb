"""The inbox as the daemon uses it: accept updates, and hand each bot's out in order.

`accept` returns when the updates are durable. Each bot has one :class:`Backlog`; what is taken from it
ends in exactly one of `finish`, `retry`, `bury` (durable; the next of its key goes out once they are)
and `put_back` (nothing happened).
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio
from msgspec.structs import replace

from trioworkers.inbox.queue import Fetch, Queue
from trioworkers.inbox.store import Accept, Bury, Finish, Reschedule, StoreError, Tally
from trioworkers.inbox.writer import Writer
from trioworkers.records import Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from trioworkers.inbox.store import Operation, Store
    from trioworkers.records import Arrival

RETENTION = 48 * 3600  # seconds for which an update's id is known, twice what Telegram keeps most for
TEND_EVERY = 1.0  # seconds
FORGET_ROWS = 5000  # per round: some milliseconds of the writer's time


@asynccontextmanager
async def open_inbox(
    store: Store,
    *,
    clock: Callable[[], float] = time.time,
    trouble: Callable[[StoreError | None], None] = lambda _: None,
) -> AsyncIterator[Inbox]:
    """Run an inbox over `store`, and close both at the end.

    `trouble` hears when the store begins to fail, with why, and None when it works again.

    Leaving waits until everything that was submitted is written; cancellation does not shorten that.
    """
    tallies = await trio.to_thread.run_sync(store.tallies)
    try:
        async with trio.open_nursery() as nursery:
            writer = Writer(store, trouble)
            await nursery.start(writer.serve)
            inbox = Inbox(writer, tallies, clock)
            try:
                nursery.start_soon(inbox.tend)
                yield inbox
            finally:
                writer.close()
                nursery.cancel_scope.cancel()
    finally:
        store.close()


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came of a batch: how many updates are new, and how many were accepted before."""

    new: int
    duplicates: int


class Inbox:
    """All bots' updates. One per daemon; made by :func:`open_inbox`."""

    def __init__(self, writer: Writer, tallies: Mapping[int, Tally], clock: Callable[[], float]) -> None:
        self._writer = writer
        self._counts = {bot_id: asdict(tally) for bot_id, tally in tallies.items()}
        self._clock = clock
        self._backlogs: dict[int, Backlog] = {}

    async def accept(self, bot_id: int, arrivals: Sequence[Arrival]) -> Accepted:
        """Make a batch of one bot's updates durable; those accepted before change nothing.

        A caller that is cancelled does not know whether they are, and has to offer them again.

        Raises:
            StoreError: none of them is durable.
        """
        now = self._clock()
        new = 0

        def committed(ids: Sequence[int | None]) -> None:
            nonlocal new
            backlog = self._backlogs.get(bot_id)
            for arrival, id_ in zip(arrivals, ids, strict=True):
                if id_ is None:
                    continue
                new += 1
                if backlog is not None:
                    backlog.offer(
                        Waiting(
                            id_, bot_id, arrival.update_id, arrival.key, arrival.body, now, kind=arrival.kind
                        )
                    )
            counts = self.counts(bot_id)
            counts["accepted"] += new
            counts["duplicates"] += len(ids) - new
            counts["pending"] += new

        operations = [
            Accept(bot_id, arrival.update_id, arrival.key, arrival.body, now, arrival.kind)
            for arrival in arrivals
        ]
        await self._writer.commit(operations, committed)
        return Accepted(new, len(arrivals) - new)

    def backlog(self, bot_id: int) -> Backlog:
        """The bot's updates in the order in which they are handled. One owner at a time."""
        if bot_id not in self._backlogs:
            self._backlogs[bot_id] = Backlog(bot_id, self._writer, self.counts(bot_id), self._clock)
        return self._backlogs[bot_id]

    def tally(self, bot_id: int) -> Tally:
        """What became of the bot's updates."""
        return Tally(**self.counts(bot_id))

    def counts(self, bot_id: int) -> dict[str, int]:
        """The fields of the bot's tally, to be counted up as commits are told."""
        counts = self._counts.get(bot_id)
        if counts is None:
            counts = self._counts[bot_id] = asdict(Tally())
        return counts

    async def tend(self) -> None:
        """Forget old ids, a few at a time, and fetch again what could not be read, until cancelled."""
        while True:
            await trio.sleep(TEND_EVERY)
            before = self._clock() - RETENTION
            self._writer.fetch(partial(_forget, before), lambda _: None)
            for backlog in self._backlogs.values():
                backlog.fetch()


class Backlog:
    """One bot's waiting updates, in order; made by :meth:`Inbox.backlog`."""

    def __init__(
        self, bot_id: int, writer: Writer, counts: dict[str, int], clock: Callable[[], float]
    ) -> None:
        self._bot_id = bot_id
        self._writer = writer
        self._counts = counts
        self._clock = clock
        self._queue = Queue(behind=counts["pending"] > 0)
        self._changed = trio.Event()
        self.fetch()

    @property
    def in_hand(self) -> int:
        return self._queue.in_hand

    @property
    def waiting_for_retry(self) -> int:
        return self._queue.waiting_for_retry

    @property
    def pending(self) -> int:
        """Updates that are neither done nor dead, those in hand included."""
        return self._counts["pending"]

    def offer(self, update: Waiting) -> None:
        """A new update is durable (the inbox's call)."""
        self._queue.offer(update)
        self._changed.set()

    def take(self) -> Waiting | None:
        """The next update to handle, now in hand; None when there is none at this moment."""
        return self._queue.take(self._clock())

    async def wait_change(self, *, due: bool = True) -> None:
        """Return when :meth:`take` may have something that it had not before, or when poked.

        `due`: an update whose time has come is such a change; False for who cannot take one now.
        """
        next_due = self._queue.next_due() if due else None
        wait = float("inf") if next_due is None else max(0.0, next_due - self._clock())
        with trio.move_on_after(wait):
            await self._changed.wait()
        self._changed = trio.Event()

    def poke(self) -> None:
        """Let :meth:`wait_change` return."""
        self._changed.set()

    def finish(self, update: Waiting, outcome: str) -> None:
        """The update in hand is `done`, `dropped` or `expired`."""
        self._end(update, Finish(update.id, update.bot_id, outcome), outcome)

    def bury(self, update: Waiting, reason: str, attempts: int) -> None:
        """The update in hand is dead after `attempts` handlings."""
        now = self._clock()
        self._end(update, Bury(update.id, update.bot_id, update.key, attempts, reason, now), "dead")

    def retry(self, update: Waiting, *, due: float, attempt: int, started_at: float, error: str) -> None:
        """Handle the update in hand again at `due` (Unix seconds)."""

        def committed() -> None:
            self._counts["retried"] += 1
            self._queue.put_back(replace(update, attempt=attempt, due=due, started_at=started_at))
            self._changed.set()
            self.fetch()

        operation = Reschedule(update.id, update.bot_id, attempt, due, started_at, error)
        self._writer.submit([operation], committed)

    def put_back(self, update: Waiting) -> None:
        """The update in hand was not handled; it is the next of its key again."""
        self._queue.put_back(replace(update, due=0.0))
        self._changed.set()

    def _end(self, update: Waiting, operation: Operation, outcome: str) -> None:
        def committed() -> None:
            self._counts[outcome] += 1
            self._counts["pending"] -= 1
            self._queue.finish(update.id, dead=outcome == "dead")
            self._changed.set()
            self.fetch()

        self._writer.submit([operation], committed)

    def fetch(self) -> None:
        """Ask the store for what the queue wants, until it wants nothing."""
        fetch = self._queue.wanted()
        if fetch is None:
            return
        wanted: Fetch = fetch

        def fetched(answer: Sequence[Waiting] | StoreError) -> None:
            if isinstance(answer, StoreError):
                self._queue.not_fetched()
                return
            self._queue.fetched(wanted, answer)
            self._changed.set()
            self.fetch()

        self._writer.fetch(
            lambda store: store.waiting(
                self._bot_id, after=wanted.after, until=wanted.until, key=wanted.key, limit=wanted.limit
            ),
            fetched,
        )


def _forget(before: float, store: Store) -> int:
    return store.forget(before, FORGET_ROWS)
