"""The HTTP API of a cluster: any node answers about every bot, for all nodes, and changes what all share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from admitting import admission_for
from played_cluster import PlayedCluster, World
from postgres_server import needs_postgres, postgres_server
from quart import Blueprint
from shared_lives import node

from trioworkers.cluster.requests import Requests
from trioworkers.events import Event, Events
from trioworkers.web import peers as module
from trioworkers.web.app import MARK, AppContext, make_app
from trioworkers.web.peers import Peers, answer_node
from trioworkers.web.plugin_nodes import NodesOfPlugin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

IDS = {"echo": 7, "support": 8, "idle": 9}
A, B = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


@dataclass
class Played:
    """A bot that a node runs."""

    name: str
    asked: list[str] = field(default_factory=list)
    may_end: trio.Event | None = None

    @property
    def settings(self) -> Any:
        return SimpleNamespace(
            name=self.name,
            bot_id=IDS[self.name],
            handler="one:handle",
            command=None,
            enabled=True,
            worker="always",
        )

    def status(self) -> dict[str, Any]:
        row = {"state": "running", "reason": None, "paused": False, "pid": 5, "code": "c0de"}
        return {"bot": self.name, "bot_id": IDS[self.name], **row, "transport": "poll"}

    async def pause(self) -> None:
        await trio.lowlevel.checkpoint()
        self.asked.append("pause")

    async def restart(self) -> str | None:
        if self.may_end is not None:
            await self.may_end.wait()
        self.asked.append("restart")
        return "it is not ready"


class PlayedNode:
    """A node with its application."""

    def __init__(self, world: World, name: str, life: str, *bots: str) -> None:
        self.bots = {bot: Played(bot) for bot in bots}
        self.told: list[Event] = []
        self.cluster = PlayedCluster(world, name, life)
        self.requests = Requests(self.cluster)
        world.owners |= {IDS[bot]: life for bot in bots}
        nothing: Any = None
        played: Any = self.bots
        self.peers = Peers(self.cluster, self.requests, lambda: IDS, lambda: 15.0)
        self.app = make_app(
            AppContext(
                admission=admission_for("right"),
                is_ready=bool,
                status=lambda: {"fleet": {}, "workers": [bot.status() for bot in self.bots.values()]},
                inbox=nothing,
                backs_up=nothing,
                bots=lambda: played,
                restarts=nothing,
                backups=nothing,
                events=Events(self.told.append),
                reloads=nothing,
                plugins=nothing,
                live=nothing,
                peers=self.peers,
            )
        )

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        client = self.app.test_client()
        response = await getattr(client, method)(
            path, headers={"Host": "localhost"}, scope_base={MARK: True}, json=body
        )
        return response.status_code, await response.get_json()


@dataclass
class Scene:
    """Two nodes, of which `b` answers others unless it is silenced."""

    world: World
    a: PlayedNode
    b: PlayedNode


@pytest.fixture
async def scene(nursery: trio.Nursery) -> AsyncIterator[Scene]:
    needs_postgres()
    server = postgres_server()
    database = server.database()
    world = World(server.admin(database))
    with node(database):
        a, b = PlayedNode(world, "a", A, "echo"), PlayedNode(world, "b", B, "support")
        for one in (a, b):
            nursery.start_soon(one.requests.serve, partial(answer_node, one.app))
        with trio.fail_after(60):
            yield Scene(world, a, b)
        nursery.cancel_scope.cancel()
        for played in (a.cluster, b.cluster):
            await played.close()


async def test_a_request_about_a_bot_goes_to_the_node_that_runs_it(scene: Scene) -> None:
    """It answers as if it had been asked itself, refusals included, and tells who did it."""
    code, row = await scene.a.ask("post", "/api/bots/support/pause")
    assert (code, row["bot"], row["state"]) == (200, "support", "running")
    assert (scene.b.bots["support"].asked, scene.a.told) == (["pause"], [])
    (event,) = scene.b.told
    assert (event.event, event.fields["by"]) == ("control.action", "control socket of node a")
    assert await scene.a.ask("post", "/api/bots/support/restart") == (
        409,
        {"error": "support has no ready worker: it is not ready"},
    )
    await scene.a.ask("post", "/api/bots/echo/pause")
    assert scene.a.bots["echo"].asked == ["pause"]
    code, answer = await scene.a.ask("post", "/api/bots/idle/pause")
    assert (code, "no node runs idle at this moment" in answer["error"]) == (503, True)
    assert (await scene.a.ask("post", "/api/bots/suport/pause"))[0] == 404


async def test_lists_show_the_bots_of_all_nodes(scene: Scene) -> None:
    """Each with its node; a node that does not answer is named, and how many bots are missing for it."""
    for path, rows in (("/api/workers/status", "workers"), ("/api/bots", "bots")):
        code, document = await scene.a.ask("get", path)
        assert code == 200
        assert [(row["bot"], row["node"]) for row in document[rows]] == [("echo", "a"), ("support", "b")]
        assert [(one["node"], one["bots"], one["answers"]) for one in document["nodes"]] == [
            ("a", 1, True),
            ("b", 1, True),
        ]


def add_plugin(node: PlayedNode) -> list[str]:
    """A plugin with a route about a bot and a list; what it has heard of others is returned."""
    nodes, heard = NodesOfPlugin(node.peers, "played"), list[str]()
    routes = Blueprint("played", __name__, url_prefix="/api/played")

    @routes.get("/<bot>")
    async def one(bot: str) -> Any:
        answer = await nodes.answer_of_owner(bot)
        return {"by": node.cluster.name} if answer is None else answer

    @routes.get("")
    async def all_of_them() -> Any:
        own = {"rows": [{"id": f"{bot}:1", "bot": bot} for bot in node.bots]}
        found = await nodes.all_rows(own, "rows", "id")
        return own if found is None else {"rows": found.rows, "missing": found.missing}

    @routes.post("/tell")
    async def tell() -> Any:
        with nodes.hears(heard.append):
            await nodes.tell("news")
        return {}

    node.app.register_blueprint(routes)
    node.cluster.listen("plugin.played", lambda text: heard.append(f"{node.cluster.name}: {text}"))
    return heard


async def test_plugins_ask_owners_and_put_lists_together(scene: Scene) -> None:
    """As the routes of the daemon do; a bot of which nobody says anything is named."""
    heard = add_plugin(scene.a), add_plugin(scene.b)
    assert await scene.a.ask("get", "/api/played/echo") == (200, {"by": "a"})
    assert await scene.a.ask("get", "/api/played/support") == (200, {"by": "b"})
    code, answer = await scene.a.ask("get", "/api/played/idle")
    assert (code, "no node runs idle at this moment" in answer["error"]) == (503, True)
    code, answer = await scene.a.ask("get", "/api/played")
    rows = [{"id": "echo:1", "bot": "echo", "node": "a"}, {"id": "support:1", "bot": "support", "node": "b"}]
    assert (code, answer) == (200, {"rows": rows, "missing": ["idle"]})
    await scene.a.ask("post", "/api/played/tell")
    assert heard == ([], ["b: news"])


async def test_a_node_that_does_not_answer_is_not_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list comes without its bots."""
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    PlayedCluster(scene.world, "c", "33333333-3333-3333-3333-333333333333")
    scene.world.owners[IDS["idle"]] = "33333333-3333-3333-3333-333333333333"
    code, document = await scene.a.ask("get", "/api/workers/status")
    assert code == 200
    assert [row["bot"] for row in document["workers"]] == ["echo", "support"]
    assert [(one["node"], one["bots"], one["answers"]) for one in document["nodes"]][2] == ("c", 1, False)


async def test_a_node_that_ends_while_it_is_asked(scene: Scene, nursery: trio.Nursery) -> None:
    """Nobody waits for it for ever; it may have done what it was asked."""
    scene.b.bots["support"].may_end = trio.Event()

    async def end() -> None:
        await trio.sleep(0.3)
        del scene.world.nodes[B]

    nursery.start_soon(end)
    code, answer = await scene.a.ask("post", "/api/bots/support/restart")
    assert (code, answer["error"]) == (503, "node b ended while it was asked; it may have done it")


async def test_nodes_are_listed_drained_and_evicted(scene: Scene) -> None:
    """A node that renews its lease is not evicted, nor the one that answers."""
    code, listed = await scene.a.ask("get", "/api/nodes")
    assert code == 200
    assert [(one["node"], one["bots"], one["is_self"]) for one in listed["nodes"]] == [
        ("a", 1, True),
        ("b", 1, False),
    ]
    assert await scene.a.ask("post", "/api/nodes/b/drain", {}) == (
        200,
        {"node": "b", "drains": True, "takers": 1},
    )
    assert scene.b.cluster.drains
    _, answer = await scene.a.ask("post", "/api/nodes/a/drain", {})
    assert answer["takers"] == 0
    await scene.a.ask("post", "/api/nodes/a/drain", {"undo": True})
    await scene.a.ask("post", "/api/nodes/b/drain", {"undo": True})
    assert not scene.b.cluster.drains
    assert await scene.a.ask("post", "/api/nodes/bb/drain", {}) == (
        404,
        {"error": "no node of that name, did you mean b"},
    )
    assert await scene.a.ask("post", "/api/nodes/elsewhere/drain", {}) == (
        404,
        {"error": "no node of that name, there are a, b"},
    )
    scene.b.cluster.silent_for = 1.4
    assert await scene.a.ask("post", "/api/nodes/b/evict") == (
        409,
        {"error": "b renewed its lease 1.4 s ago: stop it, or drain it"},
    )
    assert (await scene.a.ask("post", "/api/nodes/a/evict"))[0] == 409
    scene.b.cluster.silent_for = 3.1
    scene.b.cluster.renews = True
    assert await scene.a.ask("post", "/api/nodes/b/evict") == (
        409,
        {"error": "b has renewed its lease meanwhile: stop it, or drain it"},
    )
    scene.b.cluster.renews = False
    assert await scene.a.ask("post", "/api/nodes/b/evict") == (200, {"node": "b"})
    assert [one.name for one in scene.world.nodes.values()] == ["a"]
    assert [event.fields["action"] for event in scene.a.told] == [
        "nodes.drain",
        "nodes.drain",
        "nodes.undrain",
        "nodes.undrain",
        "nodes.evict",
    ]


async def test_a_bot_is_moved_and_set_free(scene: Scene) -> None:
    """To a node that there is."""
    assert await scene.a.ask("post", "/api/bots/echo/move", {"node": "b"}) == (
        200,
        {"bot": "echo", "node": "b", "once": None},
    )
    assert scene.a.cluster.pinned == {7: "b"}
    assert (await scene.a.ask("post", "/api/bots/echo/move", {"node": "x"}))[0] == 404
    assert (await scene.a.ask("post", "/api/bots/echos/move", {"node": "b"}))[0] == 404
    for what, once in (
        ("silent_for", "it renews its lease again"),
        ("drains", "it is not drained any more"),
        ("other_bots", "its fleet file has the same bots as that of this node"),
    ):
        setattr(scene.b.cluster, what, 60)
        _, answer = await scene.a.ask("post", "/api/bots/echo/move", {"node": "b"})
        assert answer["once"] == once
        setattr(scene.b.cluster, what, 0)
    await scene.a.ask("post", "/api/bots/echo/move", {"node": None})
    assert scene.a.cluster.pinned == {7: None}
    code, answer = await scene.a.ask("post", "/api/bots/idle/move", {"node": "b"})
    assert (code, answer["error"]) == (404, "no node has claimed idle yet: ask again in some seconds")
