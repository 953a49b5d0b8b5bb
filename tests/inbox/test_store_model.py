"""Each store beside the plainest: whatever is done, in whatever batches, they answer the same."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from postgres_server import postgres_server, program

from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.postgres.alone import Alone
from trioworkers.inbox.postgres.store import postgres_store
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import (
    ANY,
    Accept,
    BeginCall,
    EndCall,
    Filter,
    Finish,
    MoveToDead,
    Purge,
    PutValue,
    Replay,
    Reschedule,
    StoreError,
    StoreWrite,
)
from trioworkers.inbox.tally import Tally
from trioworkers.records import Attempt, Once, Waiting

BOTS = (1, 2)
MOST_IDS = 40
few = st.integers(0, 3)
times = st.integers(0, 8).map(float)
ids = st.integers(1, 12)
calls = st.sampled_from(["sendMessage 1", "sendPhoto 2"])
attempts = st.builds(
    Attempt, times, st.sampled_from(["ValueError", "KeyError"]), st.just(()) | st.just(("k",))
)
once = st.builds(Once, st.sampled_from(["k", "l", ""]), st.sampled_from([1.0, 3.0, 100.0]))
place = st.sampled_from("pq"), st.sampled_from(["k", "kl", "l"])
value = st.none() | st.sampled_from([b"1", b"2"])
until = st.none() | times
writes = st.just(()) | st.lists(st.builds(StoreWrite, *place, value, until), max_size=3).map(tuple)
puts = st.builds(PutValue, *place, value, until, st.just(ANY) | value, times)
accepts = st.builds(
    lambda bot, number, key, at, *rest: Accept(bot, number, key, b"%d" % number, at, "message", *rest),
    st.sampled_from(BOTS),
    st.integers(0, 20),
    st.sampled_from(["a", "a", "b", ""]),
    times,
    st.just(()) | st.lists(once, max_size=3).map(tuple),
    writes,
)
filters = st.builds(Filter, st.sampled_from(BOTS), st.integers(0, 20), times)


class StoresMachine(RuleBasedStateMachine):
    """Any batches of any operations; SQLite is closed, opened and killed in between."""

    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory()
        self.store = self.open()
        self.memory = MemoryStore()
        self.offered: Counter[int] = Counter()
        self.home: dict[int, tuple[int, str]] = {}  # id → bot and key, of all that ever were

    def open(self):
        return open_sqlite(Path(self.folder.name) / "inbox.db", durability="normal")

    def teardown(self):
        self.store.close()
        self.folder.cleanup()

    @rule(batch=st.lists(accepts | filters, min_size=1, max_size=6))
    def accept(self, batch):
        self.commit(batch)

    @rule(data=st.data(), size=st.integers(1, 8), broken=st.sampled_from([False, False, False, True]))
    def work(self, data, size, broken):
        batch = [data.draw(self.operation()) for _ in range(size)]
        self.fail(batch) if broken else self.commit(batch)

    def operation(self):
        """One that is possible now; those on updates are about any that ever was, or none."""
        return st.one_of(
            accepts,
            filters,
            puts,
            st.builds(BeginCall, ids, calls, times),
            st.builds(EndCall, ids, calls, st.none() | st.just(b"1") | st.just(b"2")),
            ids.flatmap(self.on_update),
        )

    def on_update(self, id_):
        bot, key = self.home.get(id_, (BOTS[0], "a"))
        update = st.builds(
            Waiting,
            *map(st.just, (id_, bot, id_, key, b"", 0.0)),
            attempt=few,
            due=times,
            started_at=st.none() | times,
            suspect=st.booleans(),
            crashes=few,
            skipped=st.booleans(),
        )
        return st.one_of(
            st.builds(
                Finish,
                *(st.just(id_), st.just(bot), st.sampled_from(["done", "dropped", "expired"])),
                writes,
            ),
            st.tuples(update, attempts).map(lambda both: Reschedule(*both)),
            st.tuples(times, st.none() | attempts).map(
                lambda end: MoveToDead(id_, bot, key, 1, "no use", *end)
            ),
            st.just(Replay(id_, bot)),
            st.just(Purge(id_, bot)),
        )

    def commit(self, batch):
        self.offered.update(one.bot_id for one in batch if isinstance(one, Accept | Filter))
        results = self.memory.commit(batch)
        assert self.store.commit(batch) == results
        for bot in BOTS:
            waiting = self.memory.waiting(bot, Fetch(after=0, limit=1000)).updates
            self.home.update((w.id, (w.bot_id, w.key)) for w in waiting)

    def fail(self, batch):
        """The store fails in the batch, or changes nothing by it."""
        self.forbid(True)
        try:
            self.store.commit(batch)
        except StoreError:
            pass
        else:
            before = self.seen(self.memory)
            self.offered.update(one.bot_id for one in batch if isinstance(one, Accept | Filter))
            self.memory.commit(batch)
            assert self.seen(self.memory) == before
        self.forbid(False)

    def forbid(self, forbidden):
        """Let the store refuse writes, or not."""
        self.store._connection.execute(f"PRAGMA query_only = {forbidden:d}")

    def select(self, query):
        """Rows of the store's own tables."""
        return self.store._connection.execute(query).fetchall()

    @rule(before=times)
    def forget(self, before):
        """SQLite looks at a part of the ids each time; so often it has looked at all."""
        assert sum(self.store.forget(before, 25) for _ in range(4)) == self.memory.forget(before, 100)

    @rule(now=times | st.just(110.0), limit=st.integers(1, 4))
    def forget_keys(self, now, limit):
        assert self.store.forget_keys(now, limit) == self.memory.forget_keys(now, limit)

    @rule(now=times, limit=st.integers(1, 4))
    def forget_values(self, now, limit):
        assert self.store.forget_values(now, limit) == self.memory.forget_values(now, limit)

    @rule(
        plugin=st.sampled_from("pqr"),
        prefix=st.sampled_from(["", "k", "kl", "m"]),
        after=st.sampled_from(["", "k", "kl"]),
        limit=st.integers(0, 3),
        now=times,
    )
    def read_values(self, plugin, **which):
        assert self.store.values(plugin, **which) == self.memory.values(plugin, **which)
        key = which["prefix"]
        assert self.store.value(plugin, key, which["now"]) == self.memory.value(plugin, key, which["now"])

    @rule(bot=st.sampled_from(BOTS), chosen=st.lists(st.integers(-1, 22), max_size=30))
    def ask_for_known_ids(self, bot, chosen):
        assert self.store.known(bot, chosen) == self.memory.known(bot, chosen)

    @rule()
    def reopen(self):
        self.store.close()
        self.store = self.open()

    @rule()
    def tend(self):
        self.store.tend(prove=True)

    @rule()
    def reopen_without_closing(self):
        self.leave()

    def leave(self):
        """Begin anew, as after a death."""
        abandoned, self.store = self.store, self.open()
        abandoned.close()

    @rule(
        bot=st.sampled_from(BOTS),
        after=ids,
        until=st.none() | ids,
        key=st.sampled_from([None, "a", "b", ""]),
        without=st.lists(st.sampled_from(["a", "b", "", "'\"\\\u2028"]), max_size=3),
        limit=st.integers(1, 5),
        most=st.none() | st.integers(1, 5),
    )
    def read(self, bot, **which):
        fetch = Fetch(**which)
        self.compare(bot, fetch, self.store.waiting(bot, fetch), self.memory.waiting(bot, fetch))

    def compare(self, bot, fetch, page, expected):
        assert page == expected

    @rule(
        chosen=st.none() | st.lists(ids, max_size=4),
        bot=st.none() | st.sampled_from(BOTS),
        died_by=st.none() | times,
        after=st.integers(0, 6),
        limit=st.integers(0, 5),
    )
    def read_letters(self, chosen, bot, died_by, after, limit):
        which = {"ids": chosen, "bot_id": bot, "died_by": died_by, "after": after, "limit": limit}
        assert self.store.dead(**which) == self.memory.dead(**which)

    @staticmethod
    def seen(store):
        return (
            [store.waiting(bot, Fetch(after=0, limit=1000)).updates for bot in BOTS],
            store.dead(limit=1000),
            [store.calls(id_) for id_ in range(1, MOST_IDS)],
            [store.known(bot, range(21)) for bot in BOTS],
            {bot_id: tally for bot_id, tally in store.tallies().items() if tally != Tally()},
            [store.values(plugin, "", "", 1000, 0.5) for plugin in "pq"],
        )

    @invariant()
    def they_hold_the_same(self):
        assert self.seen(self.store) == self.seen(self.memory)

    @invariant()
    def they_remember_the_same_keys(self):
        rows = self.select("SELECT bot_id, key, at, until FROM once")
        kept = {(bot, text(key)): committed for bot, key, *committed in rows}
        assert kept == {place: [one.at, one.until] for place, one in self.memory._once.items()}

    @invariant()
    def they_keep_the_same_values(self):
        rows = self.select("SELECT plugin, key, value, until FROM plugin_values")
        assert {(plugin, text(key)): kept for plugin, key, *kept in rows} == {
            place: [*kept] for place, kept in self.memory._values.items()
        }

    @invariant()
    def the_tallies_add_up(self):
        for bot, tally in self.memory.tallies().items():
            ended = tally.done + tally.dropped + tally.expired + tally.dead + tally.purged
            assert tally.accepted == ended + tally.pending
            offered = tally.accepted + tally.duplicates + tally.filtered
            assert offered == self.offered[bot]


class PostgresMachine(StoresMachine):
    """On a server, whose connection is lost in between. A commit that fails may leave ids out: none does."""

    def __init__(self):
        self.url = postgres_server().admin(postgres_server().database())
        super().__init__()

    def open(self):
        store = postgres_store(self.url, Alone())
        store.open()
        return store

    def fail(self, batch):
        self.commit(batch)

    def compare(self, bot, fetch, page, expected):
        """It knows the bot's own last id, so it sees that there is no more where others have to look."""
        assert page.updates == expected.updates
        if page.more:
            assert (expected.more, page.until) == (True, expected.until)
        elif expected.more:
            past = Fetch(expected.until, limit=1, until=fetch.until)
            assert self.memory.waiting(bot, past).updates == []

    def select(self, query):
        return self.store._rows(query, ())

    def leave(self):
        self.store._session.lose()


def text(key):
    """A key as it was given: one store has its bytes."""
    return key.decode() if isinstance(key, bytes) else key


TestStoresMachine = StoresMachine.TestCase
TestStoresMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
"""Results, contents, calls and tallies are those of the plainest store there could be."""

TestPostgresMachine = PostgresMachine.TestCase
TestPostgresMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestPostgresMachine = pytest.mark.skipif(
    program("initdb") is None and "CI" not in os.environ, reason="no server"
)(TestPostgresMachine)
"""The same on a server."""
