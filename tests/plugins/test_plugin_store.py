"""What plugins remember: values in the inbox, written at once or with the end of an update."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import IntEnum

import pytest
import trio

from trioworkers.breakage import Breakage
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import ANY, PutValue, StoreError, StoreWrite
from trioworkers.plugin_store import MOST_ITEMS, MOST_VALUE, HandlingStore, InboxPluginStore
from trioworkers.records import Arrival

BOT = 7


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def open_again(request, tmp_path, clock):
    """Open the same inbox as often as it is called."""
    memory = MemoryStore()

    @asynccontextmanager
    async def opened():
        store = (
            memory if request.param == "memory" else open_sqlite(tmp_path / "inbox.db", durability="normal")
        )
        with trio.fail_after(20):
            async with open_inbox(store, clock=clock) as inbox:
                yield inbox

    return opened


@pytest.fixture
async def inbox(open_again):
    async with open_again() as inbox:
        yield inbox


@pytest.fixture
def store(inbox, clock):
    return InboxPluginStore(inbox, "p", clock)


@pytest.fixture
def writes():
    return []


@pytest.fixture
def handling(store, writes):
    """What one handling of an update sees, over values that are committed."""
    return HandlingStore(store, writes)


VALUES = [
    *("", "text", "ünï \U0001f355", 0, -(2**63), 2**64 - 1, 1.5, True, False, [], {}),
    [1, None, [{"a": [None]}]],
    {"b": 1, "a": {"": None}},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_a_value_comes_back_as_it_was_given(open_again, clock, value):
    """Whatever JSON can hold, with its type; also from a daemon that was started anew."""
    async with open_again() as inbox:
        store = InboxPluginStore(inbox, "p", clock)
        await store.set("k", value)
        assert await InboxPluginStore(inbox, "q", clock).get("k") is None
    async with open_again() as inbox:
        found = await InboxPluginStore(inbox, "p", clock).get("k")
    assert found == value
    assert type(found) is type(value)


async def test_a_value_is_removed_once(store):
    """The second time there is nothing to remove."""
    await store.set("k", 1)
    assert await store.delete("k")
    assert not await store.delete("k")
    assert await store.get("k") is None


async def test_a_value_is_there_for_its_time(store, clock):
    """And no longer; writing it again without a time keeps it."""
    await store.set("k", 1, ttl=10)
    await store.set("l", 1, ttl=0.5)
    clock.now += 9.9
    assert (await store.get("k"), await store.get("l")) == (1, None)
    await store.set("k", 2)
    clock.now += 1e9
    assert await store.items() == [("k", 2)]


async def test_a_value_is_set_where_the_expected_one_is(store, clock):
    """None stands for an absent one, on either side; one that ended is absent."""
    assert not await store.compare_and_set("k", 1, 2)
    assert await store.compare_and_set("k", None, 1, ttl=10)
    assert not await store.compare_and_set("k", None, 2)
    assert not await store.compare_and_set("k", 2, 3)
    clock.now += 10
    assert not await store.compare_and_set("k", 1, 2)
    assert await store.compare_and_set("k", None, 2)
    assert not await store.compare_and_set("k", 1, None)
    assert await store.compare_and_set("k", 2, None)
    assert await store.compare_and_set("k", None, None)
    assert await store.get("k") is None


@pytest.mark.parametrize(
    ("there", "expected", "same"),
    [
        ({"a": 1, "b": [{"c": 1, "d": 2}]}, {"b": [{"d": 2, "c": 1}], "a": 1}, True),
        ([1, 2], (1, 2), True),
        ([1, 2], [2, 1], False),
        (1, 1.0, False),
        (1, True, False),
    ],
)
async def test_values_are_compared_as_json(store, there, expected, same):
    """Without the order of an object's keys; a number keeps its type."""
    await store.set("k", there)
    assert await store.compare_and_set("k", expected, "new") is same


async def test_many_who_count_lose_no_count(store):
    """Each tries again until nobody came between its look and its write."""

    async def count():
        for _ in range(5):
            while True:
                before = await store.get("n")
                if await store.compare_and_set("n", before, (before or 0) + 1):
                    break

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(count)
    assert await store.get("n") == 40


async def test_items_are_read_in_pages(store):
    """By ascending key, from past the last of the page before."""
    for key in ("b/2", "a", "b/1", "b/3", "c"):
        await store.set(key, key)
    assert await store.items() == [(key, key) for key in ("a", "b/1", "b/2", "b/3", "c")]
    assert await store.items("b/", limit=2) == [("b/1", "b/1"), ("b/2", "b/2")]
    assert await store.items("b/", after="b/2", limit=2) == [("b/3", "b/3")]
    assert await store.items("d") == []


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        (1, TypeError, "key: expected a text, got int"),
        (None, TypeError, "key: expected a text, got NoneType"),
        ("", ValueError, "key: expected 1 to 256 characters, got 0"),
        ("k" * 257, ValueError, "key: expected 1 to 256 characters, got 257"),
        ("\ud800", ValueError, "key: expected a text without null characters and surrogates"),
        ("a\0b", ValueError, "key: expected a text without null characters and surrogates"),
    ],
    ids=repr,
)
async def test_what_cannot_be_a_key_is_refused(store, handling, writes, key, error, words):
    """By every method, before anything reaches the inbox."""
    for one in (store, handling):
        for ask in (one.get(key), one.set(key, 1), one.delete(key)):
            with pytest.raises(error, match=f"^{words}$"):
                await ask
    with pytest.raises(error, match=f"^{words}$"):
        await store.compare_and_set(key, None, 1)
    assert (await store.items(), writes) == ([], [])


async def test_the_longest_key_is_a_key(store):
    """256 characters, however many bytes they take."""
    key = "\U0001f355" * 256
    await store.set(key, 1)
    assert await store.items() == [(key, 1)]


class Colour(IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


def circle():
    one: list[object] = []
    one.append(one)
    return one


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (None, TypeError, "got None, which stands for an absent one"),
        (datetime(2020, 1, 1, tzinfo=UTC), TypeError, "expected a JSON value, got datetime"),
        (b"bytes", TypeError, "expected a JSON value, got bytes"),
        ({1, 2}, TypeError, "expected a JSON value, got set"),
        ([object()], TypeError, "expected a JSON value, got object"),
        (Colour.RED, TypeError, "expected a JSON value, got Colour"),
        (Text("x"), TypeError, "expected a JSON value, got Text"),
        ({1: 2}, TypeError, "expected texts as keys of objects, got int"),
        ([float("nan")], ValueError, "expected a JSON value, got nan"),
        ({"a": float("inf")}, ValueError, "expected a JSON value, got inf"),
        (2**64, ValueError, "expected integers of at most 64 bits"),
        (-(2**63) - 1, ValueError, "expected integers of at most 64 bits"),
        ("secret \ud800", ValueError, "expected texts without surrogates"),
        ({"secret \ud800": 1}, ValueError, "expected texts without surrogates"),
        (circle(), ValueError, "nested too deeply"),
        ("x" * MOST_VALUE, ValueError, f"expected at most {MOST_VALUE} bytes of JSON, got {MOST_VALUE + 2}"),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0][:30],
)
async def test_what_json_cannot_hold_is_refused(store, handling, writes, value, error, words):
    """It says what was found, without the value; what is there stays."""
    await store.set("k", 1)
    for one in (store, handling):
        with pytest.raises(error, match=words) as caught:
            await one.set("k", value)
        assert "secret" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    if value is not None:
        with pytest.raises(error, match=words):
            await store.compare_and_set("k", value, 1)
    assert (await store.get("k"), writes) == (1, [])


async def test_the_longest_value_is_a_value(store):
    """A mebibyte of JSON, its quotes included."""
    await store.set("k", "x" * (MOST_VALUE - 2))
    assert len(await store.get("k")) == MOST_VALUE - 2


@pytest.mark.parametrize(
    ("ttl", "error", "words"),
    [
        (0, ValueError, "ttl: expected more than 0 seconds, got 0"),
        (-1.5, ValueError, "ttl: expected more than 0 seconds, got -1.5"),
        (float("inf"), ValueError, "ttl: expected more than 0 seconds, got inf"),
        (float("nan"), ValueError, "ttl: expected more than 0 seconds, got nan"),
        ("30s", TypeError, "ttl: expected seconds, got str"),
        (True, TypeError, "ttl: expected seconds, got bool"),
    ],
)
async def test_what_cannot_be_a_time_is_refused(store, handling, writes, ttl, error, words):
    """A value that would never be there, or a time that is none."""
    for ask in (
        *(store.set("k", 1, ttl), store.set("k", 1, ttl=ttl)),
        *(store.compare_and_set("k", None, 1, ttl), handling.set("k", 1, ttl)),
    ):
        with pytest.raises(error, match=f"^{words}$"):
            await ask
    assert (await store.get("k"), writes) == (None, [])


@pytest.mark.parametrize(
    ("which", "error", "words"),
    [
        ({"limit": 0}, ValueError, f"limit: expected 1 to {MOST_ITEMS}, got 0"),
        ({"limit": MOST_ITEMS + 1}, ValueError, f"limit: expected 1 to {MOST_ITEMS}, got {MOST_ITEMS + 1}"),
        ({"limit": 1.0}, TypeError, "limit: expected an integer, got float"),
        ({"prefix": None}, TypeError, "prefix: expected a text, got NoneType"),
        ({"prefix": "\ud800"}, ValueError, "prefix: expected a text without null characters and surrogates"),
        ({"after": "\udfff"}, ValueError, "after: expected a text without null characters and surrogates"),
    ],
)
async def test_what_cannot_be_listed_is_refused(store, handling, which, error, words):
    """The inbox is not asked; it takes what it cannot read for damage."""
    for one in (store, handling):
        with pytest.raises(error, match=f"^{words}$"):
            await one.items(**which)
    assert await store.items() == []


async def test_a_value_that_is_not_json_any_more_is_an_error_of_the_store(inbox, store, handling):
    """The words do not quote it, and the others can be read."""
    await inbox.put(PutValue("p", "bad", b'{"secret', None, ANY, 1.0))
    await store.set("good", 1)
    for ask in (store.get("bad"), store.items(), handling.get("bad")):
        with pytest.raises(StoreError, match=r"^a value of the plugin p is not JSON any more$"):
            await ask
    assert await store.get("good") == 1


# -- in a handling --------------------------------------------------------------------------------


async def test_a_handling_sees_its_own_writes_and_nobody_else_does(store, handling, writes):
    """They are gathered: at most one of each key, in the order of the first ones."""
    await store.set("there", 1)
    await store.set("gone", 1)
    await handling.set("new", {"n": 1})
    await handling.set("there", 2)
    assert await handling.delete("gone")
    assert not await handling.delete("gone")
    assert not await handling.delete("never")
    await handling.set("new", {"n": 2}, ttl=10)
    assert [await handling.get(key) for key in ("new", "there", "gone", "never")] == [{"n": 2}, 2, None, None]
    assert await handling.items() == [("new", {"n": 2}), ("there", 2)]
    assert await store.items() == [("gone", 1), ("there", 1)]
    assert writes == [
        StoreWrite("p", "new", b'{"n":2}', 1_010.0),
        StoreWrite("p", "there", b"2"),
        StoreWrite("p", "gone", None),
        StoreWrite("p", "never", None),
    ]


async def test_a_value_that_is_set_after_it_was_removed_is_there(store, handling, writes):
    """And the other way round."""
    await store.set("k", 1)
    await handling.delete("k")
    await handling.set("k", 2)
    assert await handling.items() == [("k", 2)]
    assert await handling.delete("k")
    assert await handling.items() == []
    assert writes == [StoreWrite("p", "k", None)]


async def test_an_own_value_is_there_for_its_time(handling, clock):
    """As it will be once it is committed."""
    await handling.set("k", 1, ttl=5)
    clock.now += 4.9
    assert (await handling.get("k"), await handling.items()) == (1, [("k", 1)])
    clock.now += 0.1
    assert (await handling.get("k"), await handling.items()) == (None, [])
    assert not await handling.delete("k")


async def test_a_given_value_may_be_changed_afterwards(handling):
    """What is written is as it was when it was given, and what is read is nobody else's."""
    value = {"n": [1]}
    await handling.set("k", value)
    value["n"].append(2)
    (await handling.get("k"))["n"].append(3)
    assert await handling.get("k") == {"n": [1]}


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
async def test_pages_of_a_handling_leave_nothing_out(store, handling, limit):
    """Own removals make no page shorter, and own values come in their places."""
    for n in range(12):
        await store.set(f"k{n:02}", "old")
    await store.set("other", "old")
    for n in range(2, 8):
        await handling.delete(f"k{n:02}")
    for key in ("k00", "k04", "k05x", "k20", "j", "l"):
        await handling.set(key, "new")
    found, after = [], ""
    while page := await handling.items("k", after, limit):
        assert len(page) <= limit
        found += page
        after = page[-1][0]
        if len(page) < limit:
            break
    old = {f"k{n:02}": "old" for n in (0, 1, 8, 9, 10, 11)}
    kept = old | dict.fromkeys(("k00", "k04", "k05x", "k20"), "new")
    assert found == sorted(kept.items())


async def test_a_handling_cannot_expect(handling, writes):
    """Whether an expectation is met at the end cannot be known before."""
    with pytest.raises(NotImplementedError, match="without an expectation"):
        await handling.compare_and_set("k", None, 1)
    assert writes == []


async def test_what_was_gathered_is_committed_with_the_end_of_the_update(inbox, store, handling, writes):
    """The next update of the chat, which is handed out after that, sees it."""
    await inbox.accept(BOT, [Arrival(n, "message", "chat", None, None, b"{}") for n in (1, 2)])
    backlog = inbox.claim(BOT, Breakage())

    async def take():
        while (update := backlog.ordinary.take()) is None:
            await backlog.ordinary.wait_change()
        return update

    first = await take()
    await handling.set("k", 1)
    assert await store.get("k") is None
    backlog.finish(first, "done", tuple(writes))
    await take()
    assert await HandlingStore(store, []).get("k") == 1
