"""What the inbox makes of a store that others use, too, that is out of reach, or that refuses some things."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager

import pytest
import trio
from msgspec.structs import replace
from tended import open_tended  # type: ignore[import-not-found] # it lies beside

from trioworkers.breakage import Breakage
from trioworkers.inbox import writer as writer_module
from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.store import (
    Accept,
    Finish,
    Kept,
    StoreError,
    StoreFencedError,
    StoreRejectedError,
    StoreUnknownError,
    StoreUnreachableError,
)
from trioworkers.inbox.tally import Tally
from trioworkers.records import Arrival

BOT, OTHER = 7_000_000_001, 7_000_000_002


class Node:
    """One daemon's view of a store that several use; what is in `fails` happens to its next commits.

    An error is raised before the commit, or after it with `late`; a function decides by the operations.
    """

    def __init__(self, store, lock):
        self.store, self.lock = store, lock
        self.is_shared = True
        self.fails = []
        self.late = False
        self.away = None
        self.given = {}
        self.commits = []

    def commit(self, operations):
        self.commits.append(len(operations))
        if self.away:
            raise self.away
        fails = [one for one in self.fails if not callable(one) or one(operations)]
        error = fails[0] if fails else None
        if error is not None and not callable(error):
            self.fails.remove(error)
        if callable(error):
            error = StoreRejectedError("it cannot be stored")
        if error is not None and not self.late:
            raise error
        with self.lock:
            results = [
                self._behind(*one) for one in zip(operations, self.store.commit(operations), strict=True)
            ]
        if error is not None:
            raise error
        return results

    def _behind(self, operation, result):
        if not isinstance(operation, Accept) or not isinstance(result, Kept):
            return result
        last, self.given[operation.bot_id] = self.given.get(operation.bot_id, 0), result.id
        waiting = self.store.waiting(operation.bot_id, Fetch(last, 1, until=result.id - 1)).updates
        return replace(result, behind=bool(waiting))

    def close(self):
        """The other daemon goes on with it."""

    def __getattr__(self, name):
        def call(*args, **kwargs):
            if self.away:
                raise self.away
            with self.lock:
                return getattr(self.store, name)(*args, **kwargs)

        return call


@pytest.fixture
def nodes(monkeypatch):
    """Two daemons' views of one store."""
    monkeypatch.setattr(writer_module, "PAUSE_AFTER_FAILURE", 0.002)
    store, lock = MemoryStore(), threading.Lock()
    return Node(store, lock), Node(store, lock)


@pytest.fixture
def node(nodes):
    return nodes[0]


@asynccontextmanager
async def opened(node, every=3600.0, **how):
    with trio.fail_after(20):
        async with open_tended(node, every, **how) as inbox:
            yield inbox


def arrival(number, key="a"):
    return Arrival(number, "message", key, None, None, b"{}")


async def until(condition):
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the other side is a thread
            await trio.sleep(0.001)


async def take(backlog):
    with trio.fail_after(10):
        while (update := backlog.ordinary.take()) is None:
            await backlog.ordinary.wait_change()
    return update


async def handle(backlog, number):
    """Take and finish so many; their update ids."""
    taken = []
    for _ in range(number):
        update = await take(backlog)
        taken.append(update.update_id)
        backlog.finish(update, "done")
    return taken


async def test_what_another_daemon_accepted_comes_before_what_came_after_it(nodes):
    """Though it was never offered here: the queue learns that it is behind, and fetches by ascending ids."""
    async with opened(nodes[0]) as mine, opened(nodes[1]) as theirs:
        backlog = mine.claim(BOT, Breakage())
        await mine.accept(BOT, [arrival(1)])
        assert await handle(backlog, 1) == [1]
        await theirs.accept(BOT, [arrival(2), arrival(3)])
        await mine.accept(BOT, [arrival(4)])
        assert await handle(backlog, 3) == [2, 3, 4]
        await mine.accept(BOT, [arrival(5)])
        assert await handle(backlog, 1) == [5]


@pytest.mark.parametrize("woken", [True, False])
async def test_what_another_daemon_accepted_is_heard_of(nodes, woken):
    """At once when it says so, else at the next look; and it is counted here, too."""
    every = 3600.0 if woken else 0.01
    async with opened(nodes[0], every=every) as mine, opened(nodes[1]) as theirs:
        backlog = mine.claim(BOT, Breakage())
        await until(lambda: backlog.cursor is not None)
        await theirs.accept(BOT, [arrival(1), arrival(2)])
        if woken:
            mine.wake([BOT, OTHER])
        assert await handle(backlog, 2) == [1, 2]
        await until(lambda: mine.tally(BOT) == Tally(accepted=2, done=2))


async def test_what_another_daemon_accepted_is_counted_once_the_store_can_be_reached(nodes, monkeypatch):
    """It was heard of, and then its tally could not be read: it is tried again each second."""
    one, two = nodes
    read, failures = one.store.tallies, []

    def away(bot_ids=None):
        failures.append(bot_ids)
        if len(failures) < 3:
            raise StoreUnreachableError("no server")
        return read(bot_ids)

    async with opened(one, every=0.01) as inbox:
        backlog = inbox.claim(BOT, Breakage())
        await inbox.answers()
        monkeypatch.setattr(one.store, "tallies", away)
        two.commit([Accept(BOT, 1, "a", b"{}", 1.0)])
        await take(backlog)
        await until(lambda: inbox.tally(BOT) == Tally(accepted=1, pending=1))
        assert failures == [[BOT]] * 3


async def test_a_bot_that_is_taken_over_is_as_the_store_has_it(nodes):
    """Its tally and what waits are read anew: another daemon had it meanwhile."""
    async with opened(nodes[0]) as mine, opened(nodes[1]) as theirs:
        backlog = theirs.claim(BOT, Breakage())
        await theirs.accept(BOT, [arrival(1), arrival(2)])
        assert await handle(backlog, 1) == [1]
        await until(lambda: theirs.tally(BOT).done == 1)
        theirs.release(backlog)
        await theirs.answers()
        assert mine.tally(BOT) == Tally()
        await mine.recount([BOT])
        assert mine.tally(BOT) == Tally(accepted=2, done=1, pending=1)
        assert await handle(mine.claim(BOT, Breakage()), 1) == [2]


async def test_after_a_commit_of_unknown_outcome_all_is_read_anew(node):
    """It took effect, its results are lost: offered again, the update is a duplicate, and is handled once."""
    node.is_shared, node.late = False, True
    async with opened(node) as inbox:
        backlog = inbox.claim(BOT, Breakage())
        node.fails = [StoreUnknownError("the connection was lost")]
        with pytest.raises(StoreUnknownError):
            await inbox.accept(BOT, [arrival(1), arrival(2)])
        assert await handle(backlog, 2) == [1, 2]
        await until(lambda: inbox.tally(BOT) == Tally(accepted=2, done=2))
        node.fails = [StoreUnknownError("the connection was lost")]
        with pytest.raises(StoreUnknownError):
            await inbox.accept(BOT, [arrival(3)])
        await inbox.accept(BOT, [arrival(3)])
        assert await handle(backlog, 1) == [3]
        await until(lambda: inbox.tally(BOT) == Tally(accepted=3, duplicates=1, done=3))
        assert node.store.tallies()[BOT] == inbox.tally(BOT)


async def test_acknowledgements_of_unknown_outcome_are_given_again(node):
    """They are counted once, whether they took effect the first time or not."""
    for late in (True, False):
        node.is_shared, node.late = False, late
        async with opened(node) as inbox:
            backlog = inbox.claim(BOT, Breakage())
            first = 10 * late
            await inbox.accept(BOT, [arrival(first + number, str(number)) for number in range(3)])
            updates = [await take(backlog) for _ in range(3)]
            node.fails = [StoreUnknownError("the connection was lost")]
            for update in updates:
                backlog.finish(update, "done")
            done = 3 if late else 6
            await until(lambda done=done: inbox.tally(BOT).done == done)
            await inbox.answers()
            await until(lambda done=done: inbox.tally(BOT) == Tally(accepted=done, done=done))
            assert node.store.tallies()[BOT] == inbox.tally(BOT)


async def test_the_tallies_are_read_anew_once_the_store_can_be_reached(node, monkeypatch):
    """The first try fails: it is tried again each second."""
    node.late, node.is_shared = True, False
    async with opened(node, every=0.01) as inbox:
        node.fails = [StoreUnknownError("the connection was lost")]
        read = node.store.tallies
        failures = []

        def away(bot_ids=None):
            failures.append(bot_ids)
            if len(failures) < 3:
                raise StoreUnreachableError("no server")
            return read(bot_ids)

        monkeypatch.setattr(node.store, "tallies", away)
        with pytest.raises(StoreUnknownError):
            await inbox.accept(BOT, [arrival(1)])
        await until(lambda: inbox.tally(BOT) == Tally(accepted=1, pending=1))
        assert len(failures) == 3


async def test_what_cannot_be_stored_is_refused_alone(node):
    """Updates of others and acknowledgements that were in the same commit are stored."""
    async with opened(node) as inbox:
        backlog = inbox.claim(BOT, Breakage())
        await inbox.accept(BOT, [arrival(number, str(number)) for number in range(9)])
        updates = [await take(backlog) for _ in range(9)]
        node.fails = [
            lambda operations: any(
                one.update_id == 2**70 if isinstance(one, Accept) else isinstance(one, Finish) and one.id == 4
                for one in operations
            )
        ]
        refused, kept = [], []

        async def offer(number):
            try:
                await inbox.accept(OTHER, [arrival(number)])
            except StoreRejectedError:
                refused.append(number)
            else:
                kept.append(number)

        for update in updates:
            backlog.finish(update, "done")
        async with trio.open_nursery() as nursery:
            for number in (1, 2, 2**70, 3, 4):
                nursery.start_soon(offer, number)
        assert (refused, sorted(kept)) == ([2**70], [1, 2, 3, 4])
        await until(lambda: inbox.tally(BOT).done == 8)
        assert [one.id for one in node.store.waiting(BOT, Fetch(0, 99)).updates] == [4]
        assert inbox.tally(OTHER) == Tally(accepted=4, pending=4)


async def test_a_store_out_of_reach_refuses_reads_behind_acknowledgements(node):
    """Nobody waits without a word until the server is back; the acknowledgement is written then."""
    heard: list[object] = []
    async with opened(node, trouble=heard.append) as inbox:
        backlog = inbox.claim(BOT, Breakage())
        await inbox.accept(BOT, [arrival(1)])
        update = await take(backlog)
        node.away = StoreUnreachableError("no server")
        backlog.finish(update, "done")
        for ask in (inbox.dead_letters(limit=1), inbox.value("p", "k"), inbox.accept(BOT, [arrival(2)])):
            with pytest.raises(StoreUnreachableError):
                await ask
        node.away = None
        await until(lambda: inbox.tally(BOT).done == 1)
        await until(lambda: len(heard) == 2)
        assert [type(one) for one in heard] == [StoreUnreachableError, type(None)]


@pytest.mark.parametrize("back", [True, False])
async def test_the_end_waits_a_little_for_a_store_out_of_reach(node, monkeypatch, back):
    """A server that comes back in time gets what is left; one that does not holds the end up no longer."""
    monkeypatch.setattr(writer_module, "PATIENCE", 30.0 if back else 0.05)
    async with opened(node) as inbox:
        backlog = inbox.claim(BOT, Breakage())
        await inbox.accept(BOT, [arrival(1)])
        update = await take(backlog)
        node.away = StoreUnreachableError("no server")
        backlog.finish(update, "done")
        if back:
            timer = threading.Timer(0.3, setattr, (node, "away", None))
            timer.start()
    node.away = None
    assert node.store.tallies()[BOT].done == back


async def test_a_daemon_that_was_fenced_ends(node):
    """Another one has its bots: what runs inside is cancelled, and nothing more is written."""

    async def run():
        async with opened(node) as inbox:
            await inbox.accept(BOT, [arrival(1)])
            node.away = StoreFencedError("another daemon has taken over")
            await inbox.accept(BOT, [arrival(2)])

    with pytest.raises(ExceptionGroup) as raised:
        await run()
    assert raised.group_contains(StoreFencedError)
    assert node.store.tallies() == {BOT: Tally(accepted=1, pending=1)}


async def test_one_that_gets_a_new_lease_drops_what_waits_and_goes_on(node):
    """What it had in hand is another's now: no acknowledgement of it is ever written."""
    fenced = trio.Event()
    why = []

    def hear(error):
        why.append(error)
        fenced.set()

    async with opened(node) as inbox:
        inbox.outlive_fence(hear)
        backlog = inbox.claim(BOT, Breakage())
        await inbox.accept(BOT, [arrival(1)])
        update = await take(backlog)
        node.away = StoreFencedError("another daemon has taken over")
        backlog.finish(update, "done")
        with trio.fail_after(5):
            await fenced.wait()
        assert why == [node.away]
        with pytest.raises(StoreError, match="taken over"):
            await inbox.dead_letters(limit=1)
        inbox.release(backlog)
        node.away = None
        await inbox.recount([BOT])
        assert await handle(inbox.claim(BOT, Breakage()), 1) == [1]
        await until(lambda: inbox.tally(BOT) == Tally(accepted=1, done=1))
        assert node.store.tallies()[BOT].done == 1
