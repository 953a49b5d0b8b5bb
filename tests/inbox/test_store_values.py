"""What every store promises about the values of plugins, each promise against each store."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from renumbered import renumbered

from trioworkers.inbox.store import (
    ANY,
    DUPLICATE,
    FILTERED,
    Accept,
    Filter,
    Finish,
    Kept,
    MoveToDead,
    OnceSeen,
    PutValue,
    StoreError,
    StoreWrite,
)
from trioworkers.records import Once

BOT = 7_000_000_001
NOW = 100.0


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


def put(key="k", value=b"1", until=None, expected=ANY, *, at=NOW, plugin="p"):
    return PutValue(plugin, key, value, until, expected, at)


def write(key="k", value=b"1", until=None, *, plugin="p"):
    return StoreWrite(plugin, key, value, until)


def new(number, *writes, once=()):
    return Accept(BOT, number, "a", b"{}", NOW, once=once, writes=writes)


def done(id_, *writes, outcome="done"):
    return Finish(id_, BOT, outcome, writes)


def get(store, key="k", *, now=NOW, plugin="p"):
    return store.value(plugin, key, now)


def listed(store, *, plugin="p", prefix="", after="", limit=10_000, now=NOW):
    return list(store.values(plugin, prefix, after, limit, now))


def test_a_value_is_there_until_it_is_written_again_or_removed(opened):
    """It survives the store's end, and of two plugins each has its own."""
    assert get(opened.store) is None
    assert opened.store.commit([put(), put(value=b"other", plugin="q"), put("empty", b"")]) == [True] * 3
    store = opened.reopen()
    assert (get(store), get(store, plugin="q"), get(store, "empty")) == (b"1", b"other", b"")
    assert store.commit([put(value=b"2")]) == [True]
    assert listed(store) == [("empty", b""), ("k", b"2")]
    assert store.commit([put(value=None)]) == [True]
    store = opened.reopen()
    assert (get(store), get(store, plugin="q")) == (None, b"other")


@pytest.mark.parametrize(
    ("there", "expected", "value", "result", "left"),
    [
        (None, ANY, b"2", True, b"2"),
        (b"1", ANY, b"2", True, b"2"),
        (None, ANY, None, False, None),
        (b"1", ANY, None, True, None),
        (None, None, b"2", True, b"2"),
        (b"1", None, b"2", False, b"1"),
        (None, None, None, True, None),
        (b"1", None, None, False, b"1"),
        (None, b"1", b"2", False, None),
        (b"1", b"1", b"2", True, b"2"),
        (b"1", b"3", b"2", False, b"1"),
        (b"1", b"1", None, True, None),
        (b"1", b"3", None, False, b"1"),
        (b"", None, b"2", False, b""),
        (b"", b"", b"2", True, b"2"),
    ],
)
@pytest.mark.parametrize("together", [False, True], ids=["apart", "in one commit"])
def test_a_value_is_put_where_the_expected_one_stands(store, there, expected, value, result, left, together):
    """The result is whether it stood there; also when it came in the same commit."""
    before = [] if there is None else [put(value=there)]
    if together:
        assert store.commit([*before, put(value=value, expected=expected)]) == [*[True] * len(before), result]
    else:
        store.commit(before)
        assert store.commit([put(value=value, expected=expected)]) == [result]
    assert get(store) == left


def test_of_two_who_expect_the_same_one_gets_it(store):
    """As two tasks do that count one up."""
    store.commit([put(value=b"1")])
    assert store.commit([put(value=b"2", expected=b"1"), put(value=b"3", expected=b"1")]) == [True, False]
    assert get(store) == b"2"


def test_a_value_that_ended_is_as_absent(store):
    """At once, for whoever reads, lists, expects or removes; before that it is as any other."""
    store.commit([put(until=200.0), put("other")])
    assert get(store, now=199.9) == b"1"
    assert [key for key, _ in listed(store, now=199.9)] == ["k", "other"]
    assert store.commit([put(value=b"2", expected=None, at=199.9)]) == [False]
    assert get(store, now=200.0) is None
    assert [key for key, _ in listed(store, now=200.0)] == ["other"]
    assert store.commit([put(value=b"2", expected=b"1", at=200.0)]) == [False]
    assert store.commit([put(value=None, at=200.0)]) == [False]
    assert store.commit([put(value=b"2", expected=None, at=200.0)]) == [True]
    assert get(store, now=1e9) == b"2"


def test_one_commit_judges_each_put_at_its_own_time(store):
    """What one of them gives until a time is absent for one that comes after it."""
    assert store.commit(
        [
            put(value=b"1", until=50.0, at=10.0),
            put(value=b"2", until=60.0, expected=None, at=49.9),
            put(value=b"3", until=60.0, expected=None, at=50.0),
            put(value=b"4", expected=b"3", at=60.0),
        ]
    ) == [True, False, True, False]
    assert (get(store, now=59.9), get(store, now=60.0)) == (b"3", None)


def test_writing_again_sets_the_end_anew(store):
    """To another time, or to none."""
    store.commit([put(until=200.0), put("l", until=200.0)])
    store.commit([put(until=300.0), put("l")])
    assert [key for key, _ in listed(store, now=299.0)] == ["k", "l"]
    assert store.forget_values(299.0, 10) == 0
    assert [key for key, _ in listed(store, now=1e9)] == ["l"]


# -- together with updates ------------------------------------------------------------------------


def test_what_comes_with_an_update_is_written_if_it_is_kept(store):
    """Not with a duplicate, nor with one whose once key counts."""
    once = (Once("key", 30.0),)
    assert store.commit([new(1, write("first"), once=once), Filter(BOT, 2, NOW)]) == [Kept(1), FILTERED]
    batch = [
        new(1, write("duplicate")),
        new(2, write("filtered before")),
        new(3, write("seen"), once=once),
        new(4, write("second"), write("third", b"3", 150.0)),
        new(4, write("twice in one batch")),
    ]
    assert store.commit(batch) == [DUPLICATE, DUPLICATE, OnceSeen("key"), Kept(2), DUPLICATE]
    assert listed(store) == [("first", b"1"), ("second", b"1"), ("third", b"3")]
    assert [key for key, _ in listed(store, now=150.0)] == ["first", "second"]


@pytest.mark.parametrize("outcome", ["done", "dropped", "expired"])
def test_what_comes_with_an_end_is_written_with_it(opened, outcome):
    """Values are written and removed; they are there when the store is opened again."""
    store = opened.store
    store.commit([new(1), put("gone"), put("changed")])
    end = done(1, write("gone", None), write("changed", b"2"), write("new"), outcome=outcome)
    assert store.commit([end]) == [None]
    assert listed(opened.reopen()) == [("changed", b"2"), ("new", b"1")]


def test_what_comes_with_an_end_that_is_none_is_not_written(store):
    """The update ended before, is a dead letter, never was, or ended in the same commit."""
    store.commit([new(number) for number in range(4)])
    store.commit([done(1), MoveToDead(2, BOT, "a", 1, "no use", NOW)])
    store.commit([done(1, write("ended")), done(2, write("dead")), done(999, write("never"))])
    assert listed(store) == []
    store.commit([done(3, write("first")), done(3, write("second")), done(4, write("fourth"))])
    assert listed(store) == [("first", b"1"), ("fourth", b"1")]


def test_writes_of_one_key_take_effect_in_the_order_of_their_kinds(store):
    """Ends, then arrivals, then puts, wherever they stand; within a kind in the order given."""
    store.commit([new(number) for number in range(1, 5)])
    assert store.commit([new(5, write(value=b"arrival")), done(1, write(value=b"end"))]) == [Kept(5), None]
    assert get(store) == b"arrival"
    batch = [
        put(value=b"put", expected=b"arrival 7"),
        new(6, write(value=b"arrival 6")),
        new(7, write(value=b"arrival 7")),
        done(2, write(value=b"end")),
    ]
    assert store.commit(batch) == [True, Kept(6), Kept(7), None]
    assert get(store) == b"put"
    store.commit([done(3, write(value=b"1"), write(value=None)), done(4, write("l", None), write("l"))])
    assert listed(store) == [("l", b"1")]


@pytest.mark.parametrize("size", [1, 2, 3, 511, 512, 513, 1537])
def test_batches_of_any_size_are_written_whole(store, size):
    """Put, expected, removed, and together with updates."""
    keys = [f"{number:05}" for number in range(size)]
    assert store.commit([put(key) for key in keys]) == [True] * size
    assert listed(store) == [(key, b"1") for key in keys]
    assert store.commit([put(key, b"2", expected=b"1") for key in keys]) == [True] * size
    store.commit([new(number, write(key, b"3")) for number, key in enumerate(keys)])
    assert listed(store) == [(key, b"3") for key in keys]
    store.commit([done(id_, write(key, None)) for id_, key in enumerate(keys, 1)])
    assert listed(store) == []


# -- listing --------------------------------------------------------------------------------------


def test_keys_that_begin_with_a_prefix_are_listed_from_where_it_stands(store):
    """The prefix itself is one of them; a page begins past the key that is given."""
    store.commit([put(key) for key in ("a", "b", "b/1", "b/2", "b/3", "c")])

    def keys(**which):
        return [key for key, _ in listed(store, **which)]

    assert keys(prefix="b") == ["b", "b/1", "b/2", "b/3"]
    assert keys(prefix="b", after="b") == keys(prefix="b/", after="a") == ["b/1", "b/2", "b/3"]
    assert keys(prefix="b/", after="b/1", limit=1) == ["b/2"]
    assert keys(prefix="b/", after="c") == keys(prefix="bb") == keys(limit=0) == []
    assert keys(after="b/2") == ["b/3", "c"]


AWKWARD = [
    *("", "a", "ab", "b", "%", "_", "é", "A"),
    *("a\ud7ff", "a\ue000", "a\U0010ffff", "a\U0010ffff\U0010ffff"),
]
LETTERS = ["a", "b", "%", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"]
texts = st.lists(st.sampled_from(LETTERS)).map("".join)


OWNERS = count()  # a plugin for each example: they share one store


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    keys=st.sets(texts | st.sampled_from(AWKWARD), max_size=12),
    prefix=texts,
    after=texts,
    limit=st.integers(0, 5),
    ended=st.sets(st.integers(0, 12)),
)
def test_keys_are_listed_as_python_orders_and_compares_them(store, keys, prefix, after, limit, ended):
    """By prefix, past a key, so many, those that ended left out; another plugin's never."""
    owner = f"{next(OWNERS):09}"
    ends = {key: 50.0 if place in ended else None for place, key in enumerate(sorted(keys))}
    store.commit([put(key, key.encode(), until, at=1.0, plugin=owner) for key, until in ends.items()])
    store.commit([put(key, plugin=f"{owner} other") for key in keys])
    kept = [key for key in sorted(keys) if ends[key] is None]
    there = [(key, key.encode()) for key in kept if key > after and key.startswith(prefix)]
    assert listed(store, plugin=owner, prefix=prefix, after=after, limit=limit) == there[:limit]
    assert [key for key, _ in listed(store, plugin=owner)] == [key for key in kept if key]


# -- forgetting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_values_that_ended_are_forgotten_a_few_at_a_time(opened, limit):
    """The first to end first; those that did not end, or never do, stay."""
    store = opened.store
    store.commit([put(f"{number}", until=10.0 + number, plugin="pq"[number % 2]) for number in range(10)])
    store.commit([put("stays")])
    assert store.forget_values(9.9, limit) == 0
    forgotten = [store.forget_values(16.0, limit) for _ in range(7 // limit + 2)]
    assert sum(forgotten) == 7
    assert max(forgotten) == min(7, limit)
    store = opened.reopen()
    left = [key for plugin in "pq" for key, _ in listed(store, plugin=plugin, now=0.0)]
    assert sorted(left) == ["7", "8", "9", "stays"]
    store.commit([put("late", until=1.0), put("early", until=0.5)])
    assert store.forget_values(2.0, 1) == 1
    assert (get(store, "early", now=0.0), get(store, "late", now=0.0)) == (None, b"1")


# -- all or nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize("doubt", [[], [done(999)]], ids=["sure", "in doubt"])
def test_a_commit_that_fails_writes_no_value(backend, tmp_path, doubt):
    """A fault at its first step, its second and so on, until one is beyond the last."""
    store = backend.make(tmp_path)()
    store.commit([new(1), new(2), put("old"), put("gone"), put("ends", until=150.0)])
    before = listed(store)
    batch = [
        new(3, write("arrival"), write("gone", None)),
        done(1, write("end"), write("old", b"2")),
        put("put", expected=None),
        put("ends", b"3", expected=None, at=150.0),
        put("old", expected=b"1"),
        *doubt,
    ]
    for step in range(1, 5000):
        try:
            with backend.faulty(store, step):
                results = store.commit(batch)
        except StoreError:
            assert listed(store) == before
            continue
        break
    assert step > len(batch)
    assert renumbered(3, results) == [Kept(3), None, True, True, False, *[None for _ in doubt]]
    assert listed(store) == [("arrival", b"1"), ("end", b"1"), ("ends", b"3"), ("old", b"2"), ("put", b"1")]
    store.close()


@pytest.mark.parametrize("read", [get, listed, lambda store: store.forget_values(NOW, 10)])
def test_a_read_that_fails_says_so(backend, tmp_path, read):
    """With the error of a store, and works the next time."""
    store = backend.make(tmp_path)()
    store.commit([put(), put("old", until=1.0)])
    with backend.faulty(store, 1), pytest.raises(StoreError):
        read(store)
    assert read(store)
    store.close()
