"""The calls of a node that died: what it called without telling is repeated with a mark, never without."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest
import trio
from msgspec.structs import replace
from postgres_server import needs_postgres, postgres_server
from shared_lives import end_life, gives_back, node, owns

from trioworkers.breakage import Breakage
from trioworkers.events import Events
from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.postgres import lease_statements
from trioworkers.inbox.postgres.lease_statements import Claims, claim
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import Accept, BeginCall, EndCall, Finish, Kept, Reschedule
from trioworkers.nursery.delivery import Activity, Delivery, Settling
from trioworkers.nursery.delivery_recorder import recorded_calls
from trioworkers.records import ANY_CALL, Arrival, Attempt, RecordedCall

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.inbox.store import Store

BOT, OTHER = 7_000_000_001, 7_000_000_002
KEY = "sendMessage 5 c0ffee 1"


@pytest.fixture
def database() -> str:
    needs_postgres()
    return postgres_server().database()


def accept(store: Store, *keys: str, bot: int = BOT, first: int = 1) -> list[int]:
    """Updates with these keys; their ids."""
    results = store.commit([Accept(bot, number, key, b"{}", 1.0) for number, key in enumerate(keys, first)])
    return [one.id for one in results if isinstance(one, Kept)]


def doubted(store: Store, ids: list[int]) -> list[bool]:
    """Of each, whether its calls are unknown."""
    return [any(call.key == ANY_CALL for call in store.calls(id_)) for id_ in ids]


def test_what_can_have_been_in_flight_is_in_doubt_when_its_node_died(database: str) -> None:
    """The first of each key and those without one, of the bots that the node had; nothing else."""
    with node(database, "a") as one, node(database, "b") as two:
        ids = accept(one, "k", "k", "j", "", "", "j")
        others = accept(one, "k", bot=OTHER)
        owns(database, one, [BOT])
        one.commit([BeginCall(ids[0], KEY, 2.0), EndCall(ids[0], KEY, b"5")])
        end_life(database, one)
        assert owns(database, two, [BOT, OTHER]) == {BOT: 2, OTHER: 1}
        assert doubted(two, ids) == [True, False, True, True, True, False]
        assert doubted(two, others) == [False]
        assert RecordedCall(KEY, 2.0, b"5") in two.calls(ids[0])
        two.commit([BeginCall(ids[0], "new", 3.0), BeginCall(ids[1], "new", 3.0)])
        assert [call.repeated for call in two.calls(ids[0]) if call.key == "new"] == [True]
        assert [call.repeated for call in two.calls(ids[1])] == [False]
        two.commit([Finish(id_, BOT, "done") for id_ in ids])
        assert [two.calls(id_) for id_ in ids] == [[]] * len(ids)


def test_a_bot_that_another_node_has_is_not_claimed(database: str) -> None:
    """A look may be older than the other's claim; only what is free at that moment is given."""
    with node(database, "a") as one, node(database, "b") as two:
        assert owns(database, one, [BOT]) == {BOT: 1}
        assert owns(database, two, [BOT, OTHER]) == {OTHER: 1}
        end_life(database, one)
        assert owns(database, two, [BOT, OTHER]) == {BOT: 2}


def test_what_was_given_back_is_not_in_doubt(database: str) -> None:
    """The owner has drained the bot: what it called is recorded. What came before is as it was."""
    with node(database, "a") as one, node(database, "b") as two:
        ids = accept(one, "k", "j")
        owns(database, one, [BOT])
        gives_back(database, one, [BOT])
        owns(database, two, [BOT])
        assert doubted(two, ids) == [False, False]
        two.commit([Finish(ids[0], BOT, "done")])
        end_life(database, two)
        with node(database, "c") as three:
            owns(database, three, [BOT])
            assert doubted(three, ids) == [False, True]
            gives_back(database, three, [BOT])
            new = accept(three, "k", first=9)
            assert owns(database, one, [BOT]) == {BOT: 4}
            assert doubted(one, [*ids, *new]) == [False, True, False]


def test_all_of_a_bot_that_handles_a_chat_side_by_side_are_in_doubt(database: str) -> None:
    """Any of them may have been in flight; of other bots only the first of each key."""
    with node(database, "a") as one, node(database, "b") as two:
        ids, others = accept(one, "k", "k"), accept(one, "k", "k", bot=OTHER)
        owns(database, one, [BOT, OTHER])
        end_life(database, one)
        with psycopg.connect(
            postgres_server().admin(database), autocommit=True, options="-c search_path=trioworkers"
        ) as connection:
            assert claim(connection, [BOT, OTHER], two._session.lease.life, [BOT]) == {BOT: 2, OTHER: 2}
        assert doubted(two, [*ids, *others]) == [True, True, True, False]


def test_what_has_left_its_lane_is_in_doubt_with_the_next_one(database: str) -> None:
    """Both may have been in flight."""
    with node(database, "a") as one, node(database, "b") as two:
        ids = accept(one, "k", "k", "k")
        owns(database, one, [BOT])
        (update, *_) = one.waiting(BOT, Fetch(0, 1)).updates
        one.commit([Reschedule(replace(update, attempt=1, due=9.0, skipped=True), Attempt(1.0, "failed"))])
        end_life(database, one)
        owns(database, two, [BOT])
        assert doubted(two, ids) == [True, True, False]


def test_of_bots_with_too_much_that_waits_fewer_are_claimed_at_a_time(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the server does it in the time that it has; nothing is claimed without its doubt.

    Each try is a step of its own: the lease is renewed between two of them.
    """
    bots = range(BOT, BOT + 4)
    slow = "SELECT pg_sleep(0.3 * cardinality(%(bots)s::bigint[])), %(unordered)s::bigint[]"
    with node(database, "a") as one, node(database, "b") as two:
        owns(database, one, [*bots])
        end_life(database, one)
        monkeypatch.setattr(lease_statements, "DOUBT", slow)
        options = "-c search_path=trioworkers -c statement_timeout=500"
        with psycopg.connect(
            postgres_server().admin(database), autocommit=True, options=options
        ) as connection:
            life = two._session.lease.life
            claims = Claims()
            claimed = [claims.claim(connection, bots, life) for _ in range(3)]
            assert claimed == [{}, {}, {BOT: 2}]
            owned = connection.execute("SELECT bot_id FROM bot WHERE owner = %s", (life,)).fetchall()
            assert owned == [(BOT,)]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_every_store_keeps_the_doubt(kind: str, tmp_path: Path) -> None:
    """As one that came from a server by `migrate-store`: a call that is begun is marked."""
    store = MemoryStore() if kind == "memory" else open_sqlite(tmp_path / "inbox.db")
    (id_,) = accept(store, "k")
    store.commit([BeginCall(id_, ANY_CALL, 1.0)])
    store.commit([BeginCall(id_, KEY, 2.0)])
    store.commit([EndCall(id_, KEY, None)])
    assert store.calls(id_) == [RecordedCall(ANY_CALL, 1.0), RecordedCall(KEY, 2.0, None, True)]
    store.close()


@pytest.mark.parametrize("dies", [True, False])
async def test_an_answer_that_a_dead_node_gave_is_repeated_with_a_mark(database: str, dies: bool) -> None:
    """Its call was made and told to nobody; the next owner makes it again, and says so.

    Where the first node did not die, but put the update back unhandled and gave the bot up, there is no mark.
    """
    told: list[str] = []
    events = Events(lambda event: told.append(event.event))
    with node(database, "a") as one, node(database, "b") as two, trio.fail_after(60):
        async with open_inbox(one) as mine, open_inbox(two) as theirs:
            owns(database, one, [BOT])
            backlog = mine.claim(BOT, Breakage())
            await mine.accept(BOT, [Arrival(1, "message", "k", None, None, b"{}")])
            update = backlog.ordinary.take()
            assert update is not None
            if dies:
                end_life(database, one)  # the call is at Telegram, and known to nobody else
                mine.outlive_fence(lambda _: None)
            else:
                backlog.put_back(update)
                mine.release(backlog)
                await mine.answers()
                gives_back(database, one, [BOT])
            owns(database, two, [BOT])
            await theirs.recount([BOT])
            backlog = theirs.claim(BOT, Breakage())
            while (update := backlog.ordinary.take()) is None:
                await backlog.ordinary.wait_change()
            assert update.called is dies
            settling = Settling(
                "echo", backlog, cast("Any", None), events, Random(0), backlog.now, Activity()
            )
            delivery = Delivery(settling, update, None, await backlog.calls(update) if update.called else ())
            delivery.calling(KEY)
            delivery.called(KEY, b"5")
            assert bool(recorded_calls(delivery)) is dies
            delivery.put_back()
            await theirs.answers()
            (made,) = [call for call in await theirs.recorded_calls(update.id) if call.key == KEY]
            assert (made.answer, made.repeated) == (b"5", dies)
    assert told.count("update.repeated") == dies
