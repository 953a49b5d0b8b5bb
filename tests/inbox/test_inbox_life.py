"""The inbox as the daemon uses it, over a real file, and over the death of its process."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from msgspec.structs import replace
from tended import open_tended  # type: ignore[import-not-found] # it lies beside

from trioworkers.breakage import Breakage
from trioworkers.inbox import backlog as backlog_module
from trioworkers.inbox import inbox as inbox_module
from trioworkers.inbox import sweep
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import ANY, DUPLICATE, Kept, OnceSeen, PutValue, StoreError, StoreWrite
from trioworkers.inbox.tally import Tally
from trioworkers.records import Arrival, Attempt, Once

BOT, OTHER = 7_000_000_001, 7_000_000_002
FAILURE = Attempt(1000.0, "ValueError")


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def arrival(number, key="a"):
    return Arrival(number, "message", key, None, None, b'{"update_id":%d}' % number)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_again(tmp_path, clock):
    """Open the same inbox as often as it is called."""

    @asynccontextmanager
    async def opened():
        store = open_sqlite(tmp_path / "inbox.db")
        with trio.fail_after(20):
            async with open_inbox(store, clock=clock) as inbox:
                yield inbox

    return opened


@pytest.fixture
async def inbox(open_again):
    async with open_again() as inbox:
        yield inbox


async def next_of(backlog):
    """The next update to handle, as soon as there is one."""
    with trio.fail_after(10):
        while (update := backlog.ordinary.take()) is None:
            await backlog.ordinary.wait_change()
    return update


async def settled(inbox):
    """Everything that was submitted is written and told."""
    told = trio.Event()
    inbox._writer.fetch(lambda store: None, lambda _: told.set(), Breakage())
    with trio.fail_after(10):
        await told.wait()


async def test_a_batch_is_accepted_once(inbox):
    """What came before is counted and changes nothing."""
    assert await inbox.accept(BOT, [arrival(1), arrival(2), arrival(1)]) == [Kept(1), Kept(2), DUPLICATE]
    assert await inbox.accept(BOT, [arrival(2)]) == [DUPLICATE]
    assert await inbox.accept(OTHER, [arrival(2)]) == [Kept(3)]
    assert inbox.tally(BOT) == Tally(accepted=2, duplicates=2, pending=2)
    backlog = inbox.claim(BOT, Breakage())
    assert (await next_of(backlog)).update_id == 1
    assert backlog.ordinary.take() is None
    assert backlog.pending == 2


async def test_a_bot_gets_its_own_updates_only(inbox):
    """Whoever else has some of the same key."""
    mine, theirs = inbox.claim(BOT, Breakage()), inbox.claim(OTHER, Breakage())
    await inbox.accept(OTHER, [arrival(7)])
    assert mine.ordinary.take() is None
    update = await next_of(theirs)
    assert (update.bot_id, update.update_id, update.body, update.accepted_at) == (
        OTHER,
        7,
        b'{"update_id":7}',
        1000.0,
    )


@pytest.mark.parametrize("early", [True, False])
async def test_updates_come_whether_the_backlog_was_there_before(inbox, early):
    """Claimed before the update or after it, the backlog has it, once."""
    if early:
        backlog = inbox.claim(BOT, Breakage())
    await inbox.accept(BOT, [arrival(1)])
    if not early:
        backlog = inbox.claim(BOT, Breakage())
    assert (await next_of(backlog)).update_id == 1
    await settled(inbox)
    assert backlog.ordinary.take() is None


async def test_the_next_goes_out_once_the_end_is_durable(inbox):
    """Not at the moment of finish(): a crash in between must not reorder."""
    backlog = inbox.claim(BOT, Breakage())
    await inbox.accept(BOT, [arrival(1), arrival(2)])
    backlog.finish(await next_of(backlog), "done")
    assert backlog.ordinary.take() is None
    assert (await next_of(backlog)).update_id == 2


@pytest.mark.parametrize(
    ("end", "tally"),
    [
        (lambda backlog, update: backlog.finish(update, "done"), Tally(1, done=1)),
        (lambda backlog, update: backlog.finish(update, "dropped"), Tally(1, dropped=1)),
        (lambda backlog, update: backlog.dead_letter(update, "no", 1), Tally(1, dead=1)),
    ],
)
async def test_what_ended_is_counted_the_same_in_memory_and_on_disk(open_again, end, tally):
    """And does not come back after reopening."""
    async with open_again() as inbox:
        backlog = inbox.claim(BOT, Breakage())
        await inbox.accept(BOT, [arrival(1)])
        end(backlog, await next_of(backlog))
        await settled(inbox)
        assert inbox.tally(BOT) == tally
        assert (backlog.pending, backlog.in_flight) == (0, 0)
    async with open_again() as inbox:
        assert inbox.tally(BOT) == tally
        backlog = inbox.claim(BOT, Breakage())
        await settled(inbox)
        assert backlog.ordinary.take() is None


async def test_a_retry_comes_when_it_is_due_and_not_before(inbox, clock):
    """Its chat waits, with the attempt counted; others go on."""
    backlog = inbox.claim(BOT, Breakage())
    await inbox.accept(BOT, [arrival(1), arrival(2), arrival(3, key="b")])
    update = await next_of(backlog)
    backlog.retry(replace(update, due=1010.0, attempt=1, started_at=1000.0), FAILURE)
    assert (await next_of(backlog)).update_id == 3
    await settled(inbox)
    assert backlog.ordinary.take() is None
    assert (backlog.waiting_for_retry, backlog.in_flight, inbox.tally(BOT).retried) == (1, 1, 1)
    clock.now = 1010.0
    again = await next_of(backlog)
    assert (again.update_id, again.attempt, again.started_at) == (1, 1, 1000.0)


async def test_waiting_for_change_ends_when_a_retry_is_due(inbox, clock):
    """Not at once, and not only when something new comes."""
    backlog = inbox.claim(BOT, Breakage())
    await inbox.accept(BOT, [arrival(1)])
    backlog.retry(replace(await next_of(backlog), due=1000.05, attempt=1, started_at=1000.0), FAILURE)
    await settled(inbox)
    await backlog.ordinary.wait_change()
    began = trio.current_time()
    with trio.fail_after(10):
        await backlog.ordinary.wait_change()
    assert trio.current_time() - began >= 0.04


async def test_a_taker_is_told_before_whoever_brought_an_update(inbox):
    """When it became durable, and when the one before it in its chat has ended."""
    backlog, taken = inbox.claim(BOT, Breakage()), []

    def take():
        update = backlog.ordinary.take()
        if update is not None:
            taken.append(update)

    with backlog.ordinary.taken_by(take):
        await inbox.accept(BOT, [arrival(1), arrival(2)])
        assert [update.update_id for update in taken] == [1]
        backlog.finish(taken[0], "done")
        await settled(inbox)
        assert [update.update_id for update in taken] == [1, 2]
    await inbox.accept(BOT, [arrival(3, "b")])
    assert len(taken) == 2


async def test_what_is_put_back_comes_again_as_it_was(inbox):
    """No attempt is counted, nothing is written."""
    backlog = inbox.claim(BOT, Breakage())
    await inbox.accept(BOT, [arrival(1), arrival(2)])
    update = await next_of(backlog)
    backlog.put_back(update)
    assert backlog.ordinary.take() == update
    assert inbox.tally(BOT) == Tally(2, pending=2)


async def test_a_retry_that_is_put_back_does_not_wait_again(inbox, clock):
    """Its time had come, also by a clock that was set back since."""
    backlog = inbox.claim(BOT, Breakage())
    await inbox.accept(BOT, [arrival(1)])
    backlog.retry(replace(await next_of(backlog), due=1010.0, attempt=1, started_at=1000.0), FAILURE)
    await settled(inbox)
    clock.now = 1010.0
    backlog.put_back(await next_of(backlog))
    clock.now = 1005.0
    again = backlog.ordinary.take()
    assert (again.update_id, again.attempt) == (1, 1)


async def test_after_reopening_it_goes_on_where_it_was(open_again, clock):
    """Attempt, due time, first handling and gap are as they were; what was in flight comes again."""
    async with open_again() as inbox:
        backlog = inbox.claim(BOT, Breakage())
        await inbox.accept(
            BOT, [arrival(1), arrival(2), arrival(3, "b"), arrival(4, "b"), arrival(5, "c"), arrival(6, "c")]
        )
        hand = {update.update_id: update for update in [await next_of(backlog) for _ in range(3)]}
        assert sorted(hand) == [1, 3, 5]
        backlog.retry(replace(hand[1], due=1050.0, attempt=3, started_at=990.0), FAILURE)
        backlog.dead_letter(hand[3], "no", 1)
    async with open_again() as inbox:
        assert inbox.tally(BOT) == Tally(6, retried=1, dead=1, pending=5)
        backlog = inbox.claim(BOT, Breakage())
        taken = [await next_of(backlog) for _ in range(2)]
        assert [(update.update_id, update.after_gap) for update in taken] == [(4, True), (5, False)]
        assert backlog.ordinary.take() is None
        clock.now = 1050.0
        again = await next_of(backlog)
        assert (again.update_id, again.attempt, again.due, again.started_at) == (1, 3, 1050.0, 990.0)
        for update in [*taken, again]:
            backlog.finish(update, "done")
        assert {(await next_of(backlog)).update_id for _ in range(2)} == {2, 6}


async def test_a_thousand_chats_are_handled_completely_and_in_order(open_again):
    """More than the window: half before, half after reopening, each chat in its order."""
    handled: list[int] = []
    async with open_again() as inbox:
        for chat in range(1000):
            await inbox.accept(BOT, [arrival(chat * 4 + number, str(chat)) for number in range(4)])
    async with open_again() as inbox:
        backlog = inbox.claim(BOT, Breakage())
        while len(handled) < 4000:
            update = await next_of(backlog)
            handled.append(update.update_id)
            backlog.finish(update, "done")
        await settled(inbox)
        assert inbox.tally(BOT) == Tally(4000, done=4000)
    assert sorted(handled) == list(range(4000))
    for chat in range(1000):
        assert [number for number in handled if number // 4 == chat] == list(range(chat * 4, chat * 4 + 4))


async def test_a_cancelled_accept_leaves_nothing_unheard_of(inbox):
    """The caller does not know; the backlog has the update exactly if it is durable."""
    backlog = inbox.claim(BOT, Breakage())
    with trio.CancelScope() as scope:
        scope.cancel()
        await inbox.accept(BOT, [arrival(1)])
    assert scope.cancelled_caught
    await settled(inbox)
    assert await inbox.accept(BOT, [arrival(1)]) == [DUPLICATE]
    assert (await next_of(backlog)).update_id == 1


async def test_a_refused_batch_is_not_counted(inbox, tmp_path):
    """Nothing of it is there, and it can be offered again."""
    backlog = inbox.claim(BOT, Breakage())
    inbox._writer._store._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreError):
        await inbox.accept(BOT, [arrival(1)])
    assert inbox.tally(BOT) == Tally()
    assert backlog.ordinary.take() is None
    inbox._writer._store._connection.execute("PRAGMA query_only = 0")
    assert await inbox.accept(BOT, [arrival(1)]) == [Kept(1)]


async def test_tending_forgets_old_ids_and_reads_again(inbox, clock):
    """After two days and not before an id is new again; a read that failed is repeated."""
    await inbox.accept(BOT, [arrival(1)])
    connection = inbox._writer._store._connection
    connection.execute("ALTER TABLE inbox RENAME TO away")
    backlog = inbox.claim(BOT, Breakage())
    await settled(inbox)
    connection.execute("ALTER TABLE away RENAME TO inbox")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.tend, lambda: inbox_module.DEAD_RETENTION, 0.005)
        assert (await next_of(backlog)).update_id == 1
        clock.now += 48 * 3600 - 1
        await inbox._writer.read(lambda store: store.forget(clock.now - inbox_module.RETENTION, 9))
        assert await inbox.accept(BOT, [arrival(1)]) == [DUPLICATE]
        clock.now += 2
        with trio.fail_after(10):
            while await inbox.accept(BOT, [arrival(1)]) == [DUPLICATE]:  # noqa: ASYNC110 - the other side is a thread
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()


async def test_leaving_writes_what_was_submitted(open_again):
    """Acknowledgements given a moment before the end are kept."""
    async with open_again() as inbox:
        backlog = inbox.claim(BOT, Breakage())
        await inbox.accept(BOT, [arrival(n, str(n)) for n in range(50)])
        for _ in range(50):
            backlog.finish(await next_of(backlog), "done")
    async with open_again() as inbox:
        assert inbox.tally(BOT) == Tally(50, done=50)


async def kill_all(inbox, backlog, *arrivals):
    """Accept these and make a dead letter of each; the last word of each is its number."""
    await inbox.accept(BOT, arrivals)
    for _ in arrivals:
        update = await next_of(backlog)
        backlog.dead_letter(update, "no use", 1, Attempt(1000.0, f"error {update.update_id}"))
        await settled(inbox)


async def test_the_next_of_a_dead_one_is_told_of_the_gap_whenever_it_comes(open_again):
    """Here already, in the same run, or after reopening."""
    async with open_again() as inbox:
        backlog = inbox.claim(BOT, Breakage())
        await kill_all(inbox, backlog, arrival(1))
        await inbox.accept(BOT, [arrival(2)])
        assert (await next_of(backlog)).after_gap
        await kill_all(inbox, backlog, arrival(3, "b"))
    async with open_again() as inbox:
        await inbox.accept(BOT, [arrival(4, "b"), arrival(5, "c")])
        backlog = inbox.claim(BOT, Breakage())
        taken = [await next_of(backlog) for _ in range(3)]
        assert {update.update_id: update.after_gap for update in taken} == {2: True, 4: True, 5: False}


async def test_suspects_come_apart_also_after_reopening(open_again):
    """Ordinary handling goes on with the other chats; the suspect's own waits for it."""
    async with open_again() as inbox:
        backlog = inbox.claim(BOT, Breakage())
        await inbox.accept(BOT, [arrival(1), arrival(2), arrival(3, "b")])
        suspect = replace(await next_of(backlog), attempt=1, suspect=True, started_at=1000.0)
        backlog.retry(suspect, FAILURE)
        await settled(inbox)
        assert backlog.suspects.has_work
    async with open_again() as inbox:
        backlog = inbox.claim(BOT, Breakage())
        assert (await next_of(backlog)).update_id == 3
        assert backlog.ordinary.take() is None
        with trio.fail_after(10):
            await backlog.suspects.wait_change()
        again = backlog.suspects.take()
        assert (again, backlog.suspects.has_work) == (replace(suspect, head=None), False)
        backlog.finish(again, "done")
        assert (await next_of(backlog)).update_id == 2


async def test_who_records_more_than_the_disk_takes_waits(inbox, monkeypatch):
    """wait_recorded returns at once, but for more than MOST_UNWRITTEN that wait for their commit."""
    monkeypatch.setattr(backlog_module, "MOST_UNWRITTEN", 50_000)
    backlog = inbox.claim(BOT, Breakage())
    await inbox.accept(BOT, [arrival(1)])
    update = await next_of(backlog)
    backlog.calling(update, "few")
    with trio.fail_after(0):
        await backlog.wait_recorded()
    for number in range(200):
        backlog.calling(update, f"{number}")
        backlog.called(update, f"{number}", b"x" * 100)
    async with trio.open_nursery() as nursery:  # a bot's quarantine may wait, too
        nursery.start_soon(backlog.wait_recorded)
        await backlog.wait_recorded()
    assert len(await inbox.recorded_calls(update.id)) >= 30


async def test_recorded_calls_come_back_with_their_update(open_again):
    """After a crash and for a dead letter alike; what was not made is not there."""
    async with open_again() as inbox:
        backlog = inbox.claim(BOT, Breakage())
        await inbox.accept(BOT, [arrival(1)])
        update = await next_of(backlog)
        assert not update.called
        for key, answer in (("sendMessage 1", b'{"ok":true}'), ("sendPhoto 1", None)):
            backlog.calling(update, key)
            backlog.called(update, key, answer)
        backlog.calling(update, "sendDice 1")
    async with open_again() as inbox:
        backlog = inbox.claim(BOT, Breakage())
        update = await next_of(backlog)
        assert update.called
        calls = [("sendDice 1", None), ("sendMessage 1", b'{"ok":true}')]
        assert [(call.key, call.answer) for call in await backlog.calls(update)] == calls
        backlog.dead_letter(update, "no use", 1)
        await settled(inbox)
        assert [(call.key, call.answer) for call in await inbox.recorded_calls(update.id)] == calls


async def test_replayed_letters_go_to_the_tails_of_their_chats(open_again):
    """In their order, attempts counted anew; counted the same in memory and on disk."""
    async with open_again() as inbox:
        backlog = inbox.claim(BOT, Breakage())
        await kill_all(inbox, backlog, arrival(1), arrival(2, "b"), arrival(3))
        await inbox.accept(BOT, [arrival(4)])
        assert await inbox.replay(bot_id=OTHER) == 0
        assert await inbox.replay(bot_id=BOT) == 3
        taken = []
        while backlog.pending:
            taken.append(await next_of(backlog))
            backlog.finish(taken[-1], "done")
            await settled(inbox)
        of_a = [update.update_id for update in taken if update.key == "a"]
        assert (of_a, {update.attempt for update in taken}) == ([4, 1, 3], {0})
        tally = inbox.tally(BOT)
        assert tally == Tally(4, done=4)
        assert await inbox.dead_letters(limit=9) == []
    async with open_again() as inbox:
        assert inbox.tally(BOT) == tally


async def test_letters_that_are_replayed_by_id_keep_the_order_of_their_chat(inbox, monkeypatch):
    """However they are named, also when they are more than are moved at once."""
    monkeypatch.setattr(sweep, "LETTERS_AT_ONCE", 2)
    backlog = inbox.claim(BOT, Breakage())
    await kill_all(inbox, backlog, *[arrival(number) for number in range(5)])
    ids = [letter.id for letter in await inbox.dead_letters(limit=9)]
    assert await inbox.replay(ids=ids[::-1]) == 5
    taken = []
    while backlog.pending:
        update = await next_of(backlog)
        taken.append(update.update_id)
        backlog.finish(update, "done")
        await settled(inbox)
    assert taken == [0, 1, 2, 3, 4]


async def test_a_replay_takes_nothing_that_dies_again_meanwhile(inbox, clock, monkeypatch):
    """Though it dies while the others are still being replayed, a letter at a time."""
    monkeypatch.setattr(sweep, "LETTERS_AT_ONCE", 1)
    backlog = inbox.claim(BOT, Breakage())
    await kill_all(inbox, backlog, *[arrival(number, str(number)) for number in range(5)])

    async def die_again():
        clock.now += 1
        while True:
            backlog.dead_letter(await next_of(backlog), "again", 1)

    clock.now += 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(die_again)
        with trio.fail_after(10):
            assert await inbox.replay() == 5
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("operation", ["replay", "purge"])
@pytest.mark.parametrize("chosen", [{"ids": [1, 2]}, {"bot_id": BOT}, {}])
async def test_letters_that_died_before_the_clock_was_set_back_are_taken(inbox, clock, operation, chosen):
    """A clock that was wrong hides no letter from its command."""
    backlog = inbox.claim(BOT, Breakage())
    await kill_all(inbox, backlog, arrival(1, "a"), arrival(2, "b"))
    clock.now -= 3600
    assert await getattr(inbox, operation)(**chosen) == 2
    assert (inbox.tally(BOT).dead, inbox.tally(BOT).pending) == (0, 2 if operation == "replay" else 0)


async def test_letters_are_purged_by_id_bot_and_age(inbox, clock):
    """Each chosen one once; the tally tells how many."""
    backlog = inbox.claim(BOT, Breakage())
    for number in range(6):
        await kill_all(inbox, backlog, arrival(number, str(number)))
        clock.now += 10
    assert await inbox.purge(ids=[1, 99]) == 1
    assert await inbox.purge(died_by=1010.0) == 1
    assert [letter.id for letter in await inbox.dead_letters(limit=9)] == [3, 4, 5, 6]
    assert await inbox.purge(bot_id=OTHER) == 0
    assert await inbox.purge(bot_id=BOT, died_by=1030.0) == 2
    assert await inbox.purge() == 2
    assert inbox.tally(BOT) == Tally(6, purged=6)


async def test_letters_that_are_kept_long_enough_are_purged_by_themselves(tmp_path, clock):
    """How long is asked anew each time, as it may have been set meanwhile."""
    keep = 1e9
    store = open_sqlite(tmp_path / "inbox.db")
    with trio.fail_after(20):
        async with open_tended(store, 0.005, clock=clock, keep_dead=lambda: keep) as inbox:
            await kill_all(inbox, inbox.claim(BOT, Breakage()), arrival(1))
            clock.now += 100
            await kill_all(inbox, inbox.claim(BOT, Breakage()), arrival(2))
            keep = 50.0
            while inbox.tally(BOT).dead > 1:  # noqa: ASYNC110 - the other side is a thread
                await trio.sleep(0.005)
            assert [letter.id for letter in await inbox.dead_letters(limit=9)] == [2]
            assert inbox.tally(BOT) == Tally(2, dead=1, purged=1)


# -- values of plugins ----------------------------------------------------------------------------


def put(key, value=b"1", until=None, expected=ANY, at=1_000.0):
    return PutValue("p", key, value, until, expected, at)


async def test_values_are_put_and_read(inbox, clock):
    """The result of a put is whether its expectation was met; what ended is absent at once."""
    assert await inbox.value("p", "a") is None
    assert await inbox.put(put("a", until=1_010.0))
    assert await inbox.put(put("b", expected=None))
    assert not await inbox.put(put("b", b"2", expected=b"3"))
    assert await inbox.values("p", "", "", 9) == [("a", b"1"), ("b", b"1")]
    clock.now = 1_010.0
    assert (await inbox.value("p", "a"), await inbox.value("p", "b")) == (None, b"1")
    assert await inbox.values("p", "", "", 9) == [("b", b"1")]


async def test_values_are_written_with_what_becomes_of_an_update(inbox):
    """With an arrival that is kept, beside its once keys, and with an end; not with one that is dropped."""
    once = Once("key", 30.0)
    first = (once, StoreWrite("p", "arrival", b"1"))
    assert await inbox.accept(BOT, [arrival(1), arrival(2)], [(), first]) == [Kept(1), Kept(2)]
    again = (StoreWrite("p", "arrival", b"2"), once)
    assert await inbox.accept(BOT, [arrival(3)], [again]) == [OnceSeen("key")]
    assert await inbox.value("p", "arrival") == b"1"
    backlog = inbox.claim(BOT, Breakage())
    backlog.finish(await next_of(backlog), "done", (StoreWrite("p", "end", b"1"),))
    await next_of(backlog)
    assert await inbox.values("p", "", "", 9) == [("arrival", b"1"), ("end", b"1")]
    assert inbox.tally(BOT) == Tally(2, filtered=1, done=1, pending=1)


async def test_values_that_ended_are_forgotten(inbox, clock, nursery):
    """By the upkeep, without anybody who asks for them."""
    nursery.start_soon(inbox.tend, lambda: inbox_module.DEAD_RETENTION, 0.01)
    await inbox.put(put("short", until=1_010.0))
    await inbox.put(put("long"))
    clock.now = 1_011.0

    def kept(store):
        return [key for key, _ in store.values("p", "", "", 9, 0.0)]

    with trio.fail_after(10):
        while await inbox._writer.read(kept) != ["long"]:  # noqa: ASYNC110 - the other side is a thread
            await trio.sleep(0.01)
    nursery.cancel_scope.cancel()
