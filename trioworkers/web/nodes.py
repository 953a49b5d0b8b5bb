"""The nodes of a cluster over HTTP: listed, drained, evicted, and bots moved between them.

Each node answers for all of them, since what it changes is in the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field
from quart import Blueprint

from trioworkers.described import Description, described
from trioworkers.nearest import nearest
from trioworkers.web.acts import emit_action
from trioworkers.web.answers import BotMoved, NodeDrained, NodeEvicted, NodeList
from trioworkers.web.asked import Asked, RequestRefusedError, read_body

if TYPE_CHECKING:
    from trioworkers.cluster.port import Cluster, NodeStatus
    from trioworkers.events import Events
    from trioworkers.web.peers import Peers

NO_CLUSTER = {409: "this daemon is in no cluster"}
NO_NODE = {404: "there is no node of that name", **NO_CLUSTER}


class DrainAsked(Asked):
    """The body of `POST /api/nodes/<node>/drain`."""

    undo: bool = Field(False, description="true: let the node claim bots again")


class MoveAsked(Asked):
    """The body of `POST /api/bots/<name>/move`."""

    node: str | None = Field(None, description="a node's name, or null: any node runs the bot, as before")


def node_routes(peers: Peers | None, events: Events) -> Blueprint:
    """`GET /api/nodes`, what is below it, and `POST /api/bots/<name>/move`.

    `peers`: the nodes; None: this daemon is in no cluster. `events`: where actions are emitted.
    """
    routes = Blueprint("nodes", __name__, url_prefix="/api")

    @routes.get("/nodes")
    @described(Description("List the nodes of the cluster; none where the daemon is in no cluster", NodeList))
    async def listed() -> dict[str, Any]:
        return {"nodes": [] if peers is None else [*map(peers.row, peers.cluster.nodes())]}

    @routes.post("/nodes/<node>/drain")
    @described(
        Description(
            "Let a node give its bots to others and claim none",
            NodeDrained,
            body=DrainAsked,
            refusals=NO_NODE,
        )
    )
    async def drain(node: str) -> dict[str, Any]:
        asked = await read_body(DrainAsked)
        find(node)
        if not await cluster().drain(node, drains=not asked.undo):
            raise missing(node)
        emit_action(events, "nodes.undrain" if asked.undo else "nodes.drain", node=node)
        assert peers is not None  # noqa: S101 - for mypy
        return {"node": node, "drains": not asked.undo, "takers": peers.takers(node)}

    @routes.post("/nodes/<node>/evict")
    @described(
        Description(
            "Take its bots from a node that has ended",
            NodeEvicted,
            refusals={404: NO_NODE[404], 409: "this daemon is in no cluster, or the node renews its lease"},
        )
    )
    async def evict(node: str) -> dict[str, Any]:
        for one in find(node):
            if one.is_self:
                raise RequestRefusedError(409, f"{node} is the node that answers: stop it")
            if peers is not None and not peers.is_silent(one):
                reason = f"{node} renewed its lease {one.silent_for:.1f} s ago: stop it, or drain it"
                raise RequestRefusedError(409, reason)
        if not await cluster().evict(node):
            find(node)
            raise RequestRefusedError(409, f"{node} has renewed its lease meanwhile: stop it, or drain it")
        emit_action(events, "nodes.evict", level="warn", node=node)
        return {"node": node}

    @routes.post("/bots/<name>/move")
    @described(
        Description(
            "Move a bot to a node, where it stays as long as that lives",
            BotMoved,
            body=MoveAsked,
            refusals={404: "there is no bot or node of that name", **NO_CLUSTER},
        )
    )
    async def move(name: str) -> dict[str, Any]:
        asked = await read_body(MoveAsked)
        nodes = cluster()  # says that there is none before it says that a bot is unknown
        assert peers is not None  # noqa: S101 - for mypy
        bots = peers.bots()
        if name not in bots:
            near = nearest(name, bots)
            raise RequestRefusedError(404, f"no bot of that name{f', did you mean {near}' if near else ''}")
        targets = [] if asked.node is None else find(asked.node)
        if not await nodes.move(bots[name], asked.node):
            raise RequestRefusedError(404, f"no node has claimed {name} yet: ask again in some seconds")
        emit_action(events, "bots.move", name, node=asked.node)
        obstacles = [peers.obstacle(node) for node in targets]
        return {"bot": name, "node": asked.node, "once": obstacles[0] if all(obstacles) and targets else None}

    def cluster() -> Cluster:
        if peers is None:
            raise RequestRefusedError(409, "this daemon is in no cluster: no [cluster] node is set")
        return peers.cluster

    def find(name: str) -> list[NodeStatus]:
        """The lives of a node."""
        found = [node for node in cluster().nodes() if node.name == name]
        if not found:
            raise missing(name)
        return found

    def missing(name: str) -> RequestRefusedError:
        names = sorted({node.name for node in cluster().nodes()})
        near = nearest(name, names)
        hint = f"did you mean {near}" if near else f"there are {', '.join(names)}"
        return RequestRefusedError(404, f"no node of that name, {hint}")

    return routes
