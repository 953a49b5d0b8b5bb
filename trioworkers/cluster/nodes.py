"""The cluster as the rest of the daemon sees it: see :mod:`trioworkers.cluster.port`."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from trioworkers.cluster.port import BotOwner, NodeStatus
from trioworkers.inbox.postgres import lease_statements as sql
from trioworkers.inbox.store import StoreError
from trioworkers.lease_page import boottime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trioworkers.cluster.lease_thread import LeaseThread
    from trioworkers.inbox.postgres.lease import NodeLease

OWN = "fleet", "drains"  # names of what the cluster itself keeps of a node


class Nodes:
    """A :class:`~trioworkers.cluster.port.Cluster`.

    Args:
        lease: of this node.
        thread: keeps it.
    """

    def __init__(self, lease: NodeLease, thread: LeaseThread) -> None:
        self._lease = lease
        self._thread = thread
        self._hears: defaultdict[str, list[Callable[[str], None]]] = defaultdict(list)

    @property
    def name(self) -> str:
        return self._lease.name

    @property
    def life(self) -> str:
        return str(self._lease.life)

    @property
    def lease_left(self) -> float:
        return max(0.0, self._lease.deadline - boottime())

    def nodes(self) -> Sequence[NodeStatus]:
        view, mine = self._lease.view, self.life
        counts = Counter(lease.owner for lease in view.leases.values())
        own = next((node.fleet for node in view.nodes if node.life == mine), None)
        return [
            NodeStatus(
                life=node.life,
                name=node.name,
                bots=counts[node.life],
                drains=node.drains,
                silent_for=self._lease.silent_for(node.life),
                is_self=node.life == mine,
                about=node.about,
                other_bots=own not in (None, node.fleet),
            )
            for node in sorted(view.nodes, key=lambda node: (node.name, node.life))
        ]

    def owner(self, bot_id: int) -> BotOwner | None:
        view = self._lease.view
        lease = view.leases.get(bot_id)
        if lease is None:
            return None
        name = next((node.name for node in view.nodes if node.life == lease.owner), None)
        return BotOwner(lease.owner, name, lease.epoch, lease.pinned)

    def owns(self, bot_id: int) -> bool:
        return bot_id in self._lease.owned

    async def drain(self, name: str, *, drains: bool = True) -> bool:
        return bool(await self._changed(sql.DRAIN, (drains, name)))

    async def evict(self, name: str) -> bool:
        seen = [node for node in self._lease.view.nodes if node.name == name]
        return any([await self._evict(node.life, node.beat) for node in seen])

    async def _evict(self, life: str, beat: int) -> bool:
        try:
            return bool(await self._changed(sql.EVICT, (life, beat)))
        except StoreError:  # one that stands still within a transaction holds its row
            await self.execute(sql.END_PROCESSES, (f"trioworkers {life}%",))
            return bool(await self._changed(sql.EVICT, (life, beat)))

    async def move(self, bot_id: int, name: str | None) -> bool:
        return bool(await self._changed(sql.PIN, (name, bot_id)))

    def publish(self, about: Mapping[str, Any]) -> None:
        self._lease.publish({name: value for name, value in about.items() if name not in OWN})

    async def tell(self, topic: str, text: str, node: str | None = None) -> None:
        channel = sql.TOLD if node is None else sql.told_to(node)
        await self.execute(sql.TELL_ONE, (channel, msgspec.json.encode([topic, text]).decode()))

    def listen(self, topic: str, hear: Callable[[str], None]) -> None:
        self._hears[topic].append(hear)

    def hear(self, told: Iterable[tuple[str, str]]) -> None:
        """What was told since the last step; "" where some may have been lost (the member's call)."""
        for _, text in told:
            topic: str | None = None
            words = ""
            if text:
                try:
                    topic, words = msgspec.json.decode(text, type=tuple[str, str])
                except msgspec.DecodeError:  # of somebody else
                    continue
            for name, hears in self._hears.items():
                for hear in hears if topic in (None, name) else ():
                    hear(words)

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> Sequence[tuple[Any, ...]]:
        return await self._thread.call(lambda lease: lease.run(statement, values))

    async def _changed(self, statement: str, values: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        """Change something that nodes have to look at, and let them."""

        def change(lease: NodeLease) -> Sequence[tuple[Any, ...]]:
            rows = lease.run(statement, values)
            lease.run(sql.TELL)
            lease.looked_at = float("-inf")  # who tells it does not hear it
            return rows

        return await self._thread.call(change)
