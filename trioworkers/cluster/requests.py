"""Requests from one node of a cluster to another: rows of a table, announced by messages.

They go through the database, so nodes need no way to each other, and no secret of their own. A request is one
to the other node's HTTP API, so that whatever a node can be asked, it can be asked by another node, too.
See `docs/decisions/nodes.md`.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import msgspec
import trio

from trioworkers.inbox.store import StoreError
from trioworkers.shortage import in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers.cluster.port import Cluster

T = TypeVar("T")

ASKED, ANSWERED = "asked", "answered"  # topics
LOOK_EVERY = 1.0  # seconds after which one looks for what no message announced
MOST_AT_ONCE = 16  # requests of others that are answered at the same time
LARGEST = 16 * 2**20  # bytes of an answer that is read

ASK = "INSERT INTO request (id, node, asked) VALUES (%s, %s, %s)"
ANSWER = "UPDATE request SET answer = %s WHERE id = %s"
READ = "DELETE FROM request WHERE id = %s AND answer IS NOT NULL RETURNING answer"
FORGET = "DELETE FROM request WHERE id = %s OR at < now() - interval '10 minutes'"
OPEN = "SELECT id::text, asked FROM request WHERE node = %s AND answer IS NULL ORDER BY at"


class NodeRequest(msgspec.Struct, frozen=True):
    """What a node is asked.

    Attributes:
        method, path: of the HTTP request; the path has its query.
        by: who asks, for the events of what is done.
        body: JSON.
        node: the life that asks.
    """

    method: str
    path: str
    by: str
    body: bytes = b""
    node: str = ""


class NodeAnswer(msgspec.Struct, frozen=True):
    """What a node answers: as its HTTP API does, in JSON."""

    status: int
    body: bytes


class Requests:
    """Asks other nodes, and answers them. :meth:`serve` once.

    Args:
        cluster: the cluster.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._waits: dict[str, trio.Event] = {}
        self._looks = trio.Event()
        self._taken: set[str] = set()  # so that none is done twice, although its answer could not be written
        self._limit = trio.CapacityLimiter(MOST_AT_ONCE)

    async def ask(self, node: str, request: NodeRequest) -> NodeAnswer:
        """Ask the node of this life, and wait for its answer. The caller limits the time.

        A caller that is cancelled does not know whether the node did what it was asked.

        Raises:
            StoreError: the database cannot be reached now; the node may have been asked.
        """
        id_ = str(uuid4())
        heard = self._waits[id_] = trio.Event()
        request = msgspec.structs.replace(request, node=self._cluster.life)
        try:
            await self._cluster.execute(ASK, (id_, node, _packed(request)))
            await self._cluster.tell(ASKED, id_, node)
            while True:
                with trio.move_on_after(LOOK_EVERY):
                    await heard.wait()
                heard = self._waits[id_] = trio.Event()
                if rows := await self._cluster.execute(READ, (id_,)):
                    return await in_thread(_unpacked, bytes(rows[0][0]), NodeAnswer)
        finally:
            del self._waits[id_]
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0), suppress(StoreError):
                await self._cluster.execute(FORGET, (id_,))

    async def serve(self, answer: Callable[[NodeRequest], Awaitable[NodeAnswer]]) -> None:
        """Answer other nodes until cancelled. `answer` raises nothing."""
        self._cluster.listen(ASKED, self._hear_asked)
        self._cluster.listen(ANSWERED, self._hear_answered)
        async with trio.open_nursery() as nursery:
            while True:
                self._looks = trio.Event()
                with suppress(StoreError):
                    rows = await self._cluster.execute(OPEN, (self._cluster.life,))
                    for id_, asked in rows:
                        if id_ not in self._taken:
                            nursery.start_soon(self._answer, id_, bytes(asked), answer)
                    self._taken = {id_ for id_, _ in rows}
                with trio.move_on_after(LOOK_EVERY):
                    await self._looks.wait()

    async def _answer(
        self, id_: str, asked: bytes, answer: Callable[[NodeRequest], Awaitable[NodeAnswer]]
    ) -> None:
        async with self._limit:
            try:
                request = _unpacked(asked, NodeRequest)
            except (msgspec.MsgspecError, zlib.error):  # of a newer version, perhaps
                return
            packed = await in_thread(_packed, await answer(request))
        with suppress(StoreError):  # then the node that asks is not answered
            await self._cluster.execute(ANSWER, (packed, id_))
            await self._cluster.tell(ANSWERED, id_, request.node)

    def _hear_asked(self, text: str) -> None:
        self._looks.set()

    def _hear_answered(self, text: str) -> None:
        for id_, heard in self._waits.items():
            if text in ("", id_):
                heard.set()


def _packed(value: NodeRequest | NodeAnswer) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(value), 1)


def _unpacked(packed: bytes, kind: type[T]) -> T:
    unpacking = zlib.decompressobj()
    return msgspec.msgpack.decode(unpacking.decompress(packed, LARGEST), type=kind)
