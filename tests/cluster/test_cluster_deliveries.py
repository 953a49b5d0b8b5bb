"""Any node takes any webhook's deliveries, and the owner of the bot hears of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from played_cluster import PlayedCluster, World
from postgres_server import needs_postgres, postgres_server
from shared_lives import node

from trioworkers.breakage import Breakage
from trioworkers.cluster.foreign import ForeignEndpoints
from trioworkers.cluster.wakes import GATHER, TOPIC, Wakes
from trioworkers.config import BotSettings, Secret
from trioworkers.events import Events
from trioworkers.inbox.gate import Gate, Stored
from trioworkers.inbox.inbox import open_inbox
from trioworkers.records import Arrival
from trioworkers.transport.deliveries import GRACE, Deliveries
from trioworkers.transport.registration import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

BOT, OTHER = 7_000_000_001, 7_000_000_002


def body(update_id: int) -> bytes:
    return json.dumps({"update_id": update_id, "message": {"chat": {"id": 5}, "text": "ä"}}).encode()


def settings(**others: Any) -> BotSettings:
    return BotSettings(name="echo", token=Secret(f"{BOT}:{'x' * 35}"), handler="bots.echo:handle", **others)


class Bots:
    """The bots of a fleet, their secret, and what their gates took."""

    def __init__(self) -> None:
        self.known = {"echo": settings(transport="webhook")}
        self.secret = "a" * 43
        self.taken: list[int] = []
        self.endpoints = ForeignEndpoints(lambda: self.known, self.wanted, self.gate)

    def wanted(self, bot: BotSettings) -> Wanted | None:
        return Wanted(f"https://bots.example/webhook/{bot.name}", self.secret) if self.secret else None

    def gate(self, bot: Callable[[], BotSettings]) -> Any:
        return self

    async def offer(self, arrivals: Any) -> list[Stored]:
        await trio.lowlevel.checkpoint()
        self.taken += [arrival.update_id for arrival in arrivals]
        return [Stored() for _ in arrivals]


async def test_a_delivery_for_a_bot_of_another_node_is_taken(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """With the bot's own secret, replaced ones for ten minutes more; only of bots that have a webhook."""
    bots, deliveries = Bots(), Deliveries()
    await nursery.start(deliveries.serve)
    assert await deliveries.deliver("echo", b"a" * 43, body(1)) == 404  # there is no cluster
    deliveries.foreign = bots.endpoints
    assert await deliveries.deliver("echo", b"a" * 43, body(1)) == 200
    assert await deliveries.deliver("echo", b"b" * 43, body(2)) == 401
    assert await deliveries.deliver("other", b"a" * 43, body(2)) == 404
    bots.secret = "b" * 43
    assert await deliveries.deliver("echo", b"b" * 43, body(2)) == 200
    assert await deliveries.deliver("echo", b"a" * 43, body(3)) == 200
    await trio.sleep(GRACE)
    assert await deliveries.deliver("echo", b"a" * 43, body(4)) == 401
    assert bots.taken == [1, 2, 3]
    (stats,) = deliveries.endpoints()
    assert (stats[0], stats[1].traffic.accepted) == ("echo", 3)
    for changed in ({"transport": "poll"}, {"transport": "webhook", "enabled": False}):
        bots.known = {"echo": settings(**changed)}
        assert await deliveries.deliver("echo", b"b" * 43, body(4)) == 404
    deliveries.close()


async def test_an_own_endpoint_comes_first(nursery: trio.Nursery) -> None:
    """A bot that this node runs, and that polls, has none that is open."""
    bots, deliveries = Bots(), Deliveries()
    deliveries.foreign = bots.endpoints
    await nursery.start(deliveries.serve)
    own = deliveries.open("echo", BOT, bots)
    assert await deliveries.deliver("echo", b"a" * 43, body(1)) == 404
    own.add_secret("c" * 43)
    assert await deliveries.deliver("echo", b"c" * 43, body(1)) == 200
    deliveries.remove("echo")
    assert await deliveries.deliver("echo", b"a" * 43, body(2)) == 200
    deliveries.close()


@pytest.fixture
def database() -> str:
    needs_postgres()
    return postgres_server().database()


async def test_the_owner_hears_of_what_another_node_committed(database: str, nursery: trio.Nursery) -> None:
    """Of deliveries and of replayed letters; what comes together is told together, each bot to its owner."""
    world = World(owners={BOT: "2", OTHER: "3"})
    here, there = PlayedCluster(world, "a", "1"), PlayedCluster(world, "b", "2")
    PlayedCluster(world, "c", "3")
    with node(database, "a") as one, node(database, "b") as two, trio.fail_after(60):
        async with open_inbox(one) as mine, open_inbox(two) as theirs:
            nursery.start_soon(Wakes(here, mine).serve)
            nursery.start_soon(Wakes(there, theirs).serve)
            await trio.testing.wait_all_tasks_blocked()
            backlog = theirs.claim(BOT, Breakage())
            gates = {bot: Gate("echo", bot, mine, Events()) for bot in (BOT, OTHER)}
            await theirs.answers()  # there is nothing yet
            for gate in gates.values():
                await gate.offer([Arrival(1, "message", "k", None, None, b"{}")])
            while (update := backlog.ordinary.take()) is None:
                await backlog.ordinary.wait_change()
            assert update.update_id == 1
            backlog.dead_letter(update, "no use", 1)
            await theirs.answers()
            with trio.fail_after(5):
                while len(world.told) < 2:  # noqa: ASYNC110 - for what gathers
                    await trio.sleep(GATHER)
            assert sorted(world.told) == [(TOPIC, str(BOT), "2"), (TOPIC, str(OTHER), "3")]
            assert await mine.replay(bot_id=BOT) == 1
            while (update := backlog.ordinary.take()) is None:
                await backlog.ordinary.wait_change()
            assert update.update_id == 1
            backlog.finish(update, "done")
            await theirs.answers()
            assert theirs.tally(BOT).done == 1
            world.told.clear()
            for number in range(2, 12):
                await gates[BOT].offer([Arrival(number, "message", "k", None, None, b"{}")])
            await trio.sleep(3 * GATHER)
            assert len(world.told) < 10
    nursery.cancel_scope.cancel()


async def test_nobody_is_told_of_what_nobody_else_owns(database: str, nursery: trio.Nursery) -> None:
    """Its own bots, and those that are free: whoever claims one reads all of it."""
    world = World(owners={BOT: "1"})
    here = PlayedCluster(world, "a", "1")
    PlayedCluster(world, "b", "2")
    with node(database, "a") as one, trio.fail_after(60):
        async with open_inbox(one) as mine:
            nursery.start_soon(Wakes(here, mine).serve)
            await trio.testing.wait_all_tasks_blocked()
            for bot in (BOT, OTHER):
                await mine.accept(bot, [Arrival(1, "message", "k", None, None, b"{}")])
            await trio.sleep(5 * GATHER)
            assert world.told == []
    nursery.cancel_scope.cancel()
