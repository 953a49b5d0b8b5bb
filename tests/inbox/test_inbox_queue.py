"""The order of updates: against a model of everything around it, and the scenes that decided its design.

The model keeps what a real run keeps apart: what was asked of the writer, what it committed, and what the
loop has been told of it. Hypothesis chooses when each of them goes on.
"""

from __future__ import annotations

import random
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from trioworkers.inbox.fetch import Fetch, Page
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.policy import Again, Never, after_failure
from trioworkers.inbox.queue import LANE, LOOK, WAITING_WINDOWS, WINDOW, Queue
from trioworkers.inbox.store import Accept, Finish, MoveToDead, Replay, Reschedule
from trioworkers.records import Attempt, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trioworkers.inbox.store import Operation

FEW, SHORT, AT_ONCE = 4, 2, 3
FAR = 1e9
BOT = 1
STEPS = ["accept", "write", "tell", "take", "end", "time", "ask", "replay", "crash", "drop", "order"]
ENDS = ["finish", "finish", "finish", "dead_letter", "fail", "fail", "skip", "crash", "put_back"]
FAILURE = Attempt(0.0, "ValueError")


def waiting(id_: int, key: str, **more: Any) -> Waiting:
    return Waiting(id_, BOT, id_, key, b"{}", 0.0, **more)


class Limits:
    """Of the policy: few attempts, so that some die of it."""

    attempts, initial, factor, max, deadline = 4, 2.0, 2.0, 5.0, 30.0


class World:
    """A queue with a store, a writer that works in order, and a loop that is told in order."""

    def __init__(self, window: int = FEW, lane: int = SHORT, *, in_order: bool = True) -> None:
        self.window, self.lane = window, lane
        self.in_order = in_order
        self.store = MemoryStore()
        self.rng = random.Random(1)
        self.came = 0
        self.now = 1.0
        self.reads = self.rows = 0
        self.open()

    def open(self) -> None:
        """Start anew, as after a crash: only the store is left."""
        self.jobs: deque[tuple[Any, Callable[[Any], None]]] = deque()
        self.news: deque[Callable[[], None]] = deque()
        self.hand: dict[int, Waiting] = {}
        self.ending: set[int] = set()
        self.dropping = False
        self.queue = Queue(
            behind=bool(self.pending()), window=self.window, lane=self.lane, in_order=self.in_order
        )
        self.ask()

    def pending(self) -> int:
        tally = self.store.tallies().get(BOT)
        return tally.pending if tally else 0

    def ask(self) -> None:
        fetch = self.queue.wanted()
        if fetch is not None:
            self.jobs.append((fetch, partial(self.fetched, fetch)))

    def fetched(self, fetch: Fetch, page: Page | None) -> None:
        if page is None:
            self.queue.not_fetched()
            return
        self.queue.fetched(fetch, page)
        self.ask()

    # -- the writer -----------------------------------------------------------------------------

    def write(self, *, works: bool = True) -> None:
        """Do the first job; one that fails changes nothing, an acknowledgement is then tried again."""
        what, then = self.jobs[0]
        if isinstance(what, list):
            if works:
                self.commit(1)
            elif what and isinstance(what[0], Accept | Replay):
                self.jobs.popleft()
            return
        self.jobs.popleft()
        self.reads += 1
        page = self.read(what) if works else None
        self.rows += len(page.updates) if page else 0
        self.news.append(partial(then, page))

    def read(self, fetch: Fetch) -> Page:
        return self.store.waiting(BOT, fetch)

    def commit(self, most: int) -> None:
        """Commit the first jobs together, up to the next read."""
        jobs: list[tuple[list[Operation], Callable[[Any], None]]] = []
        while self.jobs and len(jobs) < most and isinstance(self.jobs[0][0], list):
            operations, then = self.jobs.popleft()
            jobs.append((operations, then))
        results = iter(self.store.commit([one for operations, _ in jobs for one in operations]))
        for operations, then in jobs:
            self.news.append(partial(then, [next(results) for _ in operations]))

    # -- the loop -------------------------------------------------------------------------------

    def accept(self, *keys: str) -> None:
        """One update of each key comes, in a batch of its own."""
        for key in keys:
            self.came += 1
            offer = partial(self.offer, waiting(self.came, key))
            self.jobs.append(([Accept(BOT, self.came, key, b"{}", 0.0)], offer))

    def offer(self, update: Waiting, kept: Sequence[Any]) -> None:
        self.queue.offer(replace(update, id=kept[0].id, after_gap=kept[0].after_gap))

    def replay(self) -> None:
        """All dead letters go to the tail."""
        letters = self.store.dead(limit=1000)
        if letters:
            self.jobs.append(([Replay(letter.id, BOT) for letter in letters], self.replayed))

    def replayed(self, kept: Sequence[Any]) -> None:
        if any(kept):
            self.queue.more()
            self.ask()

    def drop(self, keep: int) -> None:
        """Drop what waits but its last few, as :mod:`trioworkers.inbox.dropping` does."""
        if self.dropping:
            return
        self.dropping = True
        self.queue.hold()
        in_flight = self.queue.ids_in_flight
        self.jobs.append((Fetch(0, 10_000), partial(self.dropped, keep, in_flight)))

    def dropped(self, keep: int, in_flight: frozenset[int], page: Page | None) -> None:
        found = [] if page is None else [one for one in page.updates if one.id not in in_flight]
        ends = found[: max(0, len(found) - keep)]
        self.jobs.append(([Finish(one.id, BOT, "dropped") for one in ends], self.released))

    def released(self, _: object) -> None:
        self.dropping = False
        self.queue.release()
        self.ask()

    def order(self, *, in_order: bool) -> None:
        """Order otherwise from now on."""
        self.queue.order(in_order=in_order)
        self.ask()

    def tell(self) -> None:
        """Let the loop hear of the oldest thing that the writer did."""
        self.news.popleft()()

    def take(self) -> Any:  # None when there is none

        return self.taken(self.queue.take(self.now), suspect=False)

    def take_suspect(self) -> Any:
        return self.taken(self.queue.take_suspect(self.now), suspect=True)

    def taken(self, update: Waiting | None, *, suspect: bool) -> Waiting | None:
        if update is None:
            return None
        assert update.suspect is suspect, "suspects are handled apart"
        assert update.id not in self.hand, "handed out twice"
        assert update.due <= self.now, "handed out too early"
        assert not self.dropping, "handed out while nothing is to be"
        kept = self.store.waiting(BOT, Fetch(after=update.id - 1, until=update.id, limit=1)).updates
        assert kept, "handed out, but it is not in the store"
        same: dict[str, Any] = {"due": 0.0} if self.in_order else {"due": 0.0, "after_gap": False}
        assert replace(update, **same) == replace(kept[0], **same), "not as the store has it"
        if update.key and not update.skipped and self.in_order:
            (oldest,) = self.store.waiting(BOT, Fetch(after=0, key=update.key, limit=1)).updates
            assert update.id == oldest.id, "handed out before an older one of its key"
            assert all(other.key != update.key or other.skipped for other in self.hand.values())
        self.hand[update.id] = update
        return update

    def end(self, update: Waiting, kind: str) -> None:
        """It is finished, dead, or comes again as it is given."""
        self.ending.add(update.id)
        if kind == "retry":
            self.jobs.append(([Reschedule(update, FAILURE)], lambda _: self.put_back(update)))
            return
        operation = (
            MoveToDead(update.id, BOT, update.key, update.attempt + 1, "no use", self.now)
            if kind == "dead_letter"
            else Finish(update.id, BOT, "done")
        )
        self.jobs.append(([operation], lambda _: self.ended(update, dead=kind == "dead_letter")))

    def ended(self, update: Waiting, *, dead: bool) -> None:
        del self.hand[update.id]
        self.ending.discard(update.id)
        self.queue.finish(update.id, dead=dead and not update.skipped)
        self.ask()

    def put_back(self, update: Waiting) -> None:
        del self.hand[update.id]
        self.ending.discard(update.id)
        self.queue.put_back(update)
        self.ask()

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
            taken = self.take() or self.take_suspect()
            if taken is None and not self.jobs:
                return handled
            if taken is not None:
                handled.append(taken)

    def held(self) -> int:
        return sum(len(lane.updates) for lane in self.queue._lanes.values())

    def unsettled(self) -> list[Waiting]:
        return [update for update in self.hand.values() if update.id not in self.ending]

    def settle_one(self, update: Waiting, what: str, seconds: float) -> None:
        """End an update in flight in one of the ways that there are, as the policy says."""
        started_at = self.now if update.started_at is None else update.started_at
        skipped = update.skipped or what == "skip"
        if what in ("fail", "skip"):
            verdict = after_failure(update.attempt + 1, started_at, self.now, Limits(), self.rng)
            again = replace(update, suspect=False)
        elif what == "crash" and update.suspect:
            crashes = update.crashes + 1
            verdict = Never("it ended 3 workers") if crashes >= 3 else Again(self.now + seconds)
            again = replace(update, crashes=crashes)
        elif what == "crash":
            verdict, again = Again(0.0), replace(update, suspect=True)
        elif what == "put_back":
            self.put_back(replace(update, due=self.now + seconds if seconds else 0.0))
            return
        else:
            self.end(update, what)
            return
        if isinstance(verdict, Again):
            attempt = update.attempt + 1
            again = replace(again, attempt=attempt, due=verdict.due, started_at=started_at, skipped=skipped)
            self.end(again, "retry")
        else:
            self.end(update, "dead_letter")

    def check(self) -> None:
        """Memory is bounded, and no update is counted that is not there."""
        queue, most = self.queue, WAITING_WINDOWS * self.window
        assert queue._held == self.held()
        assert queue._held <= most + 1
        assert len(queue._lanes) <= 2 * most + 1
        assert all(len(lane.updates) <= self.lane for lane in queue._lanes.values())
        assert queue.in_flight == len(self.hand)

    def check_that_it_ends(self) -> None:
        """Whatever happened before: once everything is taken and finished, nothing is left anywhere."""
        self.finish_everything()
        assert self.store.waiting(BOT, Fetch(after=0, limit=1)).updates == []
        assert self.queue._lanes == {}
        assert (self.queue._held, self.queue.next_due(), self.queue.next_suspect_due()) == (0, None, None)
        tally = self.store.tallies().get(BOT)
        assert tally is None or tally.accepted == tally.done + tally.dead + tally.dropped


class QueueMachine(RuleBasedStateMachine):
    """Any interleaving of all there is."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(key=st.sampled_from(["a", "a", "a", "a", "b", "b", "c", "d", "e", ""]), times=st.integers(1, 5))
    def accept(self, key, times):
        self.world.accept(*[key] * times)

    @precondition(lambda self: self.world.jobs)
    @rule(works=st.sampled_from([True, True, True, False]), times=st.integers(1, 12))
    def write(self, works, times):
        for _ in range(min(times, len(self.world.jobs))):
            self.world.write(works=works)

    @precondition(lambda self: self.world.jobs)
    @rule(most=st.integers(2, 12))
    def write_together(self, most):
        self.world.commit(most)

    @precondition(lambda self: self.world.news)
    @rule(times=st.integers(1, 12))
    def tell(self, times):
        for _ in range(min(times, len(self.world.news))):
            self.world.tell()

    @precondition(lambda self: len(self.world.hand) < AT_ONCE)
    @rule()
    def take(self):
        self.world.take()

    @rule()
    def take_suspect(self):
        self.world.take_suspect()

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

    @rule()
    def replay(self):
        self.world.replay()

    @rule(keep=st.sampled_from([0, 0, 1, 3]))
    def drop(self, keep):
        self.world.drop(keep)

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


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_long_lives(seed, in_order):
    """The same over 10,000 steps of a busy bot, with more of everything under way at once.

    Also where updates of a chat are not ordered, or only now and then.
    """
    dice = random.Random(seed)
    world = World(window=dice.randint(1, 24), lane=dice.randint(1, 4), in_order=in_order)
    most = dice.choice(
        [5, 10, 20, 150]
    )  # updates in the store: below the window it keeps up, above it is behind
    pace = dice.choice([6, 14])  # of the writer, and of the loop that hears of it
    for what in dice.choices(
        STEPS, [6, pace, dice.choice([6, 14]), 8, 7, 1, 1, 0.3, 0.03, 0.1, 0.1], k=10_000
    ):
        if what == "accept" and world.pending() < most:
            world.accept(*dice.choices([*"aaabbcdefghijklmnop", ""], k=1) * dice.randint(1, 3))
        elif what == "write" and world.jobs:
            world.commit(dice.randint(1, 6)) if dice.random() < 0.3 else world.write(
                works=dice.random() < 0.9
            )
        elif what == "tell" and world.news:
            world.tell()
        elif what == "take" and len(world.hand) < 8:
            world.take() or world.take_suspect()
        elif what == "end" and world.unsettled():
            world.settle_one(dice.choice(world.unsettled()), dice.choice(ENDS), dice.randint(0, 5))
        elif what == "time":
            world.now += 1
        elif what == "ask":
            world.ask()
        elif what == "replay":
            world.replay()
        elif what == "crash":
            world.open()
        elif what == "drop":
            world.drop(dice.choice([0, 0, 1, 5]))
        elif what == "order" and not in_order:
            world.order(in_order=dice.random() < 0.5)
        world.check()
    world.check_that_it_ends()


def accept(world, *keys):
    world.accept(*keys)
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


def test_updates_of_a_chat_without_order_go_out_at_once():
    """Each waits for itself alone: a retry holds nothing up."""
    world = World(in_order=False)
    accept(world, "a", "a", "a")
    assert [world.take().id for _ in range(3)] == [1, 2, 3]
    world.end(replace(world.hand[2], attempt=1, due=5.0), "retry")
    world.settle()
    accept(world, "a")
    assert world.take().id == 4


def test_an_order_that_changes_concerns_what_waits():
    """What is in flight stays so, and nothing is handed out twice."""
    world = World()
    accept(world, "a", "a", "a")
    first = world.take()
    assert world.take() is None
    world.in_order = False
    world.order(in_order=False)
    world.settle()
    assert [world.take().id for _ in range(2)] == [2, 3]
    world.order(in_order=True)
    accept(world, "a", "a")
    assert world.take() is None
    world.end(first, "finish")
    world.settle()
    assert world.take().id == 4
    assert world.take() is None


def test_what_is_dropped_is_not_handed_out():
    """But the last ones are, where they are to be kept, and what comes afterwards."""
    world = World()
    accept(world, *"aabbccdd")
    first = world.take()
    world.drop(2)
    assert world.take() is None
    world.settle()
    tally = world.store.tallies()[BOT]
    assert (tally.dropped, tally.pending) == (5, 3)
    assert world.take().id == 7
    assert world.take() is None
    world.end(first, "finish")
    world.end(world.hand[7], "finish")
    world.settle()
    assert world.take().id == 8
    accept(world, "a")
    assert world.take().id == 9


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
    world.put_back(first)
    assert world.take() == first


def test_the_next_after_a_dead_one_is_flagged_and_only_that():
    """The gap is told once: not to other chats, and not to the one after."""
    world = World()
    accept(world, "a", "b", "a", "a")
    world.end(world.take(), "dead_letter")
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
    world.end(world.take(), "dead_letter")
    world.settle()
    world.put_back(world.take())
    assert world.take().after_gap


def test_an_update_offered_between_question_and_answer_is_not_lost():
    """The lane asks for what it passed over; meanwhile another one is passed over."""
    world = World(window=4, lane=1)
    accept(world, "a", "a")
    world.end(world.take(), "finish")
    world.write()
    world.tell()  # now the lane is empty and has asked
    assert world.jobs[0][0].key == "a"
    world.write()
    world.accept("a")
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
    world.accept(*"bcd")
    while world.jobs:
        world.write()
    world.tell()  # the end: the lane asks for all of its four
    while world.news:
        world.tell()
    world.settle()
    world.check()
    assert world.held() == 4
    assert len(world.finish_everything()) == 7


def test_the_cursor_is_known_once_the_store_is_read_and_lost_when_it_is_to_be_read_again():
    """Up to it, the store holds nothing that is not known here; others who use it may add behind it."""
    queue = Queue(behind=True)
    assert queue.cursor is None
    fetch = queue.wanted()
    assert fetch is not None
    queue.fetched(fetch, Page([waiting(3, "a")], 7, more=False))
    assert queue.cursor == 7
    queue.offer(waiting(9, "b"))
    assert queue.cursor == 9
    queue.more()
    assert queue.cursor is None
    assert Queue(behind=False).cursor == 0


def test_heads_that_wait_for_their_time_are_counted():
    """Those for a retry, and those that are handled alone."""
    queue = Queue(behind=False)
    for number, key in enumerate("abc", 1):
        queue.offer(waiting(number, key))
    taken = [queue.take(0.0) for _ in range(3)]
    assert queue.waiting_for_retry == 0
    changed: list[dict[str, Any]] = [{"due": 5.0}, {"suspect": True}, {"due": 6.0}]
    for update, changes in zip(taken, changed, strict=True):
        assert update is not None
        queue.put_back(replace(update, **changes))
    assert queue.waiting_for_retry == 3
    assert (queue.next_due(), queue.next_suspect_due()) == (5.0, 0.0)


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
        world.accept("blocked")
        world.write()
        world.tell()
    accept(world, "other")
    assert world.take().key == "other"
    assert world.reads == reads
    assert world.held() == 2


def test_after_a_restart_the_chat_behind_them_is_reached_past_them():
    """Of 100,000 rows a window is read; the others are left out where they lie, many windows at a time."""
    world = World(window=WINDOW, lane=LANE)
    for number in range(100_000):
        world.accept("blocked" if number else "first")
    world.accept("other")
    world.commit(200_000)
    world.store.commit([Reschedule(waiting(2, "blocked", attempt=1, due=1e6), FAILURE)])
    world.reads = world.rows = 0
    world.open()
    world.settle()
    assert [world.take().key, world.take().key] == ["first", "other"]
    assert world.reads <= 100_001 // (LOOK * WINDOW) + 3
    assert world.rows <= WINDOW + 2


def test_what_is_left_out_while_its_chat_runs_empty_is_handled_in_order():
    """The chat is long when others are fetched past it, and empty when they come."""
    world = World(window=4, lane=1)
    world.accept(*"aaaabaac")
    world.commit(20)
    world.open()
    world.write()
    world.tell()
    world.write(works=False)
    world.tell()
    world.end(world.take(), "finish")
    world.ask()
    assert world.jobs[1][0].without == ["a"]
    world.write()
    world.write()
    world.tell()
    assert world.take() is None
    world.tell()
    handled = world.finish_everything()
    assert [update.id for update in handled if update.key == "a"] == [2, 3, 4, 6, 7]
    assert len(handled) == 7


def test_a_million_waiting_chats_do_not_fill_the_memory():
    """A window of them is here, the rest in the store, and each is handled in the end."""
    chats = 1_000_000
    queue = Queue(behind=True)
    cursor = handled = most = 0
    while (fetch := queue.wanted()) is not None:
        assert (fetch.after, fetch.key) == (cursor, None)
        last = min(cursor + fetch.limit, chats)
        updates = [waiting(n, str(n)) for n in range(cursor + 1, last + 1)]
        queue.fetched(fetch, Page(updates, last, more=last < chats))
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
def test_what_is_not_in_flight_cannot_be_ended(method):
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
        world.accept(f"bad{number}")
    world.accept("good")
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


def test_a_suspect_is_handled_apart_and_its_chat_waits():
    """Ordinary handling goes on with the other chats; the suspect's own goes on behind it."""
    world = World()
    accept(world, "a", "a", "b")
    world.end(replace(world.take(), suspect=True, attempt=1), "retry")
    world.settle()
    assert world.take().key == "b"
    assert world.take() is None
    assert world.queue.next_suspect_due() == 0.0
    suspect = world.take_suspect()
    assert (suspect.id, suspect.suspect) == (1, True)
    world.end(suspect, "finish")
    world.settle()
    assert world.take().id == 2


def test_a_suspect_waits_for_its_time_like_any_other():
    """It is not taken before it is due, by nobody."""
    world = World()
    accept(world, "a")
    world.end(replace(world.take(), suspect=True, due=5.0), "retry")
    world.settle()
    assert (world.take(), world.take_suspect()) == (None, None)
    assert (world.queue.next_due(), world.queue.next_suspect_due()) == (None, 5.0)
    world.now = 5.0
    assert world.take_suspect().id == 1


def test_a_skipped_update_lets_its_chat_go_on_behind_a_gap():
    """The next is told; the skipped one comes again in its own time, beside the others of its chat."""
    world = World()
    accept(world, "a", "a", "a")
    world.end(replace(world.take(), skipped=True, attempt=1, due=5.0), "retry")
    world.settle()
    second = world.take()
    assert (second.id, second.after_gap) == (2, True)
    world.now = 5.0
    assert world.take().id == 1
    world.end(second, "finish")
    world.settle()
    assert (third := world.take()).id == 3
    assert not third.after_gap


def test_an_update_without_a_key_can_be_skipped():
    """It stood in nobody's way before, and leaves nothing behind now."""
    world = World()
    accept(world, "", "")
    world.end(replace(world.take(), skipped=True, attempt=1, due=5.0), "retry")
    world.settle()
    world.check()
    assert world.take().id == 2
    world.now = 5.0
    assert world.take().id == 1
    world.check_that_it_ends()


def test_a_chat_whose_updates_are_all_skipped_does_not_fill_the_memory():
    """Its next ones stay in the store once as many wait for their time as may be held."""
    world = World(window=4, lane=2)
    accept(world, *["a"] * 100, "other")
    taken = 0
    while (update := world.take()) is not None:
        taken += 1
        world.end(replace(update, skipped=True, attempt=1, due=1e6), "retry")
        world.settle()
        world.check()
    assert taken < 40
    assert len(world.finish_everything()) == 101


def test_an_end_is_waited_for_when_nothing_else_can_be_handed_out():
    """By the next of its chat, or by what the window has no room for; while others are ready, by nobody."""
    world = World(window=2)
    accept(world, "a", "a", "b")
    first = world.take()
    assert world.queue.is_waited_for(first.id), "the window is full, and b behind it"
    world = World()
    accept(world, "a", "a", "b")
    first = world.take()
    assert not world.queue.is_waited_for(first.id), "b can be handled meanwhile"
    other = world.take()
    assert world.queue.is_waited_for(first.id)
    assert not world.queue.is_waited_for(other.id)


def test_a_query_with_seconds_to_be_answered_goes_before_what_waits():
    """Also before what was there first, and in its own order; an inline query waits for its turn."""
    queue = Queue(behind=False)
    keys = ["a", "b", "inline_query/5", "pre_checkout_query/5", "pre_checkout_query/5", "chat_join_request/6"]
    for id_, key in enumerate(keys, 1):
        queue.offer(waiting(id_, key))
    assert queue.is_ready()
    taken = [update.id for _ in keys if (update := queue.take(1.0)) is not None]
    assert taken == [4, 6, 1, 2, 3]
    assert not queue.is_ready()
    queue.finish(4)
    assert queue.is_ready()
    again = queue.take(1.0)
    assert again is not None
    assert again.id == 5
