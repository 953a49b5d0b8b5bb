"""The order of updates: against a model of everything around it, and the scenes that decided its design.

The model keeps what a real run keeps apart: what was asked of the writer, what it committed, and what the
loop has been told of it. Hypothesis chooses when each of them goes on.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from trioworkers.inbox.queue import LANE, WAITING_WINDOWS, WINDOW, Fetch, Queue
from trioworkers.records import Waiting

FEW, SHORT, AT_ONCE = 4, 2, 3
FAR = 1e9
STEPS = ["accept", "write", "tell", "take", "end", "time", "ask", "crash"]
ENDS = ["finish", "finish", "bury", "retry", "put_back"]


def waiting(id_: int, key: str, **more) -> Waiting:
    return Waiting(id_, 1, id_, key, b"{}", 0.0, **more)


class World:
    """A queue with a store, a writer that works in order, and a loop that is told in order."""

    def __init__(self, window: int = FEW, lane: int = SHORT) -> None:
        self.window, self.lane = window, lane
        self.store: dict[int, Waiting] = {}
        self.lanes: dict[str, list[int]] = {}
        self.last_id = 0
        self.now = 1.0
        self.reads = 0
        self.open()

    def open(self) -> None:
        """Start anew, as after a crash: only the store is left."""
        self.jobs: deque[tuple[Any, ...]] = deque()
        self.news: deque[tuple[Any, ...]] = deque()
        self.hand: dict[int, Waiting] = {}
        self.ending: set[int] = set()
        self.queue = Queue(behind=bool(self.store), window=self.window, lane=self.lane)
        self.ask()

    def ask(self) -> None:
        fetch = self.queue.wanted()
        if fetch is not None:
            self.jobs.append(("read", fetch))

    # -- the writer -----------------------------------------------------------------------------

    def write(self, *, works: bool = True) -> None:
        """Do the first job; one that fails changes nothing, an acknowledgement is then tried again."""
        kind, what, *more = self.jobs[0]
        if not works and kind not in ("read", "accept"):
            return
        self.jobs.popleft()
        if kind == "read":
            self.news.append(("answer", what, self.read(what) if works else None))
        elif works:
            self.commit(kind, what, *more)

    def commit(self, kind: str, what, *more) -> None:
        if kind == "accept":
            self.last_id += 1
            update = waiting(self.last_id, what)
            self.store[update.id] = update
            self.lanes.setdefault(what, []).append(update.id)
            self.news.append(("offer", update))
        elif kind == "retry":
            self.store[what.id] = what
            self.news.append(("retried", what))
        else:
            dead = kind == "bury"
            update = self.store.pop(what)
            lane = self.lanes[update.key]
            lane.remove(what)
            if dead and update.key and lane:
                self.store[lane[0]] = replace(self.store[lane[0]], after_gap=True)
            self.news.append(("ended", what, dead))

    def read(self, fetch: Fetch) -> list[Waiting]:
        self.reads += 1
        ids = list(self.store) if fetch.key is None else self.lanes.get(fetch.key, [])
        until = float("inf") if fetch.until is None else fetch.until
        found = [self.store[id_] for id_ in sorted(ids) if fetch.after < id_ <= until]
        return found[: fetch.limit]

    # -- the loop -------------------------------------------------------------------------------

    def tell(self) -> None:
        """Let the loop hear of the oldest thing that the writer did."""
        kind, *what = self.news.popleft()
        if kind == "offer":
            self.queue.offer(what[0])
            return
        if kind == "answer" and what[1] is None:
            self.queue.not_fetched()
            return
        if kind == "answer":
            self.queue.fetched(*what)
        elif kind == "ended":
            del self.hand[what[0]]
            self.ending.discard(what[0])
            self.queue.finish(what[0], dead=what[1])
        else:
            del self.hand[what[0].id]
            self.ending.discard(what[0].id)
            self.queue.put_back(what[0])
        self.ask()

    def take(self):
        update = self.queue.take(self.now)
        if update is None:
            return None
        assert update.id not in self.hand, "handed out twice"
        assert update.due <= self.now, "handed out too early"
        lane = self.lanes[update.key]
        assert update.id in lane, "handed out, but it is not in the store"
        if update.key:
            assert update.id == lane[0], "handed out before an older one of its key"
            assert update.key not in {other.key for other in self.hand.values()}
        kept = self.store[update.id]
        assert (update.attempt, update.after_gap) == (kept.attempt, kept.after_gap)
        self.hand[update.id] = update
        return update

    def end(self, update: Waiting, kind: str, *more) -> None:
        self.ending.add(update.id)
        self.jobs.append((kind, update if kind == "retry" else update.id, *more))

    def settle(self) -> None:
        """Write and tell until nothing is under way."""
        while self.jobs or self.news:
            while self.jobs:
                self.write()
            while self.news:
                self.tell()

    def finish_everything(self) -> list[Waiting]:
        """Handle all that is there, as long as anything comes; return it in the order it was taken."""
        handled: list[Waiting] = []
        self.now = FAR
        while True:
            self.settle()
            self.ask()
            self.settle()
            for update in self.unsettled():
                self.end(update, "finish")
            taken = self.take()
            if taken is None and not self.jobs:
                return handled
            if taken is not None:
                handled.append(taken)

    def held(self) -> int:
        return sum(len(lane.updates) for lane in self.queue._lanes.values())

    def unsettled(self) -> list[Waiting]:
        return [update for update in self.hand.values() if update.id not in self.ending]

    def settle_one(self, update: Waiting, what: str, seconds: float) -> None:
        """End an update in hand in one of the ways that there are."""
        if what == "retry":
            attempt, due = update.attempt + 1, self.now + seconds
            self.end(replace(update, attempt=attempt, due=due, started_at=self.now), "retry")
        elif what == "put_back":
            del self.hand[update.id]
            self.queue.put_back(replace(update, due=0.0))
        else:
            self.end(update, what)

    def check(self) -> None:
        """Memory is bounded, and a lane that is about to be filled again has its place in it."""
        queue = self.queue
        assert queue._held == self.held()
        assert queue._held + len(queue._empty) <= WAITING_WINDOWS * self.window
        assert len(queue._lanes) <= WAITING_WINDOWS * self.window
        assert all(len(lane.updates) <= self.lane for lane in queue._lanes.values())
        assert queue.in_hand == len(self.hand)

    def check_that_it_ends(self) -> None:
        """Whatever happened before: once everything is taken and finished, nothing is left anywhere."""
        self.finish_everything()
        assert self.store == {}
        assert self.queue._lanes == {}
        assert (self.queue._held, self.queue.next_due()) == (0, None)


class QueueMachine(RuleBasedStateMachine):
    """Any interleaving of all there is."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(key=st.sampled_from(["a", "a", "a", "a", "b", "b", "c", "d", "e", ""]), times=st.integers(1, 5))
    def accept(self, key, times):
        self.world.jobs.extend([("accept", key)] * times)

    @precondition(lambda self: self.world.jobs)
    @rule(works=st.sampled_from([True, True, True, False]), times=st.integers(1, 12))
    def write(self, works, times):
        for _ in range(min(times, len(self.world.jobs))):
            self.world.write(works=works)

    @precondition(lambda self: self.world.news)
    @rule(times=st.integers(1, 12))
    def tell(self, times):
        for _ in range(min(times, len(self.world.news))):
            self.world.tell()

    @precondition(lambda self: len(self.world.hand) < AT_ONCE)
    @rule()
    def take(self):
        self.world.take()

    @precondition(lambda self: self.world.unsettled())
    @rule(data=st.data(), what=st.sampled_from(ENDS), seconds=st.integers(0, 5))
    def end(self, data, what, seconds):
        self.world.settle_one(data.draw(st.sampled_from(self.world.unsettled())), what, seconds)

    @rule(seconds=st.integers(1, 3))
    def time_passes(self, seconds):
        self.world.now += seconds

    @rule()
    def tend(self):
        """What is asked again now and then, since a read may have failed."""
        self.world.ask()

    @rule(really=st.sampled_from([False, False, False, True]))
    def crash(self, really):
        if really:
            self.world.open()

    @invariant()
    def what_is_held_is_bounded(self):
        self.world.check()

    def teardown(self):
        self.world.check_that_it_ends()


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=250, stateful_step_count=60, deadline=None)
"""Nothing is lost, doubled or reordered, whatever the interleaving, crashes and failing reads included."""


@pytest.mark.parametrize("seed", range(30))
def test_long_lives(seed):
    """The same over 10,000 steps of a busy bot, with more of everything under way at once."""
    dice = random.Random(seed)
    world = World(window=dice.randint(1, 24), lane=dice.randint(1, 4))
    most = dice.choice(
        [5, 10, 20, 150]
    )  # updates in the store: below the window it keeps up, above it is behind
    pace = dice.choice([6, 14])  # of the writer, and of the loop that hears of it
    for what in dice.choices(STEPS, [6, pace, dice.choice([6, 14]), 8, 7, 1, 1, 0.03], k=10_000):
        if what == "accept" and len(world.store) < most:
            world.jobs.extend([("accept", dice.choice([*"aaabbcdefghijklmnop", ""]))] * dice.randint(1, 3))
        elif what == "write" and world.jobs:
            world.write(works=dice.random() < 0.9)
        elif what == "tell" and world.news:
            world.tell()
        elif what == "take" and len(world.hand) < 8:
            world.take()
        elif what == "end" and world.unsettled():
            world.settle_one(dice.choice(world.unsettled()), dice.choice(ENDS), dice.randint(0, 5))
        elif what == "time":
            world.now += 1
        elif what == "ask":
            world.ask()
        elif what == "crash":
            world.open()
        world.check()
    world.check_that_it_ends()


def accept(world, *keys):
    world.jobs.extend(("accept", key) for key in keys)
    world.settle()


def test_one_key_goes_out_in_order_and_one_at_a_time():
    """The second of a chat is not handed out before the first has ended."""
    world = World()
    accept(world, "a", "a", "a")
    first = world.take()
    assert first.id == 1
    assert world.take() is None
    world.end(first, "finish")
    world.settle()
    assert world.take().id == 2


def test_different_keys_go_out_at_the_same_time():
    """Each chat has its own lane."""
    world = World()
    accept(world, "a", "b", "a", "c")
    assert [world.take().key for _ in range(3)] == ["a", "b", "c"]
    assert world.take() is None


def test_updates_without_a_key_wait_for_nothing():
    """Inline queries of nobody in particular are all handed out at once."""
    world = World()
    accept(world, "", "", "")
    assert [world.take().id for _ in range(3)] == [1, 2, 3]


def test_a_retry_holds_its_own_key_only():
    """The next of a chat waits for its failed head; other chats do not."""
    world = World()
    accept(world, "a", "a", "b")
    first = world.take()
    world.end(waiting(first.id, "a", attempt=1, due=5.0), "retry")
    world.settle()
    assert world.take().key == "b"
    assert world.take() is None
    assert (world.queue.next_due(), world.queue.waiting_for_retry) == (5.0, 1)
    world.now = 5.0
    again = world.take()
    assert (again.id, again.attempt) == (1, 1)


def test_what_is_put_back_is_the_next_of_its_key():
    """Nothing happened to it; the one behind it stays behind."""
    world = World()
    accept(world, "a", "a")
    first = world.take()
    del world.hand[first.id]
    world.queue.put_back(first)
    assert world.take() == first


def test_the_next_after_a_dead_one_is_flagged_and_only_that():
    """The gap is told once: not to other chats, and not to the one after."""
    world = World()
    accept(world, "a", "b", "a", "a")
    world.end(world.take(), "bury")
    world.settle()
    assert not world.take().after_gap
    flagged = world.take()
    assert (flagged.id, flagged.after_gap) == (3, True)
    world.end(flagged, "finish")
    world.settle()
    assert not world.take().after_gap


def test_the_flag_survives_being_put_back():
    """A gap that nobody has handled yet is still a gap."""
    world = World()
    accept(world, "a", "a")
    world.end(world.take(), "bury")
    world.settle()
    flagged = world.take()
    del world.hand[flagged.id]
    world.queue.put_back(flagged)
    assert world.take().after_gap


def test_an_update_offered_between_question_and_answer_is_not_lost():
    """The lane asks for what it passed over; meanwhile another one is passed over."""
    world = World(window=4, lane=1)
    accept(world, "a", "a")
    world.end(world.take(), "finish")
    world.write()
    world.tell()  # now the lane is empty and has asked
    assert world.jobs[0][0] == "read"
    world.write()
    world.jobs.append(("accept", "a"))
    world.write()
    world.settle()
    assert [update.id for update in world.finish_everything()] == [2, 3]


def test_a_lane_that_is_filled_leaves_room_for_what_came_since_it_asked():
    """Updates of other chats took the places meanwhile; the rest of the lane stays in the store."""
    world = World(window=4, lane=4)
    accept(world, "a")
    world.end(waiting(world.take().id, "a", attempt=1, due=5.0), "retry")
    world.settle()
    accept(world, "a", "a", "a", "a")
    world.now = 5.0
    world.end(world.take(), "finish")
    world.jobs.extend(("accept", key) for key in "bcd")
    while world.jobs:
        world.write()
    world.tell()  # the end: the lane asks for all of its four
    while world.news:
        world.tell()
    world.settle()
    world.check()
    assert world.held() == 4
    assert len(world.finish_everything()) == 7


def test_a_read_that_failed_is_wanted_again():
    """An error of the store postpones; it loses nothing."""
    queue = Queue(behind=True)
    wanted = queue.wanted()
    assert queue.wanted() is None
    queue.not_fetched()
    assert queue.wanted() == wanted


def test_a_hundred_thousand_behind_one_waiting_chat_delay_nobody():
    """Others are handed out at once, and without a single read of the store."""
    world = World(window=WINDOW, lane=LANE)
    accept(world, "blocked")
    world.end(waiting(world.take().id, "blocked", attempt=1, due=1e6), "retry")
    world.settle()
    reads = world.reads
    for _ in range(100_000):
        world.jobs.append(("accept", "blocked"))
        world.write()
        world.tell()
    accept(world, "other")
    assert world.take().key == "other"
    assert world.reads == reads
    assert world.held() == 2


def test_after_a_restart_the_chat_behind_them_is_reached_by_reading_each_once():
    """100,000 rows are looked at, a window at a time, and no more than once."""
    world = World(window=WINDOW, lane=LANE)
    for number in range(100_000):
        world.commit("accept", "blocked" if number else "first")
    world.commit("accept", "other")
    world.news.clear()
    world.store[2] = waiting(2, "blocked", attempt=1, due=1e6)
    world.reads = 0
    world.open()
    world.settle()
    assert [world.take().key, world.take().key] == ["first", "other"]
    assert world.reads <= 100_001 // WINDOW + 1


def test_a_million_waiting_chats_do_not_fill_the_memory():
    """A window of them is here, the rest in the store, and each is handled in the end."""
    chats = 1_000_000
    queue = Queue(behind=True)
    cursor = handled = most = 0
    while (fetch := queue.wanted()) is not None:
        assert (fetch.after, fetch.key) == (cursor, None)
        last = min(cursor + fetch.limit, chats)
        queue.fetched(fetch, [waiting(n, str(n)) for n in range(cursor + 1, last + 1)])
        most = max(most, queue._held)
        while (update := queue.take(0.0)) is not None:
            queue.finish(update.id)
            handled += 1
            cursor = update.id
    assert handled == chats
    assert most <= WINDOW
    assert (queue._held, queue._lanes) == (0, {})


def test_lanes_that_fill_again_do_not_exceed_the_window():
    """Chats that come back to many updates of theirs in the store find room for some of them only."""
    world = World(window=64, lane=16)
    chats = [str(number) for number in range(60)]
    accept(world, *chats)
    for _ in chats:
        head = world.take()
        world.end(waiting(head.id, head.key, attempt=1, due=5.0), "retry")
    world.settle()
    for _ in range(20):
        accept(world, *chats)
    assert world.held() == 60
    world.now = 5.0
    for _ in chats:
        world.end(world.take(), "finish")
    world.settle()
    assert world.held() <= 64
    assert len(world.finish_everything()) == 60 * 20


@pytest.mark.parametrize("method", ["finish", "put_back"])
def test_what_is_not_in_hand_cannot_be_ended(method):
    """A second end of the same update is a mistake of the caller and loud."""
    queue = Queue(behind=False)
    update = waiting(1, "a")
    queue.offer(update)
    with pytest.raises(KeyError):
        getattr(queue, method)(update.id if method == "finish" else update)


def test_a_window_full_of_waiting_chats_holds_up_nobody():
    """A hundred chats whose heads wait for a retry, far more than the window: one behind them is handled."""
    world = World(window=16, lane=4)
    for number in range(100):
        world.jobs.append(("accept", f"bad{number}"))
    world.jobs.append(("accept", "good"))
    while world.jobs:
        world.write()
    world.settle()
    handled = []
    while (taken := world.take()) is not None:
        handled.append(taken.key)
        if taken.key.startswith("bad"):
            world.end(replace(taken, attempt=1, due=1e6), "retry")
        else:
            world.end(taken, "finish")
        world.settle()
        world.check()
    assert "good" in handled
