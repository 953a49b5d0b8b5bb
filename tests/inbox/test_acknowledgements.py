"""Acknowledgements that gather: one submission for many, in order, told once, whatever the disk does."""

from __future__ import annotations

import random
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trioworkers.breakage import Breakage
from trioworkers.inbox import submissions
from trioworkers.inbox.acknowledgements import Acknowledgements
from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import Accept, Finish, StoreError
from trioworkers.inbox.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

BOT = 7_000_000_001


class Watched:
    """A real store that notes its commits, which may be made to wait or to fail."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.commits: list[list[Any]] = []
        self.full = False
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def commit(self, operations: Sequence[Any]) -> Any:
        self.entered.set()
        assert self.gate.wait(10)
        if self.full:
            raise StoreError("database or disk is full")
        self.commits.append(list(operations))
        return self.store.commit(operations)

    def waiting(self) -> list[int]:
        return [one.update_id for one in self.store.waiting(BOT, Fetch(after=0, limit=10_000)).updates]


@pytest.fixture
def store(tmp_path):
    found = open_sqlite(tmp_path / "inbox.db")
    yield Watched(found)
    found.close()


@pytest.fixture
async def writer(store, nursery):
    writer = Writer(store)
    await nursery.start(writer.serve)
    yield writer
    store.gate.set()
    writer.close()


async def accepted(writer: Writer, count: int) -> None:
    updates = [Accept(BOT, number, "", b"{}", 1.0) for number in range(1, count + 1)]
    await writer.commit(updates, lambda _: None)


async def until(condition: Any) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the other side is a thread
            await trio.sleep(0.001)


async def hold(store: Watched, writer: Writer, nursery: trio.Nursery) -> None:
    """Let the thread stand in a commit."""
    store.entered.clear()
    store.gate.clear()
    nursery.start_soon(writer.commit, [], lambda _: None)
    await until(store.entered.is_set)


async def test_many_are_one_commit_and_are_told_together(store, writer, nursery):
    """In the order in which they were added."""
    await accepted(writer, 300)
    told: list[Sequence[int]] = []
    gathered: Acknowledgements[int] = Acknowledgements(writer, told.append, Breakage())
    await hold(store, writer, nursery)
    before = len(store.commits)
    for number in range(1, 301):
        gathered.add((Finish(number, BOT, "done"),), number, soon=True)
    store.gate.set()
    await until(lambda: told)
    assert told == [list(range(1, 301))]
    assert [len(commit) for commit in store.commits[before:]] == [0, 300]
    assert store.waiting() == []


async def test_those_of_one_that_is_added_have_all_its_operations(store, writer):
    await accepted(writer, 3)
    told: list[Sequence[str]] = []
    gathered: Acknowledgements[str] = Acknowledgements(writer, told.append, Breakage())
    gathered.add([Finish(1, BOT, "done"), Finish(3, BOT, "done")], "both", soon=True)
    await until(lambda: told)
    assert told == [["both"]]
    assert store.waiting() == [2]


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_left_behind_whenever_it_comes(store, writer, seed):
    """Also what is added while the thread takes what is there: nothing more follows that would take it."""
    rng = random.Random(seed)
    count = 1500
    await accepted(writer, count)
    told: list[int] = []
    gathered: Acknowledgements[int] = Acknowledgements(writer, told.extend, Breakage())
    for number in range(1, count + 1):
        gathered.add((Finish(number, BOT, "done"),), number, soon=rng.random() < 0.5)
        if rng.random() < 0.2:
            await trio.sleep(rng.choice([0, 0, 0.0005]))
    await until(lambda: len(told) == count)
    assert told == list(range(1, count + 1))
    assert store.waiting() == []


async def test_a_full_disk_keeps_them_and_those_that_come_meanwhile(store, writer):
    """They are tried until they are written, and told once, in order."""
    await accepted(writer, 20)
    told: list[int] = []
    gathered: Acknowledgements[int] = Acknowledgements(writer, told.extend, Breakage())
    store.full = True
    for number in range(1, 11):
        gathered.add((Finish(number, BOT, "done"),), number, soon=True)
    await trio.sleep(0.05)
    for number in range(11, 21):
        gathered.add((Finish(number, BOT, "done"),), number, soon=True)
    await trio.sleep(0.05)
    assert told == []
    store.full = False
    await until(lambda: len(told) == 20)
    assert told == list(range(1, 21))
    assert store.waiting() == []


class Submissions:
    """A writer that notes how often it was told that something has gathered."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit_gathered(self, gathered: Any, *, soon: bool) -> None:
        self.submitted += 1

    def hurry(self) -> None: ...


class FoundEmpty(deque[Any]):
    """Calls a function when it is found empty for the first time."""

    then: Any = None

    def __bool__(self) -> bool:
        if not len(self) and self.then is not None:
            then, self.then = self.then, None
            then()
            return False  # as it was found
        return len(self) > 0


def test_what_comes_as_the_thread_has_taken_the_last_is_submitted_anew():
    """Between its last look and its next turn there is no moment in which something is forgotten."""
    writer = Submissions()
    gathered: Acknowledgements[int] = Acknowledgements(writer, lambda _: None, Breakage())
    gathered._gathered = queue = FoundEmpty()
    gathered.add((), 1, soon=True)
    queue.then = lambda: gathered.add((), 2, soon=True)
    assert [note for _, note in gathered.take()] == [1]
    assert writer.submitted == 2
    assert [note for _, note in gathered.take()] == [2]


async def test_what_something_waits_for_takes_along_what_gathers(store, writer, monkeypatch):
    """The first of a submission may gather, a later one may not."""
    monkeypatch.setattr(submissions, "GATHERING", 3600.0)
    await accepted(writer, 2)
    told: list[int] = []
    gathered: Acknowledgements[int] = Acknowledgements(writer, told.extend, Breakage())
    gathered.add((Finish(1, BOT, "done"),), 1, soon=False)
    gathered.add((Finish(2, BOT, "done"),), 2, soon=True)
    await until(lambda: len(told) == 2)
    assert store.commits[-1] == [Finish(1, BOT, "done"), Finish(2, BOT, "done")]


async def test_what_breaks_in_the_callback_is_the_owners_fault(store, writer):
    """And other bots' acknowledgements are told all the same."""
    await accepted(writer, 2)
    fault = Breakage()
    told: list[int] = []

    def breaks(_: Sequence[int]) -> None:
        raise ValueError("broken")

    Acknowledgements(writer, breaks, fault).add((Finish(1, BOT, "done"),), 1, soon=True)
    other: Acknowledgements[int] = Acknowledgements(writer, told.extend, Breakage())
    other.add((Finish(2, BOT, "done"),), 2, soon=True)
    await until(lambda: told)
    with pytest.raises(ValueError, match="broken"), trio.fail_after(5):
        await fault.wait_raise()


async def test_a_stop_writes_what_has_gathered(tmp_path):
    """Whatever it waited for."""
    with trio.fail_after(10):
        found = open_sqlite(tmp_path / "inbox.db")
        store = Watched(found)
        async with trio.open_nursery() as nursery:
            writer = Writer(store)  # type: ignore[arg-type]
            await nursery.start(writer.serve)
            await accepted(writer, 1)
            gathered: Acknowledgements[int] = Acknowledgements(writer, lambda _: None, Breakage())
            gathered.add((Finish(1, BOT, "done"),), 1, soon=False)
            writer.close()
        assert store.waiting() == []
        found.close()
