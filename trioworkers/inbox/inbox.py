"""The inbox as the daemon uses it: accept updates, keep each bot's backlog, and look after dead letters."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import trio

from trioworkers.awake import next_beat
from trioworkers.errors import Drop
from trioworkers.inbox.backlog import Backlog
from trioworkers.inbox.refresh import Refresh
from trioworkers.inbox.store import DUPLICATE, Accept, Filter, Kept, Purge, Replay, StoreError, StoreWrite
from trioworkers.inbox.sweep import sweep
from trioworkers.inbox.tally import Tally
from trioworkers.inbox.writer import Writer
from trioworkers.records import Once, Waiting
from trioworkers.shortage import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from trioworkers.breakage import Breakage
    from trioworkers.figures import Commits
    from trioworkers.inbox.store import ArrivalResult, PutValue, Store, StoreFencedError
    from trioworkers.records import Arrival, DeadLetter, RecordedCall

    GateVerdict: TypeAlias = Drop | tuple[Once | StoreWrite, ...]

RETENTION = 48 * 3600  # seconds for which an update's id is known, twice what Telegram keeps most for
DEAD_RETENTION = 30 * 86400.0  # seconds
TEND_EVERY = 1.0  # seconds
FORGET_ROWS = 5000  # per round: some milliseconds of the writer's time


@asynccontextmanager
async def open_inbox(
    store: Store,
    *,
    clock: Callable[[], float] = time.time,
    trouble: Callable[[StoreError | None], None] = lambda _: None,
    keep_dead: Callable[[], float] = lambda: DEAD_RETENTION,
    commits: Commits | None = None,
    journal: Callable[[int, Sequence[str]], None] = lambda *_: None,
) -> AsyncIterator[Inbox]:
    """Run an inbox over `store`, and close both at the end.

    When the store is found damaged, what runs inside is cancelled and StoreDamagedError raised, in a group.
    So it is with StoreFencedError, unless :meth:`Inbox.outlive_fence` was called.

    `trouble` hears when the store begins to fail, with why, and None when it works again. `keep_dead`
    gives the seconds for which dead letters are kept. `commits` counts the store's commits. `journal` hears
    of a journal that another program keeps from being emptied: its bytes, 0 when that is over, and who does.

    Leaving waits until everything that was submitted is written; cancellation does not shorten that.
    """
    tallies = await in_thread(store.tallies)
    try:
        async with trio.open_nursery() as nursery:
            writer = Writer(store, trouble, commits, journal)
            await nursery.start(writer.serve)
            inbox = Inbox(writer, tallies, clock, is_shared=store.is_shared)
            try:
                nursery.start_soon(inbox.tend, keep_dead)
                nursery.start_soon(writer.wait_broken)
                yield inbox
            finally:
                writer.close()
                nursery.start_soon(writer.end.see_through)
                nursery.cancel_scope.cancel()
    finally:
        store.close()


class Inbox:
    """All bots' updates. One per daemon; made by :func:`open_inbox`.

    Attributes:
        unclaimed: called with a bot's id when updates of it were committed and nobody here has claimed it.
    """

    def __init__(
        self,
        writer: Writer,
        tallies: Mapping[int, Tally],
        clock: Callable[[], float],
        *,
        is_shared: bool = False,
    ) -> None:
        self._writer = writer
        self._is_shared = is_shared
        self._counts = {bot_id: asdict(tally) for bot_id, tally in tallies.items()}
        self._clock = clock
        self.unclaimed: Callable[[int], None] = lambda bot_id: None
        self._backlogs: dict[int, Backlog] = {}
        self._refresh = Refresh(writer, self.counts, self._backlogs)
        writer.on_unknown = self._refresh.all

    async def accept(
        self,
        bot_id: int,
        arrivals: Sequence[Arrival],
        verdicts: Sequence[GateVerdict] = (),
        stored: Callable[[Sequence[Waiting]], None] | None = None,
    ) -> Sequence[ArrivalResult]:
        """Make a batch of one bot's updates durable; those that came before change nothing.

        Returns one result for each arrival, in order. `verdicts` says for each arrival, in order, which keys
        it may be kept once with and what is written for plugins if it is kept, or that only its id is
        remembered; () for none. :mod:`.gate` is the way in for transports. `stored` is called with those that
        were kept, before any of them is handed out; it only notes them. A caller that is cancelled does not
        know whether the updates are durable, and has to offer them again.

        Raises:
            StoreError: none of them is durable.
        """
        now = self._clock()
        outcome: Sequence[ArrivalResult] = ()

        def committed(results: Sequence[ArrivalResult]) -> None:
            nonlocal outcome
            outcome = results
            updates = [
                _waiting(bot_id, arrival, kept, now)
                for arrival, kept in zip(arrivals, results, strict=True)
                if isinstance(kept, Kept)
            ]
            if stored is not None:
                stored(updates)
            backlog = self._backlogs.get(bot_id)
            if backlog is not None:
                if self._is_shared and any(isinstance(one, Kept) and one.behind for one in results):
                    self._refresh.more(bot_id)  # it fetches these as well, after those of other daemons
                backlog.offer(updates)
            elif updates:
                self.unclaimed(bot_id)
            duplicates = results.count(DUPLICATE)
            counts = self.counts(bot_id)
            counts["accepted"] += len(updates)
            counts["duplicates"] += duplicates
            counts["filtered"] += len(results) - len(updates) - duplicates
            counts["pending"] += len(updates)

        operations: Sequence[Accept | Filter]
        if verdicts:
            operations = [
                _judged(bot_id, arrival, now, verdict)
                for arrival, verdict in zip(arrivals, verdicts, strict=True)
            ]
        else:
            operations = [
                Accept(bot_id, arrival.update_id, arrival.key, arrival.body, now, arrival.kind)
                for arrival in arrivals
            ]
        owner = self._backlogs.get(bot_id)
        if owner is not None and owner.waits_for_ends(arrivals):
            self._writer.hurry()  # these ends are committed with the updates, which go out at once then
        await self._writer.commit(operations, committed)
        return outcome

    async def known(self, bot_id: int, update_ids: Collection[int]) -> set[int]:
        """Those of these update ids of a bot that came before, whether they were accepted or filtered.

        Raises:
            StoreError: they cannot be read now.
        """
        return await self._writer.read(lambda store: store.known(bot_id, update_ids))

    def claim(self, bot_id: int, fault: Breakage, touch: Callable[[], None] = lambda: None) -> Backlog:
        """The bot's updates in the order in which they are handled, for one owner until :meth:`release`.

        It is read anew from the store: a former owner's is not used any more, and what that had in flight
        waits in it.

        Args:
            bot_id: the bot.
            fault: where it is noted what breaks in the backlog's callbacks.
            touch: called when the bot's counts have changed.
        """
        backlog = Backlog(bot_id, self._writer, self.counts(bot_id), self._clock, fault, touch)
        self._backlogs[bot_id] = backlog
        if self._is_shared:  # what is counted here may not be all
            backlog.more()
        return backlog

    def release(self, backlog: Backlog) -> None:
        """The owner needs the backlog no more. New updates of the bot are accepted all the same."""
        if self._backlogs.get(backlog.bot_id) is backlog:
            del self._backlogs[backlog.bot_id]

    async def recount(self, bot_ids: Collection[int]) -> None:
        """Take the tallies of these bots as the store has them now: another daemon may have had the bots.

        Where the store cannot be read, that is done as soon as it can be.
        """
        try:
            tallies = await self._writer.read(lambda store: store.tallies(bot_ids))
        except StoreError:
            self._refresh.all()
        else:
            self._refresh.counted(tallies, bot_ids)

    def outlive_fence(self, then: Callable[[StoreFencedError], None]) -> None:
        """Call `then` on the loop with the error when another daemon has taken over, instead of ending.

        Everything that waited to be written has been dropped by then. All backlogs have to be released; each
        use of the store fails with StoreFencedError until the store has a new lease.
        """
        self._writer.on_fenced = then

    def wake(self, bot_ids: Iterable[int]) -> None:
        """Other daemons accepted updates of these bots: they are fetched, and counted.

        Each call costs two reads, also when it is called for nothing.
        """
        self._refresh.wake(bot_ids)

    def tally(self, bot_id: int) -> Tally:
        """What became of the bot's updates."""
        return Tally(**self.counts(bot_id))

    async def answers(self) -> None:
        """Return once the writer's thread has ended everything that was submitted before.

        Raises:
            StoreError: the inbox is closed.
        """
        await self._writer.read(lambda _: None)

    def counts(self, bot_id: int) -> dict[str, int]:
        """The fields of the bot's tally, to be counted up as commits are told."""
        counts = self._counts.get(bot_id)
        if counts is None:
            counts = self._counts[bot_id] = asdict(Tally())
        return counts

    async def dead_letters(
        self, *, bot_id: int | None = None, ids: Sequence[int] | None = None, after: int = 0, limit: int
    ) -> Sequence[DeadLetter]:
        """Dead letters by ascending id from past `after`: of all bots or one, or those of `ids`.

        Raises:
            StoreError: they cannot be read now.
        """
        return await self._writer.read(
            lambda store: store.dead(ids=ids, bot_id=bot_id, after=after, limit=limit)
        )

    async def recorded_calls(self, id: int) -> Sequence[RecordedCall]:
        """The recorded calls of an update or dead letter.

        Raises:
            StoreError: they cannot be read now.
        """
        return await self._writer.read(lambda store: store.calls(id))

    async def replay(self, *, ids: Sequence[int] | None = None, bot_id: int | None = None) -> int:
        """Put dead letters at the tails of their chats, attempts counted anew; return their number.

        Those of `ids`, of a bot, or all. One that dies again meanwhile is not taken a second time.

        Raises:
            StoreError: they cannot be moved now; some may have been.
        """
        return await sweep(self._writer, Replay, self._taken_out, ids=ids, bot_id=bot_id)

    async def purge(
        self,
        *,
        ids: Sequence[int] | None = None,
        bot_id: int | None = None,
        died_by: float | None = None,
    ) -> int:
        """Forget dead letters for good; return their number.

        Those of `ids`, of a bot, or all; with `died_by` (Unix seconds) only those that died by then.

        Raises:
            StoreError: they cannot be removed now; some may have been.
        """
        return await sweep(self._writer, Purge, self._taken_out, ids=ids, bot_id=bot_id, died_by=died_by)

    def _taken_out(self, letter: DeadLetter, *, replayed: bool) -> None:
        """A dead letter was replayed or purged; on the loop, in the order of the commits."""
        counts = self.counts(letter.bot_id)
        counts["dead"] -= 1
        counts["pending" if replayed else "purged"] += 1
        backlog = self._backlogs.get(letter.bot_id)
        if backlog is not None:
            backlog.touch()
            if replayed:
                backlog.more()
        elif replayed:
            self.unclaimed(letter.bot_id)

    async def put(self, operation: PutValue) -> bool:
        """Write or remove a value of a plugin; return whether its expectation was met (:class:`PutValue`).

        A caller that is cancelled does not know whether it was done.

        Raises:
            StoreError: it was not done, and will not be.
        """
        met = False

        def committed(results: Sequence[bool]) -> None:
            nonlocal met
            (met,) = results

        await self._writer.commit([operation], committed)
        return met

    async def value(self, plugin: str, key: str) -> bytes | None:
        """A plugin's value; None when it is absent.

        Raises:
            StoreError: it cannot be read now.
        """
        now = self._clock()
        return await self._writer.read(lambda store: store.value(plugin, key, now))

    async def values(self, plugin: str, prefix: str, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        """A plugin's first `limit` keys past `after` that begin with `prefix`, and their values, by key.

        Raises:
            StoreError: they cannot be read now.
        """
        now = self._clock()
        return await self._writer.read(lambda store: store.values(plugin, prefix, after, limit, now))

    async def backup(self, path: Path) -> None:
        """Put a consistent copy of everything at `path`; updates are accepted and handled meanwhile.

        What is there is replaced once the copy is whole. Cancellation waits for it.

        Raises:
            StoreError: there is no copy.
        """
        await self._writer.backup(path)

    async def tend(self, keep_dead: Callable[[], float], every: float = TEND_EVERY) -> None:
        """Forget old ids, once keys, plugins' values and dead letters, a few at a time, until cancelled.

        What could not be fetched for a backlog is fetched again here, too, and what other daemons accepted
        for bots of this one is noticed. `keep_dead` gives the seconds for which dead letters are kept.
        `every`: seconds between two rounds.
        """
        while True:
            await trio.sleep_until(next_beat(every))
            now = self._clock()
            self._writer.tend(partial(_forget, now))
            for backlog in self._backlogs.values():
                backlog.try_again()
            self._refresh.look(news=self._is_shared)
            with suppress(StoreError):  # it is told as the store's trouble
                await self.purge(died_by=now - keep_dead())


def _waiting(bot_id: int, arrival: Arrival, kept: Kept, now: float) -> Waiting:
    return Waiting(
        kept.id,
        bot_id,
        arrival.update_id,
        arrival.key,
        arrival.body,
        now,
        after_gap=kept.after_gap,
        kind=arrival.kind,
        head=arrival,
    )


def _judged(bot_id: int, arrival: Arrival, now: float, verdict: GateVerdict) -> Accept | Filter:
    if isinstance(verdict, Drop):
        return Filter(bot_id, arrival.update_id, now)
    if len(verdict) == 1 and isinstance(first := verdict[0], Once):  # the usual one
        return Accept(bot_id, arrival.update_id, arrival.key, arrival.body, now, arrival.kind, (first,))
    once = tuple([one for one in verdict if isinstance(one, Once)])
    writes = tuple([one for one in verdict if isinstance(one, StoreWrite)])
    return Accept(bot_id, arrival.update_id, arrival.key, arrival.body, now, arrival.kind, once, writes)


def _forget(now: float, store: Store) -> int:
    forgotten = store.forget(now - RETENTION, FORGET_ROWS)
    return forgotten + store.forget_keys(now, FORGET_ROWS) + store.forget_values(now, FORGET_ROWS)
