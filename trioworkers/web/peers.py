"""The other nodes of a cluster, for the routes: who is asked about a bot, and what all of them say together.

A request about a bot that another node runs is passed on to that node, and its answer is passed back.
Lists are put together from the answers of all nodes; a node that does not answer in time is named.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio
from quart import Response, g, request

from trioworkers.cluster.requests import NodeAnswer, NodeRequest
from trioworkers.inbox.store import StoreError
from trioworkers.web.admission import MARK
from trioworkers.web.asked import RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from trioworkers.cluster.port import Cluster, NodeStatus
    from trioworkers.cluster.requests import Requests

    App = Callable[..., Awaitable[Any]]

PASSED_ON = frozenset(
    {"bots.pause", "bots.resume", "bots.restart", "bots.drop_pending", "details.shown", "details.log"}
)
"""The routes of one bot that only the node can answer that runs it."""
PATIENCE = 3.0  # seconds for the answers of all nodes
LOOK_EVERY = 0.5  # seconds after which one sees whether a node that was asked is still there


@dataclass(frozen=True, slots=True)
class Gathered:
    """What all nodes say together.

    Attributes:
        rows: in order, each with its `node`.
        nodes: a row for each node, with whether it `answers`.
        missing: the bots of which no node has said anything.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Peers:
    """The other nodes.

    Args:
        cluster: the cluster.
        requests: asks nodes.
        bots: the ids of all bots of the fleet, by name.
        lease: the length of a node's lease, seconds.

    Attributes:
        shares: lets other nodes change a bot that was changed by command; None: they do not.
    """

    def __init__(
        self,
        cluster: Cluster,
        requests: Requests,
        bots: Callable[[], Mapping[str, int]],
        lease: Callable[[], float],
    ) -> None:
        self.cluster = cluster
        self.bots = bots
        self._requests = requests
        self._lease = lease
        self.shares: Callable[[str], Awaitable[None]] | None = None

    async def share(self, bot: str) -> None:
        """Let the other nodes have a bot that was added, changed or removed here.

        Raises:
            RequestRefusedError: 503, it is done here, and it is not known whether the others will do it.
        """
        try:
            if self.shares is not None:
                await self.shares(bot)
        except StoreError as error:
            message = f"done on this node; the others may not have heard of it: {error}"
            raise RequestRefusedError(503, message) from None

    def is_silent(self, node: NodeStatus) -> bool:
        """Whether a node has missed a renewal of its lease, so that it may have ended."""
        return node.state(self._lease()) == "silent"

    def row(self, node: NodeStatus) -> dict[str, Any]:
        """A node as a row of the list of nodes."""
        return {
            "node": node.name,
            "life": node.life,
            "is_self": node.is_self,
            "state": node.state(self._lease()),
            "bots": node.bots,
            "drains": node.drains,
            "silent_for": round(node.silent_for, 1),
            "other_bots": node.other_bots,
            "version": node.about.get("version"),
        }

    def takers(self, but: str) -> int:
        """How many nodes can take bots now, beside those of a name."""
        nodes = [node for node in self.cluster.nodes() if node.name != but and self.obstacle(node) is None]
        return len(nodes)

    def obstacle(self, node: NodeStatus) -> str | None:
        """What has to be otherwise until a node takes bots; None: it takes them."""
        if self.is_silent(node):
            return "it renews its lease again"
        if node.drains:
            return "it is not drained any more"
        return "its fleet file has the same bots as that of this node" if node.other_bots else None

    async def pass_on(self) -> Response | None:
        """The answer of the node that runs the bot of this request; None: this node answers it.

        Raises:
            RequestRefusedError: 503, no node runs the bot now, or it ended while it was asked.
        """
        name = (request.view_args or {}).get("name")
        if name is None or request.endpoint not in PASSED_ON:
            return None
        return await self.answer_of_owner(name)

    async def answer_of_owner(self, name: str) -> Response | None:
        """The answer to this request of the node that runs a bot; None: this node answers it.

        Raises:
            RequestRefusedError: 503, no node runs the bot now, or it ended while it was asked.
        """
        if name not in self.bots() or asked_by_node():
            return None
        bot_id = self.bots()[name]
        if self.cluster.owns(bot_id):
            return None
        owner = self.cluster.owner(bot_id)
        if owner is None or owner.node is None:
            raise RequestRefusedError(503, f"no node runs {name} at this moment: ask again in some seconds")
        body = bytes(await request.get_data(as_text=False))  # type: ignore[arg-type]  # bytes, as asked
        answer = await self._ask(owner.node, owner.name or "", self._same_request(body))
        return Response(answer.body, answer.status, content_type="application/json")

    async def with_all(self, own: Mapping[str, Any], rows: str, by: str = "bot") -> dict[str, Any]:
        """A document of this node with the rows of all, each with its `node`, and with `nodes`.

        Args:
            own: the document of this node.
            rows: the key of its list of rows.
            by: the key that rows are sorted by.
        """
        if asked_by_node():
            return dict(own)
        found = await self.gather(own, rows, by)
        return {**own, rows: found.rows, "nodes": found.nodes}

    async def gather(self, own: Mapping[str, Any], rows: str, by: str = "bot") -> Gathered:
        """The rows of all nodes, in answer to a request that this node was not asked by another one.

        Each row has the name of its `bot`. Of two nodes that have a row, the owner of that bot knows it best.

        Args:
            own, rows, by: as for :meth:`with_all`.
        """
        nodes, merged = self.cluster.nodes(), dict[Any, dict[str, Any]]()
        answers = await self._ask_all(
            [node for node in nodes if not node.is_self and not self.is_silent(node)]
        )
        told, answered = [], set()
        for node in nodes:
            document: Any = own if node.is_self else _read(answers.get(node.life))
            for row in document[rows] if document else ():
                if row[by] not in merged or self._is_owner(node, row["bot"]):
                    merged[row[by]] = {**row, "node": node.name}
            if document is not None:
                answered.add(node.life)
            told.append({**self.row(node), "answers": document is not None})
        owners = {name: self.cluster.owner(bot_id) for name, bot_id in self.bots().items()}
        missing = [name for name, owner in owners.items() if owner is None or owner.node not in answered]
        return Gathered([merged[key] for key in sorted(merged)], told, missing)

    def _is_owner(self, node: NodeStatus, bot: str) -> bool:
        owner = self.cluster.owner(self.bots().get(bot, 0))
        return owner is not None and owner.node == node.life

    def _same_request(self, body: bytes = b"") -> NodeRequest:
        query = request.query_string.decode("latin-1")
        path = request.path + (f"?{query}" if query else "")
        return NodeRequest(request.method, path, f"{g.by} of node {self.cluster.name}", body)

    async def _ask(self, life: str, name: str, asked: NodeRequest) -> NodeAnswer:
        """Ask a node, for as long as it is there."""
        answers: list[NodeAnswer] = []

        async def ask() -> None:
            answers.append(await self._requests.ask(life, asked))
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while any(node.life == life for node in self.cluster.nodes()):  # noqa: ASYNC110 - a look's
                await trio.sleep(LOOK_EVERY)
            nursery.cancel_scope.cancel()
        if not answers:
            raise RequestRefusedError(503, f"node {name} ended while it was asked; it may have done it")
        return answers[0]

    async def _ask_all(self, nodes: Sequence[NodeStatus]) -> dict[str, NodeAnswer]:
        """The answers to this request of the nodes that give one in time, by their lives."""
        answers: dict[str, NodeAnswer] = {}
        asked = self._same_request()

        async def ask(life: str) -> None:
            try:
                answers[life] = await self._requests.ask(life, asked)
            except StoreError:
                return

        with trio.move_on_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for node in nodes:
                    nursery.start_soon(ask, node.life)
        return answers


def asked_by_node() -> bool:
    """Whether another node makes the request that is being answered."""
    return isinstance(request.scope.get(MARK), str)


def _read(answer: NodeAnswer | None) -> Any:
    """The document of an answer; None: there is none."""
    if answer is None or answer.status != 200:
        return None
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


async def answer_node(app: App, asked: NodeRequest) -> NodeAnswer:
    """Let the application answer another node's request, as if it came by the control socket."""
    path, _, query = asked.path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-length", str(len(asked.body)).encode())],
        "client": None,
        "server": None,
        "state": {},
        "extensions": {},
        MARK: asked.by,
    }
    received: list[dict[str, Any]] = []
    body = [{"type": "http.request", "body": asked.body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if body:
            return body.pop()
        await trio.sleep_forever()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        received.append(message)

    try:
        await app(scope, receive, send)
    except Exception:  # it has said so; the node that asks learns that it failed
        return NodeAnswer(500, b'{"error": "the node could not answer"}')
    status = next((one["status"] for one in received if one["type"] == "http.response.start"), 500)
    content = b"".join(one.get("body", b"") for one in received if one["type"] == "http.response.body")
    return NodeAnswer(status, content)
