"""A node on the loop: what the fleet is told when the lease gains, loses, runs out or ends."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

import pytest
import trio

from trioworkers.botapi.errors import TransportError
from trioworkers.cluster.member import EVICTED, PORTION, Member, Pulse
from trioworkers.inbox.postgres.errors import FENCED
from trioworkers.inbox.postgres.lease_change import FAILED_OVER, Change
from trioworkers.inbox.store import StoreFencedError, StoreUnreachableError
from trioworkers.inbox.tally import Tally
from trioworkers.lease_page import boottime
from trioworkers.nursery.ownership import Terms, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

TERMS = Terms(3.0)


class PlayedLease:
    """A lease that does what a test says; what is done to it is noted."""

    def __init__(self, scene: Scene) -> None:
        self.name, self.terms, self.life, self.view = "a", TERMS, uuid4(), View((), {})
        self.deadline = boottime() + 60
        self.owned: dict[int, int] = {1: 1, 2: 1}
        self.giving: set[int] = set()
        self.changes: deque[Change] = deque()
        self.rest = Change()
        self._scene, self._bell = scene, threading.Event()

    @property
    def kept(self) -> dict[int, int]:
        return {bot: epoch for bot, epoch in self.owned.items() if bot not in self.giving}

    def may_work(self) -> bool:
        return boottime() < self.deadline

    def step(self) -> Change:
        return self.changes.popleft() if self.changes else self.rest

    def wait(self, seconds: float) -> None:
        self._bell.wait(seconds)
        self._bell.clear()

    def ring(self) -> None:
        self._bell.set()

    def tell(self, **change: Any) -> None:
        self.changes.append(Change(**change))
        self.ring()

    def release(self, bots: Collection[int]) -> None:
        self._scene.done.append(("release", *bots))

    def leave(self) -> None:
        self._scene.done.append(("leave",))

    def end(self, life: UUID) -> None:
        self._scene.done.append(("end",) if life == self.life else ("end", "another"))

    def close(self) -> None:
        self._scene.done.append(("close",))

    def begin_after(self, life: UUID) -> None:
        assert life == self.life
        self.life = uuid4()
        self._scene.done.append(("begin",))


def fenced(life: UUID) -> StoreFencedError:
    """What a writer hears in the name of a life that has ended."""
    error = StoreFencedError(FENCED)
    error.life = life
    return error


class Scene:
    """The fleet and the inbox of a member, both played; `done`: what happened, in order."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.lease = PlayedLease(self)
        self.busy: dict[int, trio.Event] = {}  # bots that are not gone before their event
        self.unwritten: list[Exception] = []  # how the writer answers, before it has written all
        self.waiting: set[int] = set()  # bots of which an update waits
        self.fenced: Callable[[StoreFencedError], None] = lambda _: None
        self.told: list[tuple[str, Any]] = []
        self.reasons: list[str | None] = []
        names = {1: "one", 2: "two", 3: "three"}

        def emit(event: str, bot: str | None = None, **fields: Any) -> None:
            self.told.append((event, bot or fields.get("node")))
            self.reasons.append(fields.get("reason"))

        lease, page = cast("Any", self.lease), cast("Any", None)
        self.member = Member(lease, Pulse(1.0), page, emit, lambda: names)

    # the fleet

    def take(self, bots: Collection[int]) -> None:
        self.done.append(("take", *sorted(bots)))

    def give_back(self, bots: Collection[int]) -> None:
        self.done.append(("give back", *sorted(bots)))

    def cut(self, bots: Collection[int] | None = None) -> None:
        self.done.append(("cut", *sorted(bots or ())))

    async def wait_gone(self, bots: Collection[int] | None = None) -> None:
        for bot, event in self.busy.items():
            if bots is None or bot in bots:
                await event.wait()

    # the inbox

    def tally(self, bot: int) -> Tally:
        return Tally(pending=int(bot in self.waiting))

    def outlive_fence(self, then: Callable[[StoreFencedError], None]) -> None:
        self.fenced = then

    async def recount(self, bots: Collection[int]) -> None:
        self.done.append(("recount", *sorted(bots)))
        await trio.lowlevel.checkpoint()

    async def answers(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.unwritten:
            raise self.unwritten.pop(0)
        self.done.append(("written",))

    async def until(self, *done: Any) -> None:
        with trio.fail_after(5):
            while done not in self.done:  # noqa: ASYNC110 - the other side is a thread
                await trio.sleep(0.01)


@pytest.fixture
async def scene(nursery: trio.Nursery) -> AsyncIterator[Scene]:
    """A node that owns the bots 1 and 2, which the fleet runs."""
    async with _served(Scene()) as scene:
        yield scene


@asynccontextmanager
async def _served(scene: Scene) -> AsyncIterator[Scene]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.member.tick)
        nursery.start_soon(scene.member.thread.serve)
        try:
            await nursery.start(scene.member.serve, scene, scene)
            assert scene.done == [("recount", 1, 2), ("take", 1, 2)]
            scene.done.clear()
            yield scene
        finally:
            scene.member.thread.end()
            nursery.cancel_scope.cancel()


async def test_a_bot_is_counted_anew_before_it_runs(scene: Scene) -> None:
    """Another node had it meanwhile."""
    scene.lease.tell(gained={3: 7})
    await scene.until("take", 3)
    assert scene.done == [("recount", 3), ("take", 3)]
    assert (scene.member.epoch(3), scene.member.running) == (7, 3)
    assert ("lease.acquired", "three") in scene.told


async def test_many_bots_begin_portion_by_portion_and_those_first_whose_updates_wait(scene: Scene) -> None:
    """So the bots that run already have their turns meanwhile."""
    bots = range(10, 10 + 2 * PORTION + 1)
    scene.waiting = {bots[-1]}
    scene.lease.tell(gained=dict.fromkeys(bots, 1))
    await scene.until("take", bots[-2])
    takes = [what[1:] for what in scene.done if what[0] == "take"]
    assert takes == [
        (*bots[: PORTION - 1], bots[-1]),
        (*bots[PORTION - 1 : 2 * PORTION - 1],),
        (bots[-2],),
    ]


async def test_a_bot_is_released_when_it_is_drained_and_written(scene: Scene) -> None:
    """Not before its run has ended, and not while the server is away."""
    scene.busy[1] = trio.Event()
    scene.unwritten = [StoreUnreachableError("away")]
    scene.lease.tell(give_back=(1,))
    await scene.until("give back", 1)
    await trio.sleep(0.1)
    assert scene.done == [("give back", 1)]
    scene.busy[1].set()
    await scene.until("release", 1)
    assert scene.done == [("give back", 1), ("written",), ("release", 1)]
    assert scene.member.epoch(1) is None


async def test_what_is_lost_stops_at_once(scene: Scene) -> None:
    """It is released to nobody."""
    scene.lease.tell(lost=(2,))
    await scene.until("cut", 2)
    await trio.sleep(0.1)
    assert scene.done == [("cut", 2)]
    assert ("lease.lost", "two") in scene.told


async def test_a_lease_that_runs_out_silences_all_until_it_is_renewed(scene: Scene) -> None:
    """What is being given back does not begin again. Meanwhile calls are refused."""
    scene.lease.deadline = boottime() + 0.1
    await scene.until("cut")
    assert boottime() - scene.lease.deadline < 0.2
    assert scene.member.running == 0
    with pytest.raises(TransportError):
        await scene.member.gate()
    scene.lease.tell(gained={3: 1})  # it cannot be run now; the look after the renewal has it
    scene.lease.owned[3] = 1
    scene.lease.giving = {2}
    await trio.sleep(0.3)
    assert scene.done == [("cut",)]
    scene.lease.deadline = boottime() + 60
    await scene.until("take", 1, 3)
    await scene.member.gate()


async def test_after_a_freeze_all_stops_before_any_task_runs() -> None:
    """Long before the loop's own look is due: what was frozen would else go on first."""
    scene = Scene()
    scene.lease.terms = Terms(600.0)
    async with _served(scene):
        scene.lease.deadline = boottime() + 0.05
        time.sleep(0.1)  # noqa: ASYNC251 - the whole process stands still
        await trio.lowlevel.checkpoint()
        assert scene.done == [("cut",)]


@pytest.mark.parametrize("by", ["lease", "writer"])
async def test_another_life_begins_when_nothing_of_the_former_is_left(scene: Scene, by: str) -> None:
    """Neither a run, nor anything to be written; then all is as the new life has it."""
    scene.busy[1] = trio.Event()
    scene.unwritten = [StoreUnreachableError("away"), StoreFencedError("taken over")]
    life = scene.lease.life
    if by == "writer":
        scene.fenced(fenced(life))
        assert scene.done == [("end",), ("cut",)]
        scene.done.clear()
    scene.lease.tell(is_over=True, life=life)
    scene.lease.tell(is_over=True, life=life)
    await trio.sleep(0.3)
    assert scene.done == ([("cut",)] if by == "lease" else [])
    scene.lease.owned.clear()
    scene.lease.tell(is_over=True, life=life)
    scene.busy[1].set()
    await scene.until("begin")
    scene.lease.tell(is_over=True, life=life)  # late: it is the former one's
    scene.lease.tell(gained={1: 5})
    await scene.until("take", 1)
    assert [one for one in scene.done if one != ("cut",)] == [("begin",), ("recount", 1), ("take", 1)]
    assert scene.told.count(("node.evicted", "a")) == 1
    assert scene.lease.life != life


async def test_a_refusal_of_a_former_life_does_not_end_the_next(scene: Scene) -> None:
    """As of a delivery that was under way when that life had ended and the next one began."""
    former = scene.lease.life
    scene.lease.tell(is_over=True, life=former)
    await scene.until("begin")
    await trio.sleep(0.1)
    scene.done.clear()
    scene.fenced(fenced(former))
    assert scene.done == [("end", "another")]
    scene.lease.tell(gained={1: 5})
    await scene.until("take", 1)


@pytest.mark.parametrize(("is_failover", "reason"), [(True, FAILED_OVER), (False, EVICTED)])
async def test_a_failover_is_not_told_as_an_eviction(scene: Scene, is_failover: bool, reason: str) -> None:
    """The bots are lost, and the life ends, for the reason that there was."""
    scene.lease.tell(is_over=True, life=scene.lease.life, is_failover=is_failover)
    await scene.until("begin")
    ends = {event: why for (event, _), why in zip(scene.told, scene.reasons, strict=True)}
    assert (ends["lease.lost"], ends["node.evicted"]) == (reason, reason)


async def test_a_release_of_a_former_life_is_none_of_the_next(scene: Scene) -> None:
    """The bot may be this node's again by then."""
    scene.busy[1] = trio.Event()
    scene.lease.tell(give_back=(1,))
    await scene.until("give back", 1)
    scene.lease.tell(is_over=True, life=scene.lease.life)
    await scene.until("cut")
    scene.busy[1].set()
    await scene.until("begin")
    await trio.sleep(0.1)
    assert ("release", 1) not in scene.done


async def test_leaving_waits_for_the_bots_and_not_for_a_server_that_is_away(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is taken meanwhile."""
    monkeypatch.setattr("trioworkers.cluster.member.PATIENCE", 0.2)
    with trio.move_on_after(0.3) as limit:
        await scene.member.leave()
    assert limit.cancelled_caught
    scene.lease.tell(gained={3: 1})
    scene.lease.rest = Change(trouble=StoreUnreachableError("away"))
    with trio.fail_after(5):
        await scene.member.leave()
    assert not [one for one in scene.done if one[0] == "take"]
    scene.lease.owned.clear()
    await scene.member.leave()


async def test_what_breaks_in_a_callback_ends_the_daemon_and_not_trio() -> None:
    """It is raised where the member is served."""
    scene = Scene()

    def broken(bots: Collection[int] | None = None) -> None:
        raise ZeroDivisionError

    async def lose() -> None:
        async with _served(scene):
            scene.cut = broken  # type: ignore[method-assign]
            scene.lease.tell(lost=(1,))
            await trio.sleep(5)

    with pytest.raises(BaseExceptionGroup) as raised:
        await lose()
    assert raised.group_contains(ZeroDivisionError)


async def test_words_of_strangers_are_left_out(scene: Scene) -> None:
    """Whoever may use the database may notify; a message that may have been lost is told as nothing."""
    heard: list[str] = []
    scene.member.nodes.listen("topic", heard.append)
    told = ("x", "no json"), ("x", "[1, 2]"), ("x", '["other", "a"]'), ("x", '["topic", "b"]'), ("x", "")
    scene.lease.tell(told=told)
    with trio.fail_after(5):
        while heard != ["b", ""]:  # noqa: ASYNC110 - the other side is a thread
            await trio.sleep(0.01)
