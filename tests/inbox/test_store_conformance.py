"""What every store promises, each promise against each store."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace
from renumbered import renumbered

from trioworkers.inbox.fetch import Fetch, Page
from trioworkers.inbox.rules import MOST_LOGGED
from trioworkers.inbox.store import (
    DUPLICATE,
    FILTERED,
    Accept,
    BeginCall,
    EndCall,
    Filter,
    Finish,
    Kept,
    MoveToDead,
    OnceSeen,
    Purge,
    Replay,
    Reschedule,
    StoreError,
)
from trioworkers.inbox.tally import Tally
from trioworkers.records import Attempt, DeadLetter, Once, RecordedCall, Waiting

BOT, OTHER = 7_000_000_001, 7_000_000_002
SIZES = [1, 2, 3, 511, 512, 513, 1537]
FAILURE = Attempt(90.0, "ValueError")
MOST_STEPS = 5000  # until a run without a fault


@pytest.fixture
def opened(backend, tmp_path):
    """An empty store, and `reopen` to close it and open it again."""

    class Opened:
        def __init__(self):
            self.open = backend.make(tmp_path)
            self.store = self.open()

        def reopen(self):
            self.store.close()
            self.store = self.open()
            return self.store

    one = Opened()
    yield one
    one.store.close()


@pytest.fixture
def store(opened):
    return opened.store


def new(number, key="a", *, bot=BOT, at=100.0, kind="message", once=()):
    return Accept(bot, number, key, b'{"update_id":%d}' % number, at, kind, once)


def keyed(number, *keys, window=30.0, **which):
    """An update that may be kept once for each of these keys."""
    return new(number, once=tuple(Once(key, window) for key in keys), **which)


def accept(store, *numbers, **which):
    return store.commit([new(number, **which) for number in numbers])


def look(store, bot=BOT, **which):
    return store.waiting(bot, Fetch(**({"after": 0, "limit": 10_000} | which)))


def waiting(store, bot=BOT, **which):
    return look(store, bot, **which).updates


def ids(store, bot=BOT, **which):
    return [update.id for update in waiting(store, bot, **which)]


def one(store, id_):
    (update,) = [update for bot in (BOT, OTHER) for update in waiting(store, bot) if update.id == id_]
    return update


def after_gap(store):
    return [update.id for update in waiting(store) if update.after_gap]


def dead(store, **which):
    return store.dead(**({"limit": 10_000} | which))


def again(store, id_, failure=FAILURE, **changes):
    return Reschedule(replace(one(store, id_), **changes), failure)


def dead_letter(id_, *, key="a", at=200.0, bot=BOT, failure=None):
    return MoveToDead(id_, bot, key, 2, "no use", at, failure)


def state(store):
    """All that can be seen of a store, but for its once keys."""
    updates = [waiting(store, bot) for bot in (BOT, OTHER)]
    letters = dead(store)
    seen = [one.id for one in (*updates[0], *updates[1], *letters)]
    return updates, letters, [store.calls(id_) for id_ in seen], store.tallies()


def balanced(tally):
    return tally.accepted == (
        tally.done + tally.dropped + tally.expired + tally.dead + tally.purged + tally.pending
    )


# -- accepting ----------------------------------------------------------------------------------


def test_what_is_accepted_waits_as_it_came(store):
    """Every field is read back; ids ascend over all bots."""
    assert store.commit(
        [Accept(BOT, 5, "-100/7", b"\x00\xff", 12.5, "edited_message"), Accept(OTHER, 5, "", b"{}", 13.0)]
    ) == [Kept(1), Kept(2)]
    assert waiting(store) == [Waiting(1, BOT, 5, "-100/7", b"\x00\xff", 12.5, kind="edited_message")]
    assert waiting(store, OTHER) == [Waiting(2, OTHER, 5, "", b"{}", 13.0)]


def test_an_update_is_accepted_once(opened):
    """Not again in the same batch, in a later one, after it was done or is dead, nor after reopening."""
    store = opened.store
    assert accept(store, 1, 2, 1) == [Kept(1), Kept(2), DUPLICATE]
    assert accept(store, 2, 3) == [DUPLICATE, Kept(3)]
    store.commit([Finish(1, BOT, "done"), dead_letter(2)])
    store = opened.reopen()
    assert accept(store, 1, 2, 3) == [DUPLICATE] * 3
    assert accept(store, 1, bot=OTHER) == [Kept(4)]
    assert store.tallies() == {
        BOT: Tally(accepted=3, duplicates=5, done=1, dead=1, pending=1),
        OTHER: Tally(accepted=1, pending=1),
    }


@pytest.mark.parametrize("size", SIZES)
def test_batches_of_any_size_are_whole(store, size):
    """Nothing is left out, nothing doubled, however many rows a statement takes."""
    assert accept(store, *range(size)) == [Kept(id_) for id_ in range(1, size + 1)]
    assert accept(store, *range(size)) == [DUPLICATE] * size
    assert [update.update_id for update in waiting(store)] == list(range(size))
    half = list(range(1, size + 1, 2))
    store.commit([BeginCall(id_, "sendMessage 1", 1.0) for id_ in range(1, size + 1)])
    assert set(store.commit([Finish(id_, BOT, "done") for id_ in half])) == {None}
    assert ids(store) == list(range(2, size + 1, 2))
    assert store.tallies()[BOT] == Tally(size, size, done=len(half), pending=size - len(half))
    assert [len(store.calls(id_)) for id_ in range(1, size + 1)] == [
        (id_ + 1) % 2 for id_ in range(1, size + 1)
    ]


def test_an_id_is_never_given_twice(opened):
    """Not even when all updates are gone and the store was reopened: a stale end hits nothing."""
    accept(opened.store, 1, 2)
    opened.store.commit([Finish(1, BOT, "done"), Finish(2, BOT, "done")])
    assert accept(opened.reopen(), 3) == [Kept(3)]
    opened.store.commit([Finish(3, BOT, "done")])
    assert accept(opened.store, 4) == [Kept(4)]


def test_results_stand_where_their_operations_stood(store):
    """A mixed batch: only what was offered, replayed or purged has a result."""
    accept(store, 1, 2, 3, 4)
    store.commit([dead_letter(3), dead_letter(4)])
    assert store.commit(
        [
            Purge(4, BOT),
            Finish(1, BOT, "done"),
            Replay(3, BOT),
            BeginCall(2, "k", 1.0),
            new(5, "b"),
            Purge(4, BOT),
            EndCall(2, "k", b"1"),
            Replay(3, BOT),
            again(store, 2, attempt=1),
            new(1),
            dead_letter(2),
        ]
    ) == [True, None, Kept(6, after_gap=True), None, Kept(5), False, None, None, None, DUPLICATE, None]


# -- several daemons ----------------------------------------------------------------------------


def test_news_are_bots_with_later_updates(store):
    """Of those that are asked for; what was done is none."""
    accept(store, 1, 2)
    accept(store, 1, bot=OTHER)
    assert {*store.news({BOT: 0, OTHER: 0})} == {BOT, OTHER}
    assert {*store.news({BOT: 2, OTHER: 2})} == {OTHER}
    assert {*store.news({BOT: 1})} == {BOT}
    store.commit([Finish(2, BOT, "done")])
    assert not store.news({BOT: 1, 3: 0})
    assert not store.news({})


def test_tallies_can_be_asked_for_by_bot(store):
    """A bot that was never seen has none."""
    accept(store, 1)
    accept(store, 1, bot=OTHER)
    assert store.tallies([BOT, 3]) == {BOT: Tally(accepted=1, pending=1)}
    assert store.tallies([]) == {}
    assert {*store.tallies()} == {BOT, OTHER}


# -- filtering ----------------------------------------------------------------------------------


def test_what_is_filtered_is_known_and_counted(opened):
    """It waits nowhere and leaves no gap; it is a duplicate when it comes again, also after reopening."""
    store = opened.store
    assert store.commit([Filter(BOT, 1, 100.0), Filter(OTHER, 1, 100.0)]) == [FILTERED, FILTERED]
    store = opened.reopen()
    assert store.commit([Filter(BOT, 1, 101.0), new(1)]) == [DUPLICATE, DUPLICATE]
    assert accept(store, 2) == [Kept(1)]
    assert store.commit([Filter(BOT, 2, 102.0)]) == [DUPLICATE]
    assert waiting(store) == [Waiting(1, BOT, 2, "a", b'{"update_id":2}', 100.0)]
    assert store.tallies() == {BOT: Tally(1, 3, filtered=1, pending=1), OTHER: Tally(filtered=1)}


def test_arrivals_take_effect_in_the_order_in_which_they_are_given(store):
    """Of two operations on one id the first decides, whichever kind it is."""
    batch = [Filter(BOT, 1, 100.0), new(1), new(2), Filter(BOT, 2, 100.0), keyed(3, "k"), keyed(3, "k")]
    assert store.commit(batch) == [FILTERED, DUPLICATE, Kept(1), DUPLICATE, Kept(2), DUPLICATE]
    assert store.tallies() == {BOT: Tally(2, 3, filtered=1, pending=2)}


@pytest.mark.parametrize("size", SIZES)
def test_filtered_and_kept_updates_share_batches_of_any_size(store, size):
    """Nothing is left out, nothing doubled, however many rows a statement takes."""
    batch = [Filter(BOT, n, 1.0) if n % 3 == 0 else keyed(n, f"k{n // 6}", at=1.0) for n in range(size)]
    first = [n for n in range(size) if n % 6 == 1]  # of those with its key
    kept = {n: Kept(id_) for id_, n in enumerate(first, 1)}
    results = [FILTERED if n % 3 == 0 else kept.get(n, OnceSeen(f"k{n // 6}")) for n in range(size)]
    assert store.commit(batch) == results
    assert store.commit(batch) == [DUPLICATE] * size
    assert [update.update_id for update in waiting(store)] == first
    assert store.tallies()[BOT] == Tally(len(kept), size, filtered=size - len(kept), pending=len(kept))


def test_known_tells_which_ids_came_before(opened):
    """Accepted, done, dead, filtered or seen once: all of them; of this bot only, and of many at once."""
    store = opened.store
    store.commit([new(1), keyed(2, "k"), keyed(3, "k"), Filter(BOT, 4, 1.0), new(5), new(9, bot=OTHER)])
    store.commit([Finish(1, BOT, "done"), dead_letter(3)])
    store = opened.reopen()
    assert store.known(BOT, range(1, 2000)) == {1, 2, 3, 4, 5}
    assert store.known(OTHER, [9, 1, 9]) == {9}
    assert store.known(BOT, []) == store.known(3, [1]) == set()


# -- once keys ----------------------------------------------------------------------------------


def test_a_key_lets_one_update_in_within_its_window(opened):
    """The second is dropped and known, also after reopening; exactly after the window it is a new one."""
    store = opened.store
    assert store.commit([keyed(1, "k", at=100.0)]) == [Kept(1)]
    store = opened.reopen()
    assert store.commit([keyed(2, "k", at=129.9)]) == [OnceSeen("k")]
    assert store.commit([keyed(2, "k", at=130.0)]) == [DUPLICATE]
    assert store.commit([keyed(3, "k", at=130.0)]) == [Kept(2)]
    assert store.commit([keyed(4, "k", at=159.9)]) == [OnceSeen("k")]
    assert ids(store) == [1, 2]
    assert store.tallies() == {BOT: Tally(2, 1, filtered=2, pending=2)}


def test_a_dropped_update_does_not_prolong_the_window(store):
    """The window begins with what was kept: else somebody who repeats himself would never be heard again."""
    store.commit([keyed(1, "k", at=100.0)])
    assert store.commit([keyed(2, "k", at=120.0)]) == [OnceSeen("k")]
    assert store.commit([keyed(3, "k", at=131.0)]) == [Kept(2)]


def test_a_key_is_one_bots(store):
    """The same key at another bot is another key."""
    assert store.commit([keyed(1, "k"), keyed(1, "k", bot=OTHER)]) == [Kept(1), Kept(2)]
    assert store.commit([keyed(2, "k", bot=OTHER)]) == [OnceSeen("k")]


def test_the_first_key_that_is_known_decides(store):
    """Of an update that is dropped no other key is committed."""
    assert store.commit([keyed(1, "a", "b")]) == [Kept(1)]
    assert store.commit([keyed(2, "c", "b", "a")]) == [OnceSeen("b")]
    assert store.commit([keyed(3, "c")]) == [Kept(2)]
    assert store.commit([keyed(4, "c", "b")]) == [OnceSeen("c")]


def test_of_two_updates_in_one_commit_the_first_is_kept(store):
    """By every key of it; keys of an update that was dropped in the same commit count for nothing."""
    batch = [keyed(1, "a", "b"), keyed(2, "c", "b"), keyed(3, "c"), keyed(4, "a"), keyed(5, "d")]
    assert store.commit(batch) == [Kept(1), OnceSeen("b"), Kept(2), OnceSeen("a"), Kept(3)]


def test_one_update_may_name_a_key_twice(store):
    """It does not stand in its own way; the last window holds."""
    twice = new(1, once=(Once("k", 10.0), Once("k", 50.0)))
    assert store.commit([twice]) == [Kept(1)]
    assert store.commit([keyed(2, "k", at=149.0, window=60.0)]) == [OnceSeen("k")]
    assert store.commit([keyed(3, "k", at=150.0, window=60.0)]) == [Kept(2)]


def test_a_duplicate_commits_no_key(store):
    """It was judged before; its keys are as they were then."""
    accept(store, 1)
    assert store.commit([keyed(1, "k"), keyed(2, "k")]) == [DUPLICATE, Kept(2)]
    assert store.commit([keyed(2, "l"), keyed(3, "l")]) == [DUPLICATE, Kept(3)]


def test_the_shorter_of_two_windows_holds(store):
    """A window that was shortened applies at once, one that was made longer from the next commit on."""
    store.commit([keyed(1, "k", "l", at=100.0, window=30.0)])
    assert store.commit([keyed(2, "k", at=110.0, window=10.0)]) == [Kept(2)]
    assert store.commit([keyed(3, "l", at=130.0, window=1000.0)]) == [Kept(3)]
    assert store.commit([keyed(4, "l", at=1129.0, window=1000.0)]) == [OnceSeen("l")]


def test_a_clock_that_is_set_back_prolongs_no_window(store):
    """Within the window's length a key counts in both directions; further back it is committed anew."""
    store.commit([keyed(1, "k", at=1000.0), keyed(2, "l", at=1000.0)])
    assert store.commit([keyed(3, "k", at=971.0)]) == [OnceSeen("k")]
    assert store.commit([keyed(4, "l", at=970.0)]) == [Kept(3)]
    assert store.commit([keyed(5, "l", at=999.0)]) == [OnceSeen("l")]
    assert store.commit([keyed(6, "l", at=1000.0)]) == [Kept(4)]


@pytest.mark.parametrize("key", ["", "naïve \u2028 '\"\\", "nul\0nul", "x" * 256, "\U0001f600" * 256])
def test_any_text_is_a_key(opened, key):
    """It is known again after reopening, and no other is taken for it."""
    assert opened.store.commit([keyed(1, key)]) == [Kept(1)]
    store = opened.reopen()
    assert store.commit([keyed(2, key[:-1] + "?")]) == [Kept(2)]
    assert store.commit([keyed(3, key)]) == [OnceSeen(key)]


@pytest.mark.parametrize("limit", [7, 100])
def test_keys_are_forgotten_a_few_at_a_time(store, limit):
    """Those that do not count any more; what is forgotten is new, the rest is not."""
    for bot in (BOT, OTHER):
        store.commit([keyed(n, f"k{n}", at=float(100 - n), bot=bot) for n in range(50)])
    assert store.forget_keys(80.9, limit) == 0
    assert store.forget_keys(100.0, 2) == 2
    forgotten = [store.forget_keys(100.0, limit) for _ in range(100 // limit + 2)]
    assert max(forgotten) <= limit
    assert sum(forgotten) == 2 * 20 - 2
    results = store.commit([keyed(100 + n, f"k{n}", at=99.0) for n in range(50)])
    assert [isinstance(result, Kept) for result in results] == [n >= 30 for n in range(50)]
    assert store.forget_keys(1e9, 1000) == 30 + 20 + 30
    assert store.forget_keys(1e9, 1000) == 0


def test_forgetting_keys_and_ids_leaves_the_other_alone(store):
    """An id is known for days, a key for its window."""
    store.commit([keyed(1, "k", at=100.0, window=1e6)])
    assert forget_all(store, 200.0, 10) == 1
    assert store.commit([keyed(1, "k", at=200.0, window=1e6)]) == [OnceSeen("k")]
    assert store.forget_keys(1e7, 10) == 1
    assert store.known(BOT, [1]) == {1}


# -- reading ------------------------------------------------------------------------------------


def test_waiting_reads_a_range_of_one_bot_and_one_key(store):
    """After is excluded, until included, the limit obeyed, the order by id."""
    for number in range(1, 13):
        accept(store, number, key="ab"[number % 2], bot=BOT if number < 11 else OTHER)
    assert ids(store) == list(range(1, 11))
    assert ids(store, after=3, until=6) == [4, 5, 6]
    assert ids(store, key="b") == [1, 3, 5, 7, 9]
    assert ids(store, key="b", after=3, until=8, limit=1) == [5]
    assert ids(store, OTHER) == [11, 12]
    assert ids(store, key="c") == ids(store, 3) == []


def test_a_page_leaves_keys_out_and_tells_how_far_it_looked(store):
    """What is left out takes no place of the limit, but is looked at; what is skipped is not left out."""
    for number in range(1, 9):
        accept(store, number, key="aab"[number % 3])
    accept(store, 9, bot=OTHER)
    store.commit([again(store, 3, skipped=True, attempt=1)])
    left_out = partial(look, store, without=["a", "'"])
    page = left_out()
    assert page == Page([one(store, n) for n in (2, 3, 5, 8)], until=page.until, more=False)
    assert page.until in (8, 9)  # the last of this bot, or of all
    assert left_out(limit=2) == Page([one(store, 2), one(store, 3)], until=3, more=True)
    assert left_out(most=4) == Page([one(store, 2), one(store, 3)], until=4, more=True)
    assert left_out(after=5, most=2) == Page([], until=7, more=True)
    assert left_out(after=5, until=7) == left_out(after=5, until=7, most=2) == Page([], until=7, more=False)


def test_a_page_reaches_the_id_that_was_asked_for_whatever_is_gone(store):
    """A lane was left in the store up to an update that is over by now: one read says that it is empty."""
    for number, key in enumerate("aba", 1):
        accept(store, number, key=key)
    store.commit([Finish(number, BOT, "done") for number in (2, 3)])
    assert look(store, key="a", after=1, until=3) == Page([], until=3, more=False)


# -- ends and retries ---------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["done", "dropped", "expired"])
def test_what_is_finished_is_gone(store, outcome):
    """Counted once, also when it is finished twice in one batch and again in another."""
    accept(store, 1)
    store.commit([Finish(1, BOT, outcome), Finish(1, BOT, outcome)])
    store.commit([Finish(1, BOT, outcome)])
    assert ids(store) == []
    assert store.tallies() == {BOT: Tally(1, **{outcome: 1})}


def test_what_is_rescheduled_keeps_its_place(opened):
    """What the next handling has to know is kept, also over reopening; the order stays that of arrival."""
    store = opened.store
    accept(store, 1, 2)
    changes: dict[str, Any] = {"attempt": 3, "due": 555.5, "started_at": 111.0, "suspect": True, "crashes": 2}
    store.commit([again(store, 1, **changes, key="x", body=b"x", accepted_at=1.0, after_gap=True)])
    first, second = waiting(opened.reopen())
    assert first == Waiting(1, BOT, 1, "a", b'{"update_id":1}', 100.0, **changes)
    assert second == Waiting(2, BOT, 2, "a", b'{"update_id":2}', 100.0)
    assert opened.store.tallies()[BOT] == Tally(2, retried=1, pending=2)
    opened.store.commit([again(opened.store, 1, attempt=4, due=0.0, suspect=False)])
    assert one(opened.store, 1) == replace(first, attempt=4, due=0.0, suspect=False)


def test_one_failure_is_counted_and_logged_once(store):
    """A reschedule that is given again, because nobody knew that it was kept, changes nothing."""
    accept(store, 1)
    operation = again(store, 1, attempt=1, due=5.0)
    store.commit([operation, operation])
    store.commit([operation])
    store.commit([dead_letter(1)])
    assert store.tallies()[BOT].retried == 1
    assert dead(store)[0].history == (FAILURE,)


def test_a_dead_letter_keeps_everything(opened):
    """Body, kind, attempts, reason and every attempt's log; the second burial changes nothing."""
    store = opened.store
    accept(store, 1, kind="callback_query")
    first = Attempt(4.0, "TimeoutError", ("sendMessage 1", "sendPhoto 1"))
    last = Attempt(8.5, 'ValueError: "naïve"')
    store.commit([again(store, 1, first, attempt=1)])
    for _ in range(2):
        store.commit([dead_letter(1, failure=last)])
    store = opened.reopen()
    assert dead(store) == [
        DeadLetter(
            *(1, BOT, 1, "a", "callback_query", b'{"update_id":1}', 100.0, 2, 200.0, "no use", (first, last))
        )
    ]
    assert (ids(store), store.tallies()) == ([], {BOT: Tally(1, retried=1, dead=1)})


def test_what_was_never_handled_can_become_a_dead_letter(store):
    """Its log is empty."""
    accept(store, 1)
    store.commit([dead_letter(1)])
    assert dead(store)[0].history == ()


def test_a_long_log_holds_the_first_and_the_last(store):
    """Waits that were asked for may come without end; how it began and how it ended is what is read."""
    accept(store, 1)
    for number in range(MOST_LOGGED + 3):
        store.commit([again(store, 1, Attempt(float(number), str(number)), due=float(number + 1))])
    last = MOST_LOGGED + 3
    store.commit([dead_letter(1, failure=Attempt(float(last), str(last)))])
    errors = [attempt.error for attempt in dead(store)[0].history]
    assert errors == [*map(str, range(MOST_LOGGED - 1)), str(last)]


@pytest.mark.parametrize(
    "operation",
    [
        Finish(9, BOT, "done"),
        Reschedule(Waiting(9, BOT, 9, "a", b"", 1.0, attempt=1, skipped=True), FAILURE),
        dead_letter(9, failure=FAILURE),
        BeginCall(9, "k", 1.0),
        EndCall(9, "k", b"1"),
        EndCall(9, "k", None),
        Replay(9, BOT),
    ],
)
def test_what_is_not_there_is_left_alone(opened, operation):
    """An operation on an update that never was, or is gone, changes nothing, tallies included."""
    accept(opened.store, 1)
    before = state(opened.store)
    assert opened.store.commit([operation]) == [None]
    assert opened.store.commit([Purge(9, BOT)]) == [False]
    assert state(opened.reopen()) == before
    assert accept(opened.store, 2) == [Kept(2)]


@pytest.mark.parametrize(
    "operation",
    [
        Finish(1, BOT, "done"),
        Reschedule(Waiting(1, BOT, 1, "a", b"", 1.0, attempt=1, skipped=True), FAILURE),
        dead_letter(1, failure=FAILURE),
        BeginCall(1, "answered", 1.0),
        BeginCall(1, "new", 1.0),
        EndCall(1, "unknown", b"1"),
        EndCall(1, "unknown", None),
    ],
)
def test_a_stale_end_leaves_a_dead_letter_alone(store, operation):
    """Its calls above all: without them its replay would send them again."""
    accept(store, 1, 2)
    store.commit([BeginCall(1, "answered", 1.0), EndCall(1, "answered", b"1"), BeginCall(1, "unknown", 2.0)])
    store.commit([dead_letter(1)])
    before = state(store)
    assert store.commit([operation]) == [None]
    assert state(store) == before


def test_what_waits_is_neither_replayed_nor_purged(store):
    """Nor does it lose its calls by that."""
    accept(store, 1)
    store.commit([BeginCall(1, "k", 1.0)])
    before = state(store)
    assert store.commit([Replay(1, BOT), Purge(1, BOT)]) == [None, False]
    assert state(store) == before


def test_within_a_commit_kinds_take_effect_in_their_order(store):
    """Calls, finished, rescheduled, dead, accepted, replayed, purged; however they were given."""
    accept(store, 1, 2, 3, 4)
    batch = [
        Purge(2, BOT),  # dead in the same batch
        Replay(3, BOT),
        new(5),
        dead_letter(2),
        dead_letter(3),
        dead_letter(1),  # finished before
        again(store, 2, attempt=1),
        again(store, 1, attempt=1),  # finished before
        Finish(1, BOT, "done"),
        BeginCall(3, "k", 1.0),
    ]
    assert store.commit(batch) == [True, Kept(6), Kept(5), *[None] * 7]
    assert ids(store) == [4, 5, 6]
    assert dead(store) == []
    assert [call.key for call in store.calls(6)] == ["k"]
    assert store.tallies() == {BOT: Tally(5, done=1, retried=1, purged=1, pending=3)}


# -- gaps ---------------------------------------------------------------------------------------


def test_the_next_after_a_dead_one_follows_a_gap(store):
    """The next of its key at its bot, be it here already; none else."""
    accept(store, 1, 2, 3)
    accept(store, 4, key="b")
    accept(store, 5, bot=OTHER)
    store.commit([dead_letter(1)])
    assert after_gap(store) == [2]
    assert not one(store, 5).after_gap


@pytest.mark.parametrize("how", ["dead", "skipped"])
@pytest.mark.parametrize("reopening", [False, True])
def test_a_gap_waits_for_the_next_of_its_key(opened, how, reopening):
    """Nothing is there to follow it yet: the first that comes does, told so, and only that."""
    store = opened.store
    accept(store, 1)
    store.commit([dead_letter(1) if how == "dead" else again(store, 1, attempt=1, skipped=True)])
    store = opened.reopen() if reopening else store
    assert accept(store, 2, key="b") == [Kept(2)]
    assert accept(store, 1, bot=OTHER) == [Kept(3)]
    assert accept(store, 3, 4) == [Kept(4, after_gap=True), Kept(5)]
    assert after_gap(opened.reopen()) == [4]
    assert accept(opened.store, 5) == [Kept(6)]


def test_a_gap_left_in_the_same_batch_is_told(store):
    """What ends comes before what is accepted, wherever it stands in the batch."""
    accept(store, 1)
    assert store.commit([new(2), new(3), dead_letter(1)]) == [Kept(2, after_gap=True), Kept(3), None]
    assert after_gap(store) == [2]


def test_several_gaps_before_one_update_are_one(store):
    """Two that died in a row: the next is told once."""
    accept(store, 1, 2)
    store.commit([dead_letter(1), dead_letter(2)])
    assert accept(store, 3, 4) == [Kept(3, after_gap=True), Kept(4)]


def test_a_gap_passes_through_what_dies_itself(store):
    """The one that was marked dies, too: the one behind it follows a gap."""
    accept(store, 1, 2, 3)
    store.commit([dead_letter(1)])
    store.commit([dead_letter(2)])
    assert after_gap(store) == [3]


def test_without_a_key_nothing_follows_a_gap(store):
    """Updates without a key are ordered with nothing."""
    accept(store, 1, 2, key="")
    store.commit([dead_letter(1, key="")])
    assert accept(store, 3, key="") == [Kept(3)]
    assert after_gap(store) == []


def test_a_skipped_update_leaves_one_gap(store):
    """When it is skipped first; not by being tried again, nor by dying or ending in the end."""
    accept(store, 1, 2, 3)
    store.commit([again(store, 1, attempt=1, skipped=True)])
    assert after_gap(store) == [2]
    store.commit([Finish(2, BOT, "done"), again(store, 1, attempt=2, skipped=True)])
    store.commit([dead_letter(1)])
    assert after_gap(store) == []
    assert accept(store, 4) == [Kept(4)]


def test_what_is_skipped_follows_no_gap(store):
    """It has left the order; the next that is in it is marked."""
    accept(store, 1, 2, 3)
    store.commit([again(store, 2, attempt=1, skipped=True)])
    assert after_gap(store) == [3]
    store.commit([Finish(3, BOT, "done"), dead_letter(1)])
    assert after_gap(store) == []
    assert accept(store, 4) == [Kept(4, after_gap=True)]


def test_what_is_skipped_is_read_with_its_bot_and_not_with_its_key(opened):
    """The lane of its key does not wait for it; whoever starts anew finds it."""
    accept(opened.store, 1, 2)
    opened.store.commit([again(opened.store, 1, attempt=1, skipped=True)])
    store = opened.reopen()
    assert (ids(store), ids(store, key="a")) == ([1, 2], [2])
    assert one(store, 1).skipped


def test_what_is_done_leaves_no_gap(store):
    """Nor does what was dropped or expired: nobody misses it."""
    accept(store, 1, 2)
    store.commit([Finish(1, BOT, "expired")])
    accept(store, 3)
    assert after_gap(store) == []


# -- calls --------------------------------------------------------------------------------------


@pytest.fixture(params=["apart", "together"])
def do(request, store):
    """Operations one commit each, or all in one: the outcome has to be the same."""

    def do(*operations):
        for batch in [[one] for one in operations] if request.param == "apart" else [operations]:
            store.commit(batch)

    return do


def test_a_call_is_recorded_with_its_answer(opened, do):
    """In the order in which they were begun; the update says that there are some, also after reopening."""
    accept(opened.store, 1, 2)
    do(
        BeginCall(1, "b", 5.0),
        BeginCall(1, "a", 6.0),
        EndCall(1, "a", b'{"ok":true}'),
        BeginCall(1, "c", 6.0),
    )
    store = opened.reopen()
    assert store.calls(1) == [
        RecordedCall("b", 5.0),
        RecordedCall("a", 6.0, b'{"ok":true}'),
        RecordedCall("c", 6.0),
    ]
    assert [update.called for update in waiting(store)] == [True, False]
    assert store.calls(2) == store.calls(99) == []


@pytest.mark.parametrize("size", [0, 1, 2, 513, 9000])
def test_it_is_known_which_of_many_calls_are_recorded(opened, do, size):
    """Begun or answered, of updates and dead letters; by id and key together, also after reopening."""
    accept(opened.store, 1, 2, 3)
    many = [f"k{number} \0é" for number in range(size)]
    do(*(BeginCall(1, key, 5.0) for key in many))
    do(BeginCall(2, "a", 5.0), EndCall(2, "a", b"1"), BeginCall(3, "gone", 5.0), EndCall(3, "gone", None))
    do(BeginCall(3, "b", 5.0))
    do(MoveToDead(2, BOT, "k", 1, "no", 1.0))
    made = {(1, key) for key in many} | {(2, "a"), (3, "b")}
    others = [(2, key) for key in many] + [(1, "a"), (3, "gone"), (99, "a")]
    assert opened.store.recorded([*others, *made]) == made
    assert opened.reopen().recorded([*made, *others, (2, "a")]) == made
    assert opened.store.recorded([]) == set()


@pytest.mark.parametrize("reopening", [False, True])
def test_a_call_that_was_not_made_is_forgotten(opened, do, reopening):
    """As if it had not been begun; begun again it is a new one."""
    accept(opened.store, 1)
    do(BeginCall(1, "k", 5.0), EndCall(1, "k", None))
    store = opened.reopen() if reopening else opened.store
    assert store.calls(1) == []
    assert not one(store, 1).called
    do(BeginCall(1, "k", 6.0)) if not reopening else store.commit([BeginCall(1, "k", 6.0)])
    assert store.calls(1) == [RecordedCall("k", 6.0)]


def test_of_several_calls_only_the_one_not_made_is_forgotten(store, do):
    """The others of the update stand."""
    accept(store, 1)
    do(BeginCall(1, "k", 5.0), BeginCall(1, "l", 6.0), EndCall(1, "k", None))
    assert store.calls(1) == [RecordedCall("l", 6.0)]
    assert one(store, 1).called


@pytest.mark.parametrize(
    ("operations", "call"),
    [
        ([BeginCall(1, "k", 7.0)], RecordedCall("k", 5.0, repeated=True)),
        ([BeginCall(1, "k", 7.0), EndCall(1, "k", b"1")], RecordedCall("k", 5.0, b"1", repeated=True)),
        ([BeginCall(1, "k", 7.0), EndCall(1, "k", None)], RecordedCall("k", 5.0, repeated=True)),
        ([EndCall(1, "k", b"1")], RecordedCall("k", 5.0, b"1")),
        ([EndCall(1, "k", b"1"), EndCall(1, "k", None)], RecordedCall("k", 5.0, b"1")),
        ([EndCall(1, "k", b"1"), BeginCall(1, "k", 7.0)], RecordedCall("k", 5.0, b"1", repeated=True)),
        ([EndCall(1, "k", b"1"), EndCall(1, "k", b"2")], RecordedCall("k", 5.0, b"2")),
        ([EndCall(1, "k", None), BeginCall(1, "k", 7.0)], RecordedCall("k", 7.0)),
    ],
)
def test_a_call_begun_again_is_marked(store, do, operations, call):
    """It may have been made twice, whatever comes of it; what has an answer keeps one."""
    accept(store, 1)
    store.commit([BeginCall(1, "k", 5.0)])
    do(*operations)
    assert store.calls(1) == [call]


def test_a_call_begun_again_at_once_is_marked(store, do):
    """The same where nothing of it was recorded before."""
    accept(store, 1)
    do(BeginCall(1, "k", 5.0), BeginCall(1, "k", 6.0), EndCall(1, "k", None))
    assert store.calls(1) == [RecordedCall("k", 5.0, repeated=True)]


def test_the_calls_of_what_is_finished_are_gone(store):
    """Those recorded before, and those of the same batch."""
    accept(store, 1, 2)
    store.commit([BeginCall(1, "k", 5.0), BeginCall(2, "k", 5.0)])
    store.commit([EndCall(1, "k", b"1"), BeginCall(1, "l", 6.0), Finish(1, BOT, "done")])
    assert store.calls(1) == []
    assert store.calls(2) == [RecordedCall("k", 5.0)]


def test_calls_stay_with_a_dead_letter_and_go_on_with_its_replay(opened):
    """A replay repeats nothing that succeeded; another replay neither."""
    accept(opened.store, 1)
    opened.store.commit([BeginCall(1, "k", 5.0), EndCall(1, "k", b"1"), dead_letter(1)])
    calls = [RecordedCall("k", 5.0, b"1")]
    store = opened.reopen()
    assert store.calls(1) == calls
    assert store.commit([Replay(1, BOT)]) == [Kept(2, after_gap=True)]
    assert (store.calls(1), store.calls(2)) == ([], calls)
    assert one(store, 2).called
    store.commit([dead_letter(2)])
    store.commit([Replay(2, BOT)])
    assert store.calls(3) == calls
    store.commit([Finish(3, BOT, "done")])
    assert store.calls(3) == []


def test_the_calls_of_what_is_purged_are_gone(store):
    """Nobody can ask for them any more."""
    accept(store, 1)
    store.commit([BeginCall(1, "k", 5.0), dead_letter(1)])
    store.commit([Purge(1, BOT)])
    assert store.calls(1) == []


# -- dead letters -------------------------------------------------------------------------------


def test_a_replayed_letter_is_at_the_tail_as_if_new(opened):
    """Behind what came meanwhile, attempts counted anew; its log goes on, its id is known as before."""
    store = opened.store
    accept(store, 1, 2, kind="edited_message")
    store.commit([again(store, 1, attempt=3, due=9.0, started_at=8.0, suspect=True, crashes=2, skipped=True)])
    store.commit([dead_letter(1, failure=Attempt(7.0, "KeyError"))])
    assert store.commit([Replay(1, BOT)]) == [Kept(3)]
    store = opened.reopen()
    assert waiting(store)[-1] == Waiting(3, BOT, 1, "a", b'{"update_id":1}', 100.0, kind="edited_message")
    assert (dead(store), store.commit([Replay(1, BOT)])) == ([], [None])
    assert accept(store, 1) == [DUPLICATE]
    store.commit([again(store, 3, Attempt(300.0, "TypeError"), attempt=1)])
    store.commit([dead_letter(3)])
    assert [attempt.error for attempt in dead(store)[0].history] == ["ValueError", "KeyError", "TypeError"]
    assert store.tallies()[BOT] == Tally(2, 1, retried=2, dead=1, pending=1)


def test_a_replayed_letter_may_follow_a_gap(store):
    """Its own, where nothing came since; the gap is closed by it."""
    accept(store, 1)
    store.commit([dead_letter(1)])
    assert store.commit([Replay(1, BOT)]) == [Kept(2, after_gap=True)]
    assert accept(store, 2) == [Kept(3)]


def test_what_is_purged_is_gone_and_counted(opened):
    """Once; it leaves no gap, and its id is known as before."""
    accept(opened.store, 1, 2)
    opened.store.commit([dead_letter(1)])
    assert opened.store.commit([Purge(1, BOT), Purge(1, BOT)]) == [True, False]
    store = opened.reopen()
    assert store.commit([Purge(1, BOT)]) == [False]
    assert dead(store) == []
    assert accept(store, 1) == [DUPLICATE]
    assert store.tallies() == {BOT: Tally(2, 1, purged=1, pending=1)}


@pytest.fixture
def letters(store):
    """Twelve dead letters, of two bots, that died in another order than they came in."""
    for number in range(1, 13):
        accept(store, number, bot=OTHER if number % 3 == 0 else BOT)
    for id_ in (5, 12, 1, 9, 3, 2, 11, 10, 4, 8, 7, 6):
        store.commit([dead_letter(id_, bot=OTHER if id_ % 3 == 0 else BOT, at=500.0 - id_)])
    return lambda **which: [letter.id for letter in dead(store, **which)]


def test_dead_letters_are_read_by_ascending_id(letters):
    """In the order in which they came, whenever they died."""
    assert letters() == list(range(1, 13))


def test_dead_letters_are_chosen(letters):
    """By id, bot and time of death, each and together."""
    assert letters(ids=[7, 3, 99]) == [3, 7]
    assert letters(ids=[]) == []
    assert letters(bot_id=OTHER) == [3, 6, 9, 12]
    assert letters(died_by=490.0) == [10, 11, 12]
    assert letters(died_by=490.5) == [10, 11, 12]
    assert letters(died_by=487.9) == []
    assert letters(bot_id=OTHER, died_by=493.0) == [9, 12]
    assert letters(ids=[3, 9, 10], bot_id=OTHER, died_by=493.0) == [9]
    assert letters(bot_id=3) == []


@pytest.mark.parametrize(
    "which", [{}, {"bot_id": BOT}, {"died_by": 495.0}, {"bot_id": BOT, "died_by": 495.0}]
)
def test_dead_letters_are_read_in_pages(letters, which):
    """Pages of any size give together what one read gives."""
    for limit in (1, 2, 5):
        read: list[int] = []
        while page := letters(**which, after=read[-1] if read else 0, limit=limit):
            assert len(page) <= limit
            read += page
        assert read == letters(**which)
    assert letters(**which, limit=0) == []


# -- tallies ------------------------------------------------------------------------------------


def test_every_update_is_in_the_tally_once(opened):
    """accepted = done + dropped + expired + dead + purged + pending, whatever became of each."""
    store = opened.store
    accept(store, *range(1, 11))
    accept(store, 1, 2, bot=OTHER)
    store.commit([Finish(1, BOT, "done"), Finish(2, BOT, "dropped"), Finish(3, BOT, "expired")])
    store.commit([again(store, 4, attempt=1), again(store, 5, attempt=1, skipped=True)])
    store.commit([dead_letter(6), dead_letter(7), dead_letter(8)])
    store.commit([Replay(6, BOT), Purge(7, BOT)])
    accept(store, 4, 5)
    tallies = opened.reopen().tallies()
    expected = Tally(10, 2, done=1, dropped=1, expired=1, retried=2, dead=1, purged=1, pending=5)
    assert tallies == {BOT: expected, OTHER: Tally(2, pending=2)}
    assert all(map(balanced, tallies.values()))


# -- forgetting ---------------------------------------------------------------------------------


def forget_all(store, before, limit):
    """Call `forget` often enough for one round over 100 ids."""
    forgotten = [store.forget(before, limit) for _ in range(100 // limit + 2)]
    assert max(forgotten) <= limit
    return sum(forgotten)


@pytest.mark.parametrize("limit", [7, 100])
def test_old_ids_are_forgotten_a_few_at_a_time(store, limit):
    """All of them in the end, and no younger one, whichever bot's."""
    for bot in (BOT, OTHER):
        for number in range(-5, 20):
            accept(store, number, bot=bot, at=float(number))
    assert forget_all(store, 10.0, limit) == 30
    assert accept(store, 10, 19) == [DUPLICATE] * 2
    assert accept(store, 9, -5) == [Kept(51), Kept(52)]
    assert forget_all(store, 20.0, limit) == 20
    assert forget_all(store, 20.0, limit) == 0


def test_what_is_forgotten_is_new_again(opened):
    """The price of a bounded memory; what waits or is dead is not touched."""
    store = opened.store
    accept(store, 1, 2, at=1.0)
    store.commit([dead_letter(2)])
    assert forget_all(store, 1.0, 10) == 0
    assert forget_all(store, 1.5, 10) == 2
    assert (ids(store), [letter.id for letter in dead(store)]) == ([1], [2])
    assert accept(opened.reopen(), 1) == [Kept(3, after_gap=True)]


# -- all or nothing -----------------------------------------------------------------------------


def prepared(store):
    """A store that holds something of every kind."""
    accept(store, *range(1, 7))
    store.commit(
        [
            BeginCall(1, "k", 1.0),
            BeginCall(2, "k", 1.0),
            EndCall(2, "k", b"1"),
            dead_letter(4),
            dead_letter(5),
        ]
    )
    store.commit([BeginCall(3, "k", 1.0)])
    accept(store, 7, key="b")
    store.commit([dead_letter(7, key="b"), Filter(BOT, 20, 100.0)])
    store.commit([keyed(21, "old", at=1.0), keyed(22, "known")])
    store.commit([Finish(8, BOT, "done"), Finish(9, BOT, "done")])


def everything(store):
    """A batch of all operations, among them those that open and close gaps."""
    return [
        BeginCall(1, "k", 2.0),
        EndCall(1, "k", b"2"),
        EndCall(3, "k", None),
        BeginCall(6, "l", 2.0),
        Finish(2, BOT, "done"),
        Reschedule(replace(one(store, 1), attempt=1, due=5.0, skipped=True), FAILURE),
        dead_letter(3, failure=FAILURE),
        new(1),
        new(8),
        new(9, "b"),
        new(10, "c", bot=OTHER),
        Filter(BOT, 23, 100.0),
        Filter(BOT, 22, 100.0),
        keyed(24, "old", "fresh"),
        keyed(25, "known", "lost"),
        Replay(4, BOT),
        Purge(5, BOT),
    ]


def test_a_commit_that_fails_changes_nothing(backend, tmp_path):
    """A fault at its first step, its second and so on, until one is beyond the last: all or nothing."""
    if backend.faulty is None:
        pytest.skip("this store cannot be made to fail")
    store = backend.make(tmp_path)()
    prepared(store)
    before, batch = state(store), everything(store)
    failed = 0
    for step in range(1, MOST_STEPS):
        try:
            with backend.faulty(store, step):
                results = store.commit(batch)
        except StoreError:
            failed += 1
            assert state(store) == before
            assert store.known(BOT, range(30)) == {*range(1, 8), 20, 21, 22}
            continue
        break
    assert failed >= len(batch) - 3  # of some kinds all are one step
    assert renumbered(10, results) == [
        *[None] * 7, DUPLICATE, Kept(10), Kept(11, after_gap=True), Kept(12),
        FILTERED, DUPLICATE, Kept(13), OnceSeen("known"), Kept(14), True,
    ]  # fmt: skip
    assert all(map(balanced, store.tallies().values()))
    assert [update.called for update in waiting(store)] == [True, True, False, False, False, False]
    again = store.commit([keyed(26, "old"), keyed(27, "fresh"), keyed(28, "lost")])
    assert renumbered(15, again) == [OnceSeen("old"), OnceSeen("fresh"), Kept(15)]
    store.close()


@pytest.mark.parametrize("doubt", [[], [new(1)]], ids=["sure", "in doubt"])
def test_a_commit_that_fails_commits_no_key(backend, tmp_path, doubt):
    """A fault at any step: each key is still free at the next try, and the one that was there counts."""
    if backend.faulty is None:
        pytest.skip("this store cannot be made to fail")
    store = backend.make(tmp_path)()
    store.commit([new(1), keyed(2, "known", at=50.0)])
    batch = [keyed(3, "one", "two"), keyed(4, "known", at=79.0), keyed(5, "one"), *doubt]
    for step in range(1, MOST_STEPS):
        try:
            with backend.faulty(store, step):
                results = store.commit(batch)
        except StoreError:
            assert store.known(BOT, range(9)) == {1, 2}
            continue
        break
    assert step > len(batch)
    expected = [Kept(3), OnceSeen("known"), OnceSeen("one"), *[DUPLICATE for _ in doubt]]
    assert renumbered(3, results) == expected
    assert store.forget_keys(79.9, 9) == 0
    assert store.forget_keys(80.0, 9) == 1
    assert store.forget_keys(1e9, 9) == 2
    store.close()


@pytest.mark.parametrize(
    "read",
    [
        partial(waiting, after=0),
        dead,
        lambda store: store.calls(1),
        lambda store: store.tallies(),
        lambda store: store.forget(1e9, 10),
        lambda store: store.forget_keys(1e9, 10),
        lambda store: store.known(BOT, [1]),
    ],
)
def test_a_read_that_fails_says_so(backend, tmp_path, read):
    """With the error of a store, and works the next time."""
    if backend.faulty is None:
        pytest.skip("this store cannot be made to fail")
    store = backend.make(tmp_path)()
    prepared(store)
    with backend.faulty(store, 1), pytest.raises(StoreError):
        read(store)
    read(store)
    store.close()
