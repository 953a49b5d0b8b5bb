"""One bot's waiting updates: handed out in order, and what becomes of each made durable.

A backlog belongs to whoever claimed the bot, until it is released. What breaks in its callbacks is the
owner's fault (:mod:`trioworkers.breakage`), and a new backlog has to be claimed.

What is taken ends in exactly one of `finish`, `retry`, `dead_letter` (durable; the next of its key goes out
once they are) and `put_back` (nothing happened).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from msgspec.structs import replace

from trioworkers.inbox.acknowledgements import Acknowledgements
from trioworkers.inbox.feed import Feed
from trioworkers.inbox.fetch import Fetch, by_this_clock
from trioworkers.inbox.queue import Queue
from trioworkers.inbox.store import BeginCall, EndCall, Finish, MoveToDead, Reschedule, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trioworkers.breakage import Breakage
    from trioworkers.inbox.fetch import Page
    from trioworkers.inbox.store import Operation, StoreWrite
    from trioworkers.inbox.writer import Writer
    from trioworkers.records import Arrival, Attempt, RecordedCall, Waiting

MOST_UNWRITTEN = 2**20  # bytes of recorded calls that wait for their commit
RECORD_SIZE = 200  # bytes that one of them takes besides key and answer


class Backlog:
    """One bot's waiting updates, in order; made by :meth:`Inbox.claim`.

    Attributes:
        ordinary: hands out updates in order.
        suspects: hands out those that were in flight when a worker died; they are handled one at a time.
        touch: called when the bot's counts have changed.
    """

    def __init__(
        self,
        bot_id: int,
        writer: Writer,
        counts: dict[str, int],
        clock: Callable[[], float],
        fault: Breakage,
        touch: Callable[[], None] = lambda: None,
    ) -> None:
        self.bot_id = bot_id
        self.touch = touch
        self._writer = writer
        self._counts = counts
        self._clock = clock
        self._fault = fault
        self._unwritten = 0
        self._written = trio.Event()
        self._ending: set[str] = set()  # keys of updates whose ends gather, as nothing has waited for them
        self._acknowledgements: Acknowledgements[int | tuple[Waiting, str]] = Acknowledgements(
            writer, self._durable, fault
        )
        self._queue = Queue(behind=counts["pending"] > 0)
        self.ordinary = Feed(self._queue.take, self._queue.next_due, clock, self._queue.is_ready)
        self.suspects = Feed(self._queue.take_suspect, self._queue.next_suspect_due, clock)
        self.fetch()

    @property
    def cursor(self) -> int | None:
        """The id up to which the store holds nothing that is not known here; None: it is being read."""
        return self._queue.cursor

    @property
    def in_flight(self) -> int:
        return self._queue.in_flight

    @property
    def waiting_for_retry(self) -> int:
        return self._queue.waiting_for_retry

    @property
    def oldest_at(self) -> float | None:
        """When the oldest update was accepted that is not over, Unix seconds; None when none is known."""
        return self._queue.oldest_at()

    @property
    def pending(self) -> int:
        """Updates that are neither done nor dead, those in flight included."""
        return self._counts["pending"]

    @property
    def records(self) -> int:
        """How many calls and ends of updates were ever given to be written."""
        return self._acknowledgements.added

    @property
    def records_written(self) -> int:
        """How many of these, in their order, are durable."""
        return self._acknowledgements.written

    def offer(self, updates: Iterable[Waiting]) -> None:
        """New updates are durable (the inbox's call). It never raises."""
        self.touch()
        try:
            for update in updates:
                self._queue.offer(update)
            if self._queue.is_ready():
                self.ordinary.changed()
        except Exception as error:
            self._fault.note(error)

    def waits_for_ends(self, arrivals: Sequence[Arrival]) -> bool:
        """Whether one of these comes behind an update of its key whose end gathers."""
        return bool(self._ending) and any(arrival.key in self._ending for arrival in arrivals)

    def more(self) -> None:
        """Updates were put at the tail of the store without an offer (the inbox's call). It never raises."""
        try:
            self._queue.more()
            self.fetch()
        except Exception as error:
            self._fault.note(error)

    def finish(self, update: Waiting, outcome: str, writes: tuple[StoreWrite, ...] = ()) -> None:
        """The update in flight is `done`, `dropped` or `expired`; `writes` are committed with its end."""
        # what the taker holds can go out meanwhile: then nothing waits for this commit
        soon = self._queue.is_waited_for(update.id) and not self.ordinary.is_held
        ends = [Finish(update.id, update.bot_id, outcome, writes)]
        if update.parts:
            ends += [Finish(part.id, part.bot_id, outcome) for part in update.parts]
        if not soon:
            self._ending.add(update.key)
        self._end(update, ends, outcome, soon=soon)

    def dead_letter(
        self, update: Waiting, reason: str, attempts: int, failure: Attempt | None = None
    ) -> None:
        """The update in flight is dead after `attempts` handlings, of which `failure` is the last."""
        now = self._clock()
        ends = [
            MoveToDead(one.id, one.bot_id, one.key, attempts, reason, now, failure)
            for one in (update, *(update.parts or ()))
        ]
        self._end(update, ends, "dead")

    def retry(self, update: Waiting, failure: Attempt) -> None:
        """Handle the update in flight again, as it is given now (`attempt`, `due`, `suspect`, …)."""

        def committed() -> None:
            self._counts["retried"] += 1
            self._put_back(update)
            self.fetch()

        self._writer.submit([Reschedule(update, failure)], committed, self._fault)

    def put_back(self, update: Waiting, due: float = 0.0) -> None:
        """The update in flight was not handled; it is the next of its key again, from `due` on."""
        self._put_back(replace(update, due=due))

    def calling(self, update: Waiting, key: str) -> None:
        """A call is being made for the update in flight; this is recorded as soon as it can be."""
        self._record(BeginCall(update.id, key, self._clock()), len(key))

    def called(self, update: Waiting, key: str, answer: bytes | None) -> None:
        """The call has this answer, or was not made (None)."""
        self._record(EndCall(update.id, key, answer), len(key) + len(answer or b""))

    async def wait_recorded(self) -> None:
        """Return once not too much of what was called waits for its commit; most often at once.

        Who reads on only then is held back by the disk, and cannot fill the memory.
        """
        while self._unwritten > MOST_UNWRITTEN:
            if self._written.is_set():
                self._written = trio.Event()
            await self._written.wait()

    async def calls(self, update: Waiting) -> Sequence[RecordedCall]:
        """The calls that were recorded for the update.

        Raises:
            StoreError: they cannot be read now.
        """
        return await self._writer.read(lambda store: store.calls(update.id))

    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    async def behind(self, update: Waiting, limit: int) -> Sequence[Waiting]:
        """The first of those that wait behind the update in its lane, as the store has them.

        Raises:
            StoreError: they cannot be read now.
        """
        return (await self.page(Fetch(update.id, limit, key=update.key))).updates

    def set_order(self, *, by_chat: bool) -> None:
        """Hand updates out chat by chat, each chat in order, or each update for itself. At first, by chat.

        What is in flight stays so: for its chat, the change counts from the next update on.
        """
        if self._queue.in_order != by_chat:
            self._queue.order(in_order=by_chat)
            self.fetch()

    @property
    def ids_in_flight(self) -> frozenset[int]:
        return self._queue.ids_in_flight

    def hold(self) -> None:
        """Hand nothing out until :meth:`release`."""
        self._queue.hold()

    def release(self) -> None:
        """Hand out again what waits, as the store has it."""
        self._queue.release()
        self.fetch()

    async def page(self, fetch: Fetch) -> Page:
        """Updates of the bot that wait, as the store has them.

        Raises:
            StoreError: they cannot be read now.
        """
        return await self._writer.read(lambda store: store.waiting(self.bot_id, fetch))

    async def drop(self, updates: Sequence[Waiting]) -> None:
        """Drop these, which wait and are held.

        Raises:
            StoreError: none of them is dropped.
        """

        def committed(_: object) -> None:
            self._counts["dropped"] += len(updates)
            self._counts["pending"] -= len(updates)
            self.touch()

        await self._writer.commit([Finish(one.id, one.bot_id, "dropped") for one in updates], committed)

    def _record(self, operation: BeginCall | EndCall, size: int) -> None:
        size += RECORD_SIZE
        self._unwritten += size
        self._acknowledgements.add((operation,), size, soon=self._unwritten > MOST_UNWRITTEN)

    def _end(
        self, update: Waiting, operations: Sequence[Operation], outcome: str, *, soon: bool = True
    ) -> None:
        self._acknowledgements.add(operations, (update, outcome), soon=soon)

    def _durable(self, notes: Sequence[int | tuple[Waiting, str]]) -> None:
        """So many bytes of calls are recorded, and these updates have ended.

        They are counted before anything can break: whoever claims the bot next finds them ended.
        """
        recorded = 0
        ended: list[tuple[Waiting, str]] = []
        counts = self._counts
        for note in notes:
            if isinstance(note, int):
                recorded += note
                continue
            ended.append(note)
            update, outcome = note
            updates = 1 if update.parts is None else 1 + len(update.parts)
            counts[outcome] += updates
            counts["pending"] -= updates
            self._ending.discard(update.key)
        if recorded:
            self._recorded(recorded)
        if ended:
            self._ended(ended)

    def _recorded(self, size: int) -> None:
        self._unwritten -= size
        self._written.set()

    def _ended(self, ended: Sequence[tuple[Waiting, str]]) -> None:
        self.touch()
        queue = self._queue
        for update, outcome in ended:
            queue.finish(update.id, dead=outcome == "dead" and not update.skipped)
        if queue.waiting_for_retry:  # what is due next may be another one now
            self.ordinary.changed()
            self.suspects.changed()
        elif queue.is_ready():
            self.ordinary.changed()
        self.fetch()

    def _put_back(self, update: Waiting) -> None:
        if update.parts is not None:
            update = replace(update, parts=None)  # they wait as well, and are gathered anew
        self._queue.put_back(update)
        self.touch()
        self.poke()

    def try_again(self) -> None:
        """Fetch what could not be fetched (the inbox's call). It never raises."""
        try:
            self.fetch()
        except Exception as error:
            self._fault.note(error)

    def poke(self) -> None:
        """Let all look again who wait for a change."""
        self.ordinary.poke()
        self.suspects.poke()

    def fetch(self) -> None:
        """Ask the store for what the queue wants, until it wants nothing."""
        fetch = self._queue.wanted()
        if fetch is None:
            return
        wanted: Fetch = fetch

        def fetched(answer: Page | StoreError) -> None:
            if isinstance(answer, StoreError):
                self._queue.not_fetched()
                return
            self._queue.fetched(wanted, by_this_clock(answer, self._clock()))
            self.poke()
            self.fetch()

        self._writer.fetch(
            lambda store: store.waiting(self.bot_id, wanted),
            fetched,
            self._fault,
        )
