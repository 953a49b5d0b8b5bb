"""The thread that writes: order, groups, failures, and how it ends."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from trioworkers.breakage import Breakage
from trioworkers.inbox import submissions
from trioworkers.inbox import writer as writer_module
from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import (
    ANY,
    DUPLICATE,
    Accept,
    Filter,
    Finish,
    Kept,
    Purge,
    PutValue,
    Replay,
    StoreError,
    StoreWrite,
)
from trioworkers.inbox.writer import OPERATIONS_PER_COMMIT, Writer

BOT = 7_000_000_001


class Gated:
    """A real store behind a gate: commits wait for it, and fail while the disk is said to be full."""

    def __init__(self, store):
        self.store = store
        self.commits = []
        self.tried = 0
        self.full = False
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def commit(self, operations):
        self.tried += 1
        self.entered.set()
        assert self.gate.wait(10)
        if self.full:
            raise StoreError("database or disk is full")
        self.commits.append(list(operations))
        return self.store.commit(operations)

    def waiting(self, bot_id, fetch):
        return self.store.waiting(bot_id, fetch).updates

    def ids(self):
        return [update.update_id for update in self.store.waiting(BOT, Fetch(after=0, limit=10_000)).updates]


@pytest.fixture
def gated(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "PAUSE_AFTER_FAILURE", 0.002)
    store = open_sqlite(tmp_path / "inbox.db")
    yield Gated(store)
    store.close()


@pytest.fixture
async def writer(gated, nursery):
    writer = Writer(gated)
    await nursery.start(writer.serve)
    yield writer
    gated.gate.set()
    writer.close()


def kept(*ids):
    return [Kept(id_) for id_ in ids]


def new(number):
    return Accept(BOT, number, "", b"{}", 1.0)


async def until(condition):
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the other side is a thread
            await trio.sleep(0.001)


async def hold(gated, writer, nursery):
    """Let the thread stand in a commit; whatever follows gathers behind it."""
    gated.gate.clear()
    nursery.start_soon(writer.commit, [], lambda ids: None)
    await until(gated.entered.is_set)


async def test_a_commit_returns_once_it_is_durable(gated, writer):
    """By then the rows are there and the results were told."""
    told: list[Any] = []
    await writer.commit([new(5), new(6), new(5)], told.append)
    assert told == [[*kept(1, 2), DUPLICATE]]
    assert gated.ids() == [5, 6]


async def test_a_commit_does_not_return_before_it_is_durable(gated, writer, nursery):
    """While the disk is at work, the caller waits."""
    returned = trio.Event()

    async def accept():
        await writer.commit([new(1)], lambda ids: None)
        returned.set()

    gated.gate.clear()
    nursery.start_soon(accept)
    await until(gated.entered.is_set)
    assert not returned.is_set()
    gated.gate.set()
    with trio.fail_after(10):
        await returned.wait()


async def test_results_are_told_in_the_order_of_the_commits(gated, writer):
    """Whatever order the callers wake in, the inbox hears of ids in ascending order."""
    told: list[Any] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as callers:
            for number in range(500):
                callers.start_soon(writer.commit, [new(number)], told.extend)
    assert told == kept(*range(1, 501))
    assert [operation.update_id for commit in gated.commits for operation in commit] == gated.ids()


async def test_what_gathers_during_a_commit_becomes_one(gated, writer, nursery):
    """300 callers, one transaction."""
    await hold(gated, writer, nursery)
    with trio.fail_after(10):
        async with trio.open_nursery() as callers:
            for number in range(300):
                callers.start_soon(writer.commit, [new(number)], lambda ids: None)
            await trio.testing.wait_all_tasks_blocked()
            gated.gate.set()
    assert [len(commit) for commit in gated.commits] == [0, 300]


async def test_what_nobody_waits_for_goes_with_what_somebody_waits_for(gated, writer, monkeypatch):
    """However long it might gather; so one commit does for both."""
    monkeypatch.setattr(submissions, "GATHERING", 3600.0)
    await writer.commit([new(1), new(2)], lambda ids: None)
    for id_ in (1, 2):
        writer.submit([Finish(id_, BOT, "done")], lambda: None, Breakage(), soon=False)
        await trio.sleep(0.02)
    with trio.fail_after(10):
        await writer.commit([new(3)], lambda ids: None)
    finishes = [Finish(1, BOT, "done"), Finish(2, BOT, "done")]
    assert gated.commits == [[new(1), new(2)], [*finishes, new(3)]]


async def test_what_nobody_waits_for_gathers_for_milliseconds_only(gated, writer):
    """Nothing has to follow it."""
    told: list[int] = []
    await writer.commit([new(1)], lambda ids: None)
    writer.submit([Finish(1, BOT, "done")], partial(told.append, 1), Breakage(), soon=False)
    await until(lambda: told)
    assert gated.ids() == []


async def test_closing_waits_for_nothing_that_gathers(gated, monkeypatch):
    """It is written at once."""
    monkeypatch.setattr(submissions, "GATHERING", 3600.0)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            writer = Writer(gated)
            await nursery.start(writer.serve)
            await writer.commit([new(1)], lambda ids: None)
            writer.submit([Finish(1, BOT, "done")], lambda: None, Breakage(), soon=False)
            writer.close()
    assert gated.ids() == []


async def test_a_transaction_has_its_bound_and_cuts_no_batch(gated, writer, nursery):
    """About 512 operations each; what one caller gave stays together."""
    await hold(gated, writer, nursery)
    with trio.fail_after(10):
        async with trio.open_nursery() as callers:
            for caller in range(12):
                batch = [new(caller * 100 + number) for number in range(100)]
                callers.start_soon(writer.commit, batch, lambda ids: None)
            await trio.testing.wait_all_tasks_blocked()
            gated.gate.set()
    assert [len(commit) for commit in gated.commits] == [0, 600, 600]
    assert OPERATIONS_PER_COMMIT == 512


async def test_a_cancelled_caller_leaves_and_its_operations_are_committed(gated, writer, nursery):
    """The update is durable, and the inbox hears of it, so that nothing is in the store unheard of."""
    told: list[Any] = []
    await hold(gated, writer, nursery)
    with trio.move_on_after(0) as scope:
        await writer.commit([new(1)], told.append)
    assert scope.cancelled_caught
    assert told == []
    gated.gate.set()
    await until(lambda: told)
    assert told == [kept(1)]
    assert gated.ids() == [1]


async def test_reads_and_commits_are_done_in_one_order(gated, writer, nursery):
    """A read sees what was submitted before it and nothing after, and is told in between."""
    heard: list[Any] = []
    await hold(gated, writer, nursery)
    for number in range(5):
        nursery.start_soon(writer.commit, [new(number)], heard.append)
        await trio.testing.wait_all_tasks_blocked()
        writer.fetch(lambda store: store.ids(), heard.append, Breakage())
    gated.gate.set()
    await until(lambda: len(heard) == 10)
    assert heard == [part for number in range(5) for part in (kept(number + 1), list(range(number + 1)))]


async def test_a_read_that_fails_tells_its_error(gated, writer):
    """And the thread goes on."""
    heard: list[Any] = []

    def read(store):
        raise StoreError("no such table")

    writer.fetch(read, heard.append, Breakage())
    await until(lambda: heard)
    assert str(heard[0]) == "no such table"
    await writer.commit([new(1)], heard.append)
    assert heard[1:] == [kept(1)]


async def test_a_full_disk_refuses_what_comes_in(gated, writer):
    """The caller hears of it, nothing is told, nothing is tried again behind its back."""
    told: list[Any] = []
    gated.full = True
    for operation in (new(1), Filter(BOT, 1, 1.0)):
        with pytest.raises(StoreError, match="disk is full"):
            await writer.commit([operation], told.append)
    gated.full = False
    await writer.commit([new(2)], told.append)
    assert told == [kept(1)]
    assert gated.ids() == [2]


async def test_a_full_disk_keeps_acknowledgements(gated, writer):
    """They are tried until they are written, with their writes, and told once, in order."""
    await writer.commit([new(number) for number in range(5)], lambda ids: None)
    told: list[Any] = []
    gated.full = True
    for id_ in range(1, 6):
        end = Finish(id_, BOT, "done", (StoreWrite("p", f"{id_}", b"1"),))
        writer.submit([end], partial(told.append, id_), Breakage())
    tried = gated.tried
    await until(lambda: gated.tried > tried + 3)
    assert told == []
    gated.full = False
    await until(lambda: len(told) == 5)
    assert told == [1, 2, 3, 4, 5]
    assert gated.ids() == []
    assert gated.store.tallies()[BOT].done == 5
    assert [key for key, _ in gated.store.values("p", "", "", 9, 1.0)] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("acknowledgements", [1, 2000])
async def test_a_full_disk_refuses_what_comes_in_however_much_is_kept(gated, writer, acknowledgements):
    """More acknowledgements than one transaction takes must not leave a caller waiting without a word."""
    gated.full = True
    told: list[Any] = []
    for id_ in range(acknowledgements):
        writer.submit([Finish(id_, BOT, "done")], partial(told.append, id_), Breakage())
    with trio.fail_after(5), pytest.raises(StoreError):
        await writer.commit([new(1)], lambda ids: None)
    gated.full = False
    await until(lambda: len(told) == acknowledgements)
    assert told == list(range(acknowledgements))


async def test_whoever_waits_hears_of_a_full_disk(gated, writer):
    """Also who moves dead letters about or puts a value: nobody waits without a word until there is room."""
    gated.full = True
    with trio.fail_after(5), pytest.raises(StoreError, match="disk is full"):
        await writer.commit([Replay(1, BOT), Purge(2, BOT)], lambda results: None)
    with trio.fail_after(5), pytest.raises(StoreError, match="disk is full"):
        await writer.commit([PutValue("p", "k", b"1", None, ANY, 1.0)], lambda results: None)


async def test_reads_keep_their_place_while_the_disk_is_full(gated, writer):
    """An acknowledgement that is kept does not swallow the read behind it."""
    gated.full = True
    heard: list[Any] = []
    writer.submit([Finish(1, BOT, "done")], lambda: heard.append("acknowledged"), Breakage())
    writer.fetch(lambda store: store.ids(), heard.append, Breakage())
    tried = gated.tried
    await until(lambda: gated.tried > tried + 3)
    gated.full = False
    await until(lambda: len(heard) == 2)
    assert heard == ["acknowledged", []]


async def test_closing_writes_everything_first(gated):
    """What was submitted before is committed and told when serve returns."""
    told: list[Any] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            writer = Writer(gated)
            await nursery.start(writer.serve)
            await hold(gated, writer, nursery)
            for number in range(1500):
                writer.submit([new(number)], partial(told.append, number), Breakage())
            writer.close()
            writer.close()
            gated.gate.set()
    assert told == list(range(1500))
    assert len(gated.ids()) == 1500


async def test_cancelling_does_not_shorten_writing(gated):
    """Serve returns after the last commit, not before."""
    told: list[Any] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            writer = Writer(gated)
            await nursery.start(writer.serve)
            await hold(gated, writer, nursery)
            writer.submit([new(1)], lambda: told.append(1), Breakage())
            nursery.cancel_scope.cancel()
            writer.close()
            gated.gate.set()
    assert told == [1]


async def test_closing_waits_for_no_full_disk(gated):
    """Acknowledgements that cannot be written are given up: their updates are handled again."""
    told: list[Any] = []
    gated.full = True
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            writer = Writer(gated)
            await nursery.start(writer.serve)
            for id_ in range(2000):
                writer.submit([Finish(id_, BOT, "done")], partial(told.append, id_), Breakage())
            await until(lambda: gated.tried)
            writer.close()
    assert told == []


async def test_a_closed_writer_refuses(gated, writer):
    """Instead of letting the caller wait for ever."""
    writer.close()
    with trio.fail_after(5), pytest.raises(StoreError, match="the inbox is closed"):
        await writer.commit([new(1)], lambda ids: None)
    assert gated.ids() == []


async def test_a_bug_in_the_store_is_not_swallowed(gated):
    """What is no StoreError ends the thread, loudly; nobody is left waiting."""

    def commit(operations):
        raise ZeroDivisionError

    gated.commit = commit
    with trio.fail_after(10), pytest.RaisesGroup(ZeroDivisionError):
        async with trio.open_nursery() as nursery:
            writer = Writer(gated)
            await nursery.start(writer.serve)
            await writer.commit([new(1)], lambda ids: None)


async def test_a_failing_store_is_told_once_and_its_recovery_too(gated, nursery):
    """Whoever watches the log hears why nothing is accepted, and when it is again."""
    told: list[str | None] = []
    writer = Writer(gated, lambda error: told.append(None if error is None else str(error)))
    await nursery.start(writer.serve)
    gated.full = True
    for number in range(3):
        with pytest.raises(StoreError):
            await writer.commit([new(number)], lambda ids: None)
    gated.full = False
    for number in range(3):
        await writer.commit([new(number)], lambda ids: None)
    writer.close()
    await until(lambda: len(told) == 2)
    assert told == ["database or disk is full", None]


async def test_what_breaks_in_a_callback_skips_none_of_those_behind_it(gated, writer, nursery):
    """It is noted for whom it serves; of whoever awaits it, it is raised there."""
    fault, heard = Breakage(), []

    def breaks(*_):
        raise ZeroDivisionError

    await hold(gated, writer, nursery)
    writer.submit([new(1)], breaks, fault)
    writer.submit([new(2)], lambda: heard.append(2), Breakage())

    async def awaits():
        with pytest.raises(ZeroDivisionError):
            await writer.commit([new(3)], breaks)
        heard.append(3)

    nursery.start_soon(awaits)
    await trio.testing.wait_all_tasks_blocked()
    gated.gate.set()
    with trio.fail_after(10), pytest.raises(ZeroDivisionError):
        await fault.wait_raise()
    await until(lambda: heard == [2, 3])


async def test_what_breaks_while_trouble_is_reported_is_raised_by_the_writer(gated):
    """It serves no bot in particular: whoever runs the inbox hears of it."""

    def breaks(error):
        raise ZeroDivisionError

    gated.full = True
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            writer = Writer(gated, breaks)
            await nursery.start(writer.serve)
            with pytest.raises(StoreError):
                await writer.commit([new(1)], lambda ids: None)
            with pytest.raises(ZeroDivisionError):
                await writer.wait_broken()
            writer.close()
