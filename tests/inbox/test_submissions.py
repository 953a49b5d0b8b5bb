"""What reaches the thread that writes, and what an update's commit leaves for the next one."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from trioworkers.breakage import Breakage
from trioworkers.inbox.acknowledgements import Acknowledgements
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.jobs import Job
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.store import ANY, Accept, Finish, PutValue, StoreFencedError, StoreWrite
from trioworkers.inbox.submissions import FEW, GATHERING, Rest, Submissions
from trioworkers.records import Arrival

if TYPE_CHECKING:
    from trioworkers.records import Waiting

BOT = 7_000_000_001


class Unheard:
    """Who would be told that something gathers: the test submits it itself."""

    def submit_gathered(self, gathered: Any, *, soon: bool) -> None: ...
    def hurry(self) -> None: ...


class Scene:
    """Submissions and, when :meth:`rest` says so, the thread that waits for them."""

    def __init__(self) -> None:
        self.submissions = Submissions()
        self._ended = 0

    def accept(self, writes: tuple[StoreWrite, ...] = ()) -> Job:
        operation = Accept(BOT, 1, "", b"{}", 1.0, writes=writes)
        return self._put(Job((operation,), None, _nothing, Breakage()))

    def put(self) -> Job:
        operations = (Accept(BOT, 1, "", b"{}", 1.0), PutValue("plugin", "key", b"1", None, ANY, 1.0))
        return self._put(Job(operations, None, _nothing, Breakage()))

    def read(self) -> Job:
        return self._put(Job((), lambda store: None, _nothing, Breakage()))

    def ends(self, count: int = 1, *, awaited: bool = False) -> Job:
        gathered: Acknowledgements[int] = Acknowledgements(Unheard(), _nothing, Breakage())
        for _ in range(count):
            self._ended += 1
            gathered.add((Finish(self._ended, BOT, "done"),), self._ended, soon=False)
        return self._put(Job((), None, _nothing, Breakage(), gathered), awaited=awaited)

    def _put(self, job: Job, *, awaited: bool = True) -> Job:
        self.submissions.put(job, awaited=awaited)
        return job

    def take(self) -> list[Job]:
        """Wait and gather, as the thread does."""
        waiting: deque[Job] = deque()
        self.submissions.wait()
        self.submissions.gather(waiting)
        self.submissions.committed_at = time.monotonic()
        return [*waiting]

    def rest(self) -> Taking:
        """A thread that rests after a commit, and takes once what comes."""
        return Taking(self)


class Taking:
    def __init__(self, scene: Scene) -> None:
        self._taken: list[Job] = []
        far = time.monotonic() + 3600  # the test may be held up for longer than anything gathers
        scene.submissions.committed_at = scene.submissions._left_until = far
        self._thread = threading.Thread(target=lambda: self._taken.extend(scene.take()), daemon=True)
        self._thread.start()
        while scene.submissions._rest is Rest.AT_WORK:
            time.sleep(0.0005)

    def taken(self) -> list[Job]:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self._taken


def _nothing(_: object) -> None: ...


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_updates_leave_a_few_acknowledgements_behind(scene):
    """They are on disk sooner; what is left follows within its time, by itself."""
    resting = scene.rest()
    ends = scene.ends()
    update = scene.accept()
    assert resting.taken() == [update]
    assert scene.take() == [ends]


def test_one_update_after_the_other_leaves_them_no_longer_than_their_time(scene):
    """Then the next commit takes them along, before its update."""
    resting = scene.rest()
    ends = scene.ends()
    update = scene.accept()
    assert resting.taken() == [update]
    time.sleep(GATHERING)
    update = scene.accept()
    assert scene.take() == [ends, update]


def test_many_acknowledgements_are_taken_along(scene):
    """A commit of their own would cost more than it spares."""
    resting = scene.rest()
    ends = scene.ends(FEW + 1)
    update = scene.accept()
    assert resting.taken() == [ends, update]


def test_few_that_were_left_and_many_that_came_are_taken_together(scene):
    """In their order."""
    resting = scene.rest()
    first = scene.ends()
    update = scene.accept()
    assert resting.taken() == [update]
    resting = scene.rest()
    second = scene.ends(FEW)
    update = scene.accept()
    assert resting.taken() == [first, second, update]


def test_an_end_that_is_waited_for_is_not_left(scene):
    """Though the thread has not woken for it when an update comes."""
    ends = scene.ends(awaited=True)
    update = scene.accept()
    scene.submissions._rested = True
    waiting: deque[Job] = deque()
    scene.submissions.gather(waiting)
    assert [*waiting] == [ends, update]


def test_values_of_plugins_replace_each_other_in_the_order_in_which_they_come(scene):
    """An end that writes one is not left by an update that writes one, too."""
    resting = scene.rest()
    ends = scene.ends()
    update = scene.accept(writes=(StoreWrite("plugin", "key", b"1"),))
    assert resting.taken() == [ends, update]


@pytest.mark.parametrize("kind", ["read", "put"])
def test_what_may_ask_for_an_end_finds_it(scene, kind):
    """A read, and whatever does more than bring updates, has all before it that was submitted before it."""
    resting = scene.rest()
    ends = scene.ends()
    other = getattr(scene, kind)()
    update = scene.accept()
    assert resting.taken() in ([ends, other], [ends, other, update])


def test_what_is_in_a_hurry_is_not_left(scene):
    """Somebody waits for one of them."""
    resting = scene.rest()
    ends = scene.ends()
    update = scene.accept()
    assert resting.taken() == [update]
    scene.submissions.hurry()
    update = scene.accept()
    assert scene.take() == [ends, update]


def test_a_thread_at_work_takes_everything(scene):
    """It did not rest: nobody gains by another commit."""
    scene.accept()
    scene.take()
    ends = scene.ends()
    update = scene.accept()
    assert scene.take() == [ends, update]


@pytest.mark.parametrize("beside", [False, True])
def test_the_end_takes_what_was_left(scene, beside):
    """Nothing is forgotten at a stop, also when it comes in the moment in which an update does."""
    resting = scene.rest()
    ends = scene.ends()
    update = scene.accept()
    assert resting.taken() == [update]
    scene.submissions._rested = True
    last = [scene.accept()] if beside else []
    scene.submissions.put(None)
    waiting: deque[Job] = deque()
    assert not scene.submissions.gather(waiting)
    assert [*waiting] == [ends, *last]


async def test_the_next_message_of_a_chat_waits_for_no_end_that_was_left():
    """The end of the one before it is committed with it."""
    given: list[Waiting] = []
    async with open_inbox(MemoryStore()) as inbox:
        backlog = inbox.claim(BOT, Breakage())

        def take() -> None:
            while (update := backlog.ordinary.take()) is not None:
                given.append(update)

        with backlog.ordinary.taken_by(take):
            await inbox.accept(BOT, [Arrival(1, "message", "chat", 1, 1, b"{}")])
            for number in range(2, 40):
                backlog.finish(given[-1], "done")
                await trio.sleep(0.001)
                await inbox.accept(BOT, [Arrival(number, "message", "chat", 1, 1, b"{}")])
                await trio.testing.wait_all_tasks_blocked()
                assert len(given) == number


async def test_what_was_left_is_dropped_with_all_else_when_the_writer_is_fenced():
    """Nothing of this daemon may be written any more."""
    store = Fenced()
    fenced: list[bool] = []
    async with open_inbox(store) as inbox:
        inbox.outlive_fence(lambda _: fenced.append(True))
        backlog = inbox.claim(BOT, Breakage())
        await inbox.accept(BOT, [Arrival(1, "message", "a", 1, 1, b"{}")])
        update = backlog.ordinary.take()
        assert update is not None
        backlog.finish(update, "done")
        store.is_fenced = True
        with pytest.raises(StoreFencedError):
            await inbox.accept(BOT, [Arrival(2, "message", "b", 1, 1, b"{}")])
        store.is_fenced = False  # a new lease
        await inbox.answers()
        assert fenced == [True]
    assert not any(isinstance(operation, Finish) for operation in store.committed)


class Fenced(MemoryStore):
    """Another daemon has taken over, while it says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_fenced = False
        self.committed: list[Any] = []

    def commit(self, operations: Any) -> Any:
        if self.is_fenced:
            message = "fenced"
            raise StoreFencedError(message)
        self.committed += operations
        return super().commit(operations)
