"""Several lives on one PostgreSQL database: owners, epochs, updates of others, the fence between lives."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
from postgres_server import needs_postgres, postgres_server
from shared_lives import end_life, node

from trioworkers.breakage import Breakage
from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.store import Accept, Finish, Kept, MoveToDead, Replay, StoreFencedError
from trioworkers.inbox.tally import Tally
from trioworkers.records import Arrival

BOT, OTHER = 7_000_000_001, 7_000_000_002


@pytest.fixture
def database():
    needs_postgres()
    return postgres_server().database()


def new(number: int, bot: int = BOT) -> Accept:
    return Accept(bot, number, "k", b"{}", 1.0)


def test_an_accept_says_whether_updates_of_others_lie_before(database: str) -> None:
    """As long as they wait and were not read here; what was read or is done is not told again."""
    with node(database, "a") as one, node(database, "b") as two:
        assert one.commit([new(1)]) == [Kept(1)]
        assert two.commit([new(2)]) == [Kept(2, behind=True)]
        assert one.commit([new(3), new(3, OTHER)]) == [Kept(3, behind=True), Kept(4)]
        one.commit([Finish(1, BOT, "done"), Finish(2, BOT, "done")])
        assert [one.id for one in two.waiting(BOT, Fetch(0, 9)).updates] == [3]
        assert two.commit([new(5)]) == [Kept(5)]
        assert two.commit([new(6)]) == [Kept(6)]
        assert {*one.news({BOT: 3, OTHER: 4})} == {BOT}
        assert {*one.news({BOT: 6, OTHER: 3})} == {OTHER}


def test_a_life_that_has_ended_writes_nothing(database: str) -> None:
    """The other's tallies count what it had committed."""
    with node(database, "a") as one, node(database, "b") as two:
        one.commit([new(1), new(2)])
        end_life(database, one)
        with pytest.raises(StoreFencedError) as refused:
            one.commit([Finish(1, BOT, "done")])
        assert refused.value.life == one._session.lease.life
        assert two.tallies([BOT]) == {BOT: Tally(accepted=2, pending=2)}
        two.tend()
        assert two.tallies([BOT]) == {BOT: Tally(accepted=2, pending=2)}


def test_ids_of_a_bot_become_visible_in_their_order(database: str) -> None:
    """Two lives accept, replay and bury at once; a third reads on from where it was, and passes over none."""
    stop = threading.Event()
    accepted: list[int] = []

    def accept(name: str, first: int) -> None:
        with node(database, name) as store:
            for number in range(first, first + 400):
                results = store.commit([new(number), new(number + 100_000)])
                ids = [one.id for one in results if isinstance(one, Kept)]
                accepted.extend(ids)
                if number % 20 == 0:
                    store.commit([MoveToDead(ids[0], BOT, "k", 1, "no use", 1.0)])
                    (again,) = store.commit([Replay(ids[0], BOT)])
                    assert isinstance(again, Kept)
                    accepted.append(again.id)

    seen: list[int] = []

    def read() -> None:
        with node(database, "reader") as store:
            cursor = 0
            while True:
                last = stop.is_set()
                page = store.waiting(BOT, Fetch(cursor, 1000))
                seen.extend(update.id for update in page.updates)
                cursor = page.until
                if last and not page.updates:
                    return

    with node(database):
        writers = [
            threading.Thread(target=accept, args=(name, first)) for name, first in (("a", 0), ("b", 1000))
        ]
        reader = threading.Thread(target=read)
        for thread in (*writers, reader):
            thread.start()
        for thread in writers:
            thread.join()
        stop.set()
        reader.join()
        waiting = {one.id for one in _all(database)}
    assert seen == sorted(set(seen))
    assert waiting <= set(seen) <= set(accepted)


def _all(database: str) -> Any:
    with node(database, "last") as store:
        return store.waiting(BOT, Fetch(0, 10_000)).updates


async def test_two_inboxes_share_a_bot(database: str) -> None:
    """One owns it, the other accepts its webhook's updates: the owner handles and counts all, in order."""

    async def take(backlog: Any) -> int:
        with trio.fail_after(10):
            while (update := backlog.ordinary.take()) is None:
                await backlog.ordinary.wait_change()
        backlog.finish(update, "done")
        number: int = update.update_id
        return number

    with node(database, "a") as one, node(database, "b") as two, trio.fail_after(60):
        async with open_inbox(one) as mine, open_inbox(two) as theirs:
            backlog = mine.claim(BOT, Breakage())
            for number in range(0, 30, 3):
                await theirs.accept(BOT, [Arrival(number, "message", "k", None, None, b"{}")])
                if number % 2:
                    mine.wake([BOT])
                await mine.accept(BOT, [Arrival(number + 1, "message", "k", None, None, b"{}")])
                await theirs.accept(BOT, [Arrival(number + 2, "message", "k", None, None, b"{}")])
            assert [await take(backlog) for _ in range(30)] == list(range(30))
            while mine.tally(BOT) != Tally(accepted=30, done=30):  # noqa: ASYNC110 - the other side is a thread
                await trio.sleep(0.01)
            mine.release(backlog)
            await mine.answers()
            await theirs.recount([BOT])
            assert theirs.tally(BOT) == Tally(accepted=30, done=30)
