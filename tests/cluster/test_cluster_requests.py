"""What one node asks another over the database, and what happens where it is not answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from played_cluster import PlayedCluster, World
from postgres_server import needs_postgres, postgres_server
from shared_lives import node

from trioworkers.cluster import requests as module
from trioworkers.cluster.requests import NodeAnswer, NodeRequest, Requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

A, B = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Two nodes on a database."""
    needs_postgres()
    server = postgres_server()
    database = server.database()
    world = World(server.admin(database))
    with node(database):
        for name, life in (("a", A), ("b", B)):
            PlayedCluster(world, name, life)
        yield world
        for one in world.nodes.values():
            await one.close()


async def echo(request: NodeRequest) -> NodeAnswer:
    await trio.lowlevel.checkpoint()
    return NodeAnswer(200, f"{request.method} {request.path} {request.by} ".encode() + request.body)


async def rows(world: World) -> int:
    ((count,),) = await world.nodes[A].execute("SELECT count(*) FROM request")
    return int(count)


async def test_a_node_answers_another(world: World, nursery: trio.Nursery) -> None:
    """Several at the same time, large ones too; nothing is left of them."""
    asks = Requests(world.nodes[A])
    nursery.start_soon(asks.serve, echo)
    nursery.start_soon(Requests(world.nodes[B]).serve, echo)
    answers: dict[int, NodeAnswer] = {}

    async def ask(number: int) -> None:
        answers[number] = await asks.ask(B, NodeRequest("POST", f"/{number}", "me", b"x" * 1000 * number))

    with trio.fail_after(30):
        async with trio.open_nursery() as asking:
            for number in range(40):
                asking.start_soon(ask, number)
    assert answers == {
        number: NodeAnswer(200, f"POST /{number} me ".encode() + b"x" * 1000 * number) for number in range(40)
    }
    assert await rows(world) == 0
    nursery.cancel_scope.cancel()


async def test_messages_that_are_lost_cost_a_look(world: World, nursery: trio.Nursery) -> None:
    """Nobody hears anything; the request and its answer are found all the same, and done once."""
    world.deaf = {A, B}
    done: list[str] = []

    async def note(request: NodeRequest) -> NodeAnswer:
        done.append(request.path)
        await trio.sleep(2.5 * module.LOOK_EVERY)  # it is not begun again meanwhile
        return NodeAnswer(200, b"")

    asks = Requests(world.nodes[A])
    nursery.start_soon(asks.serve, echo)
    nursery.start_soon(Requests(world.nodes[B]).serve, note)
    with trio.fail_after(30):
        assert (await asks.ask(B, NodeRequest("GET", "/", "me"))).status == 200
    assert done == ["/"]
    nursery.cancel_scope.cancel()


async def test_who_waits_no_longer_leaves_nothing(world: World, nursery: trio.Nursery) -> None:
    """A node that is away is not asked later for what nobody waits for."""
    asks = Requests(world.nodes[A])
    nursery.start_soon(asks.serve, echo)
    with trio.move_on_after(0.5) as scope:
        await asks.ask(B, NodeRequest("GET", "/", "me"))
    assert scope.cancelled_caught
    assert await rows(world) == 0
    nursery.cancel_scope.cancel()


async def test_what_is_no_request_is_passed_over(world: World, nursery: trio.Nursery) -> None:
    """Of a newer version, or damaged: the others are answered."""
    await world.nodes[A].execute(module.ASK, (A, B, b"garbage"))
    asks = Requests(world.nodes[A])
    nursery.start_soon(asks.serve, echo)
    nursery.start_soon(Requests(world.nodes[B]).serve, echo)
    with trio.fail_after(30):
        assert (await asks.ask(B, NodeRequest("GET", "/", "me"))).status == 200
    nursery.cancel_scope.cancel()
