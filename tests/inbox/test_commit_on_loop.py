"""A lone update is committed by the loop itself where the disk is quick, and as the thread would do it."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trioworkers.breakage import Breakage
from trioworkers.inbox.acknowledgements import Acknowledgements
from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.quickness import ALONE, IN_A_ROW, ON_LOOP, OPERATIONS, QUICK
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import Accept, Finish, Kept, StoreError, StoreRejectedError
from trioworkers.inbox.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

BOT = 7_000_000_001
THREAD, LOOP = "thread", "loop"


class Noted:
    """A real store that notes who commits what, and takes as long, or fails, as it is told to."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.by: list[str] = []
        self.commits: list[list[Any]] = []
        self.fails: Exception | None = None
        self.takes = 0.0
        self._loop = threading.get_ident()

    def commit(self, operations: Sequence[Any]) -> Any:
        return self._note(operations, self.store.commit)

    def try_commit(self, operations: Sequence[Any]) -> Any:
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error
        return self._note(operations, self.store.try_commit)

    def _note(self, operations: Sequence[Any], commit: Callable[[Sequence[Any]], Any]) -> Any:
        results = commit(operations)
        self.by.append(LOOP if threading.get_ident() == self._loop else THREAD)
        self.commits.append([*operations])
        until = time.perf_counter() + self.takes
        while time.perf_counter() < until:
            pass
        return results

    def waiting(self) -> list[int]:
        return [one.update_id for one in self.store.waiting(BOT, Fetch(after=0, limit=10_000)).updates]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Noted]:
    (tmp_path / "state").mkdir()
    found = open_sqlite(tmp_path / "state" / "inbox.db", durability="normal")  # quick on any disk
    yield Noted(found)
    found.close()


@pytest.fixture
async def writer(store, nursery):
    writer = Writer(store)
    await nursery.start(writer.serve)
    yield writer
    writer.close()


class Arrivals:
    """Updates that come alone."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.last = 0

    async def __call__(self, then: Callable[[Sequence[Any]], None] = lambda _: None) -> int:
        await trio.sleep(1.2 * ALONE)
        self.last += 1
        await self.writer.commit([Accept(BOT, self.last, "", b"{}", 1.0)], then)
        return self.last


@pytest.fixture
async def arrive(writer, store):
    """Updates that come alone, after as many as it takes until the loop commits."""
    arrive = Arrivals(writer)
    with trio.fail_after(30):
        while LOOP not in store.by:
            await arrive()
    return arrive


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the other side is a thread
            await trio.sleep(0.001)


async def loop_commits(store: Noted, arrive: Arrivals, then: Callable[..., None] = lambda _: None) -> int:
    """Let updates arrive until the loop has committed one; on a busy machine the thread may take some."""
    with trio.fail_after(30):
        while True:
            update = await arrive(then)
            if store.by[-1] == LOOP:
                return update


async def test_the_thread_commits_first_and_then_the_loop(writer, store, arrive):
    assert store.by[:IN_A_ROW] == [THREAD] * IN_A_ROW
    await loop_commits(store, arrive)
    assert store.waiting() == list(range(1, arrive.last + 1))


async def test_the_thread_has_its_turn(store, arrive):
    with trio.fail_after(60):
        for _ in range(ON_LOOP + 1):
            await arrive()
    longest = max(len(run) for run in "".join(one[0] for one in store.by).split("t"))
    assert longest <= ON_LOOP
    assert THREAD in store.by[store.by.index(LOOP) :]


async def test_what_gathered_goes_along_and_is_told_first(writer, store, arrive):
    told: list[Any] = []
    ended = Acknowledgements[int](writer, told.extend, Breakage())
    first = await loop_commits(store, arrive)
    ended.add(
        [Finish(first, BOT, "done")], first, soon=False
    )  # ids of the store are those of the updates here
    await loop_commits(store, arrive, lambda _: told.append("accepted"))
    await until(lambda: first in told)
    assert told[0] == first, "of one commit, or of one before"
    assert first not in store.waiting()


async def test_a_slow_disk_has_the_thread_again(store, arrive):
    await loop_commits(store, arrive)
    store.takes = 1.5 * QUICK
    before = len(store.by)
    for _ in range(IN_A_ROW):
        await arrive()
    assert store.by[before:].count(LOOP) <= 1


async def test_updates_without_a_pause_between_them_gather_in_the_thread(writer, store, arrive):
    await loop_commits(store, arrive)
    before = len(store.by)

    async def one(number: int) -> None:
        await writer.commit([Accept(BOT, number, "", b"{}", 1.0)], lambda _: None)

    async with trio.open_nursery() as nursery:
        for number in range(10_000, 10_200):
            nursery.start_soon(one, number)
    assert len(store.by) - before < 100
    assert set(range(10_000, 10_200)) <= set(store.waiting())


async def test_a_large_batch_is_the_threads(writer, store, arrive):
    await loop_commits(store, arrive)
    await trio.sleep(2 * ALONE)
    updates = [Accept(BOT, 20_000 + number, "", b"{}", 1.0) for number in range(OPERATIONS + 1)]
    await writer.commit(updates, lambda _: None)
    assert store.by[-1] == THREAD


async def test_another_program_that_writes_holds_up_no_loop(tmp_path, writer, store, arrive):
    await loop_commits(store, arrive)
    other = sqlite3.connect(tmp_path / "state" / "inbox.db", isolation_level=None)
    turns = 0
    try:
        other.execute("BEGIN IMMEDIATE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(arrive)
            while turns < 50:  # the loop turns, though nothing can be committed
                await trio.sleep(0.002)
                turns += 1
            (last,) = other.execute("SELECT max(update_id) FROM inbox").fetchone()
            assert last == arrive.last - 1
            other.execute("COMMIT")
    finally:
        other.close()
    assert store.by[-1] == THREAD
    assert store.waiting()[-1] == arrive.last


@pytest.mark.parametrize("error", [StoreError("no"), RuntimeError("a defect")])
async def test_what_fails_on_the_loop_is_done_by_the_thread(writer, store, arrive, error):
    told: list[Any] = []
    ended = Acknowledgements[int](writer, told.extend, Breakage())
    first = await loop_commits(store, arrive)
    ended.add([Finish(first, BOT, "done")], first, soon=False)
    await trio.sleep(1.2 * ALONE)
    with trio.fail_after(30):  # until it is the loop that tries
        store.fails = error
        while store.fails is not None:
            update = await arrive()
    assert store.by[-1] == THREAD
    assert update in store.waiting()
    await until(lambda: first in told)
    assert told == [first]


async def test_what_cannot_be_stored_is_refused_once(writer, store, arrive):
    await loop_commits(store, arrive)
    await trio.sleep(1.2 * ALONE)
    with pytest.raises(StoreRejectedError):
        await writer.commit([Accept(BOT, 1 << 70, "", b"{}", 1.0)], lambda _: None)
    await loop_commits(store, arrive)
    assert store.waiting() == list(range(1, arrive.last + 1))


async def test_a_folder_that_was_removed_is_put_back_by_the_thread(tmp_path, writer, store, arrive):
    await loop_commits(store, arrive)
    shutil.rmtree(tmp_path / "state")
    before = len(store.by)
    with pytest.raises(StoreError, match="removed"):
        await arrive()
    await arrive()
    assert LOOP not in store.by[before:]
    with sqlite3.connect(tmp_path / "state" / "inbox.db") as other:
        (count,) = other.execute("SELECT count(*) FROM inbox").fetchone()
    other.close()
    assert count == len(store.waiting())
    assert arrive.last in store.waiting()


async def test_files_that_are_removed_while_the_loop_commits_are_put_back(
    tmp_path, writer, store, arrive, monkeypatch
):
    """What it has committed is new, and no duplicate; that it happened is told with the next update."""
    place, loop = store.store._place, threading.get_ident()
    see_again, found = place.see_again, list[Any]()

    def removed() -> None:
        if threading.get_ident() == loop:
            monkeypatch.setattr(place, "see_again", see_again)
            shutil.rmtree(tmp_path / "state")
        see_again()

    monkeypatch.setattr(place, "see_again", removed)
    update = await loop_commits(store, arrive, found.extend)
    assert isinstance(found[-1], Kept)
    assert update in store.waiting()
    for number in range(IN_A_ROW):  # the disk is quick again
        await trio.sleep(1.2 * ALONE)
        await writer.commit([Finish(1_000_000 + number, BOT, "done")], lambda _: None)
    with pytest.raises(StoreError, match="removed"):
        await arrive()


async def test_where_there_is_no_memory_for_it_nothing_that_gathered_is_lost(writer, store, arrive):
    told: list[Any] = []
    ended = Acknowledgements[int](writer, told.extend, Breakage())
    first = await loop_commits(store, arrive)
    take, fails = ended.take, True

    def take_none() -> Any:
        nonlocal fails
        if fails and threading.get_ident() == store._loop:
            fails = False
            raise MemoryError
        return take()

    ended.take = take_none  # type: ignore[method-assign]
    with trio.fail_after(30):
        while fails:
            ended.add([Finish(first, BOT, "done")], first, soon=False)
            await arrive()
    await until(lambda: len(told) == ended.added)
    assert first not in store.waiting()


async def test_a_read_that_was_asked_for_sees_what_came_before_it(writer, store, arrive):
    seen: list[Any] = []
    for _ in range(50):
        before = await loop_commits(store, arrive)
        writer.fetch(lambda found: found.waiting(), seen.append, Breakage())
        await arrive()
        assert seen[-1][: before + 1] in (list(range(1, before + 1)), list(range(1, before + 2)))


async def test_what_breaks_on_the_loop_is_raised_by_the_caller_alone(writer, store, arrive):
    fault = Breakage()

    def breaks(_: object) -> None:
        raise ValueError

    ended = Acknowledgements[int](writer, breaks, fault)
    with pytest.raises(ValueError):  # noqa: PT011 - its own
        await arrive(breaks)
    ended.add([Finish(1, BOT, "done")], 1, soon=False)
    await loop_commits(store, arrive)
    with trio.fail_after(10):
        with pytest.raises(ValueError):  # noqa: PT011 - its own
            await fault.wait_raise()


async def test_the_journal_is_emptied_though_the_loop_commits(tmp_path, writer, store, arrive):
    size = 0
    with trio.fail_after(120):
        for _ in range(12):
            await loop_commits(store, arrive)
            await writer.commit(
                [Accept(BOT, arrive.last + 1_000_000, "", b"x" * 1_000_000, 1.0)], lambda _: None
            )
            size = max(size, (tmp_path / "state" / "inbox.db-wal").stat().st_size)
    assert size < 12_000_000
