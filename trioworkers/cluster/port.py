"""What the rest of a daemon sees of its cluster: the nodes, who runs which bot, and messages between nodes.

A *node* is one life of a daemon of the cluster. Everything here is as the last look at the database showed
it, some tenths of a second ago. A daemon that is in no cluster has None in the place of a :class:`Cluster`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


STILL = 0.2  # of a lease: a node is silent once two renewals of it should have come


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node, as the others see it.

    Attributes:
        life: the id of this life of the daemon (a UUID).
        name: the node's name, which outlives its lives.
        bots: how many bots it owns.
        drains: it gives its bots to other nodes, and claims none.
        silent_for: seconds for which this daemon has not seen a renewal; of itself, since its last one.
        is_self: it is this daemon.
        other_bots: it knows other bots than this daemon, so neither gives the other any.
        about: what the node has published of itself (:meth:`Cluster.publish`), as JSON holds it.
    """

    life: str
    name: str
    bots: int
    drains: bool
    silent_for: float
    is_self: bool
    about: Mapping[str, Any] = field(default_factory=dict)
    other_bots: bool = False

    def state(self, lease: float) -> str:
        """`running`, `draining`, or `silent`: it has missed a renewal. `lease`: its length, seconds."""
        if self.silent_for >= STILL * lease:
            return "silent"
        return "draining" if self.drains else "running"


@dataclass(frozen=True, slots=True)
class BotOwner:
    """Who runs a bot. `node`: its life, or None; `name`: the node's. `pinned`: the node it was moved to."""

    node: str | None
    name: str | None
    epoch: int
    pinned: str | None


class Cluster(Protocol):
    """The cluster of this daemon. Used on the loop.

    Every asynchronous method raises :class:`~trioworkers.inbox.store.StoreError` where the database cannot be
    reached or refuses it; what is asked of it may then have been done all the same.

    Attributes:
        name: of this node.
        life: the id of its present life; another one follows when it was evicted.
    """

    @property
    def name(self) -> str: ...
    @property
    def life(self) -> str: ...

    @property
    def lease_left(self) -> float:
        """Seconds for which this node still may work without another renewal; 0: it may not now."""

    def nodes(self) -> Sequence[NodeStatus]:
        """All nodes, by name."""

    def owner(self, bot_id: int) -> BotOwner | None:
        """Who runs a bot; None: the cluster does not know it yet."""

    def owns(self, bot_id: int) -> bool:
        """Whether this node runs the bot, or is just giving it to another."""

    async def drain(self, name: str, *, drains: bool = True) -> bool:
        """Let the node of this name give its bots to others and claim none, or be as the others again.

        Returns whether there is one.
        """

    async def evict(self, name: str) -> bool:
        """End the lives of a node at once: it stops everything that it does, and others run its bots.

        Only one that has not renewed its lease since this node looked last: others run its bots at once,
        while it would work on until it notices. Returns whether there was one.
        """

    async def move(self, bot_id: int, name: str | None) -> bool:
        """Let the node of this name run a bot as long as that node lives; None: any node, as before.

        It is moved without loss: the owner drains it. Returns whether the cluster knows the bot.
        """

    def publish(self, about: Mapping[str, Any]) -> None:
        """Let other nodes see this of this daemon, in the place of what was published before.

        It is a few hundred bytes of JSON; `fleet` and `drains` are names of the cluster's own.
        """

    async def tell(self, topic: str, text: str, node: str | None = None) -> None:
        """Send a short message (NOTIFY, at most 7,000 bytes of UTF-8) to a life of a node, or to all others.

        A message is lost where a node is not connected at that moment, so whatever it announces has to be
        found in the database, too.
        """

    def listen(self, topic: str, hear: Callable[[str], None]) -> None:
        """Call `hear` on the loop with each message of this topic; with "" when some may have been lost."""

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> Sequence[tuple[Any, ...]]:
        """Run one short SQL statement, a transaction of its own, on the lease's connection; return its rows.

        It must take milliseconds: renewals wait for it.
        """
