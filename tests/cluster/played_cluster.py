"""A cluster whose messages are passed on at once, in one process; its statements go to a database."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import trio

from trioworkers.cluster.port import BotOwner, NodeStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass
class World:
    """What the nodes share.

    Attributes:
        url: of the database.
        owners: the lives that own bots.
        nodes: by their lives.
        deaf: the lives that hear no message.
        told: all messages.
    """

    url: str = ""
    owners: dict[int, str] = field(default_factory=dict)
    nodes: dict[str, PlayedCluster] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    told: list[tuple[str, str, str | None]] = field(default_factory=list)


class PlayedCluster:
    """A node of a :class:`World`, as :class:`~trioworkers.cluster.port.Cluster` has it."""

    def __init__(self, world: World, name: str, life: str) -> None:
        self.name, self.life = name, life
        self.lease_left = 10.0
        self.silent_for = 0.0
        self.drains = self.renews = False  # renews: it is not evicted, as it has just renewed its lease
        self.other_bots = False
        self.pinned: dict[int, str | None] = {}
        self._world = world
        self._hears: defaultdict[str, list[Callable[[str], None]]] = defaultdict(list)
        self._turn = trio.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        world.nodes[life] = self

    def nodes(self) -> Sequence[NodeStatus]:
        owners = list(self._world.owners.values())
        return [
            NodeStatus(
                *(life, one.name, owners.count(life), one.drains, one.silent_for, one is self),
                other_bots=one.other_bots,
            )
            for life, one in self._world.nodes.items()
        ]

    def owner(self, bot_id: int) -> BotOwner | None:
        life = self._world.owners.get(bot_id)
        name = None if life is None else self._world.nodes[life].name
        return BotOwner(life, name, 1, self.pinned.get(bot_id))

    def owns(self, bot_id: int) -> bool:
        return self._world.owners.get(bot_id) == self.life

    async def drain(self, name: str, *, drains: bool = True) -> bool:
        await trio.lowlevel.checkpoint()
        found = [one for one in self._world.nodes.values() if one.name == name]
        for one in found:
            one.drains = drains
        return bool(found)

    async def evict(self, name: str) -> bool:
        await trio.lowlevel.checkpoint()
        lives = [life for life, one in self._world.nodes.items() if one.name == name and not one.renews]
        for life in lives:
            del self._world.nodes[life]
        return bool(lives)

    async def move(self, bot_id: int, name: str | None) -> bool:
        await trio.lowlevel.checkpoint()
        self.pinned[bot_id] = name
        return bot_id in self._world.owners

    def publish(self, about: Mapping[str, Any]) -> None:
        pass

    async def tell(self, topic: str, text: str, node: str | None = None) -> None:
        await trio.lowlevel.checkpoint()
        self._world.told.append((topic, text, node))
        for life, one in list(self._world.nodes.items()):
            if one is not self and node in (None, life) and life not in self._world.deaf:
                for hear in one._hears[topic]:
                    hear(text)

    def listen(self, topic: str, hear: Callable[[str], None]) -> None:
        self._hears[topic].append(hear)

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> Sequence[tuple[Any, ...]]:
        async with self._turn:
            return await trio.to_thread.run_sync(self._execute, statement, values)

    def _execute(self, statement: str, values: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        if self._connection is None:
            options = "-c search_path=trioworkers"
            self._connection = psycopg.connect(self._world.url, autocommit=True, options=options)
        cursor = self._connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    async def close(self) -> None:
        with trio.CancelScope(shield=True):
            async with self._turn:  # after what a thread still does
                if self._connection is not None:
                    self._connection.close()
