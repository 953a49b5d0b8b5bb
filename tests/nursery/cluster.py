"""A cluster in memory: a store, nodes that obey `Ownership`, and a network between them that may do anything.

Each node has a connection for its leases and one for its writer. A request waits on its connection until
`serve` lets the store carry it out, and its answer until `hear` lets the node have it. Each node's clock has
an offset and a rate of its own.
"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from trioworkers.nursery.ownership import Lease, Node, Ownership, Terms, View, fleet_digest

if TYPE_CHECKING:
    from collections.abc import Callable

DRIFT = 0.01  # how much faster or slower a clock may go


@dataclass
class Store:
    """The rows. Each method is one transaction."""

    timeline: int = 1
    granted: int = 1
    nodes: dict[str, Node] = field(default_factory=dict)
    leases: dict[int, Lease] = field(default_factory=dict)
    marks: set[tuple[str, int]] = field(default_factory=set)

    def view(self) -> View:
        nodes, leases = list(self.nodes.values()), dict(self.leases)
        return View(nodes, leases, timeline=str(self.timeline), granted=str(self.granted))

    def renew(self, life: str) -> bool:
        if life not in self.nodes:
            return False
        self.nodes[life] = replace(self.nodes[life], beat=self.nodes[life].beat + 1)
        return True

    def evict(self, node: Node) -> None:
        if node.life in self.nodes and self.nodes[node.life].beat == node.beat:
            self.leave(node.life)

    def leave(self, life: str) -> None:
        self.nodes.pop(life, None)
        for bot, lease in self.leases.items():
            if lease.owner == life:
                self.leases[bot] = replace(lease, owner=None)

    def register(self, bot: int) -> None:
        self.leases.setdefault(bot, Lease(None, 0))

    def claim(self, life: str, bots: tuple[int, ...]) -> dict[int, int]:
        if life not in self.nodes:
            return {}
        free = [bot for bot in bots if bot in self.leases and self.leases[bot].owner is None]
        for bot in free:
            self.leases[bot] = replace(self.leases[bot], owner=life, epoch=self.leases[bot].epoch + 1)
        return {bot: self.leases[bot].epoch for bot in free}

    def release(self, life: str, bot: int, epoch: int, batch: int) -> None:
        if self.mark(life, batch) and self.leases[bot].owner == life and self.leases[bot].epoch == epoch:
            self.leases[bot] = replace(self.leases[bot], owner=None)

    def drain(self, life: str) -> None:
        if life in self.nodes:
            self.nodes[life] = replace(self.nodes[life], drains=True)

    def mark(self, life: str, batch: int) -> bool:
        """The fence: no life may write that has no row, and no batch of it a second time."""
        if life not in self.nodes or (life, batch) in self.marks:
            return False
        self.marks.add((life, batch))
        return True

    def write(self, life: str, bot: int, batch: int) -> None:
        if self.mark(life, batch):
            assert self.leases[bot].owner == life, "a write under an old life"


@dataclass
class Connection:
    """`asked`: requests that the store has not carried out; `told`: answers that the node has not heard."""

    asked: deque[tuple[Callable[[Store], Any], Callable[[Any], None]]] = field(default_factory=deque)
    told: deque[tuple[Any, Callable[[Any], None]]] = field(default_factory=deque)

    @property
    def is_idle(self) -> bool:
        return not self.asked and not self.told

    def ask(self, act: Callable[[Store], Any], then: Callable[[Any], None] = lambda _: None) -> None:
        self.asked.append((act, then))

    def serve(self, store: Store) -> None:
        if self.asked:
            act, then = self.asked.popleft()
            self.told.append((act(store), then))

    def hear(self) -> None:
        if self.told:
            answer, then = self.told.popleft()
            then(answer)


class PlayedNode:
    """A daemon, as far as leases go. `on`: its process is there; `frozen`: it does not run."""

    def __init__(self, name: str, cluster: Cluster, offset: float, rate: float) -> None:
        self.name, self.cluster = name, cluster
        self.offset, self.rate = offset, rate
        self.bots = set(cluster.bots)
        self.lives = 0
        self.on = self.frozen = False
        self.ownership: Ownership | None
        self.lease, self.writer = Connection(), Connection()
        self.start()

    @property
    def clock(self) -> float:
        return self.offset + self.cluster.now * self.rate

    def start(self) -> None:
        self.on, self.frozen = True, False
        self._new_life()

    def kill(self) -> None:
        self.on = False
        self.lose_connection()
        self.ownership = None

    def _new_life(self) -> None:
        self.lives += 1
        self.life = f"{self.name}{self.lives}"
        self.ownership = None
        self.running: dict[int, int] = {}  # what it fetches, handles or drains
        self.timeline: int | None = None  # under which it joins, or has joined
        self.renewed_at = self.looked_at = float("-inf")
        self.batch = 0  # of its writer, the last one
        self.lose_connection()

    def lose_connection(self) -> None:
        """No answer arrives any more. What was asked may still be carried out, at any time."""
        self.is_connected = self.is_settled = False
        self.cluster.orphans += [act for old in (self.lease, self.writer) for act, _ in old.asked]
        self.lease, self.writer = Connection(), Connection()

    @property
    def runs(self) -> bool:
        return self.on and not self.frozen

    def may_call(self, bot: int, *, late: float = 0.0) -> bool:
        """Whether it may have a call of a bot under way. `late`: seconds past its deadline."""
        ownership = self.ownership
        return (
            self.on
            and ownership is not None
            and bot in ownership.owned
            and bot in self.running
            and self.clock < ownership.deadline + late
        )

    def step(self) -> None:
        """Ask for what is due next; nothing while an answer is awaited."""
        if not self.runs or not self.lease.is_idle:
            return
        now, ownership, terms = self.clock, self.ownership, self.cluster.terms
        if not self.is_connected:
            self.lease.ask(lambda store: store.timeline, self._connected)
        elif ownership is None:
            node = Node(self.life, self.name, 0, terms.ttl, fleet_digest(self.bots))
            self.lease.ask(lambda store: store.nodes.setdefault(node.life, node), lambda _: self._joined(now))
        elif now - self.renewed_at >= terms.beat:
            life = self.life
            self.lease.ask(lambda store: store.renew(life), lambda good: self._renewed(now, good))
        elif now - self.looked_at >= terms.scan:
            self.looked_at = now
            self.lease.ask(lambda store: store.view(), self._looked)

    def _connected(self, timeline: int) -> None:
        """A life belongs to the timeline in which it began; one that has not joined for sure begins anew."""
        if self.timeline != timeline or self.ownership is None:
            lease = self.lease
            self._new_life()
            self.lease, self.timeline = lease, timeline
        self.is_connected = True

    def _joined(self, sent: float) -> None:
        self.ownership = Ownership(self.life, self.name, self.bots, self.cluster.terms)
        self._renewed(sent, True)

    def _renewed(self, sent: float, good: bool) -> None:
        assert self.ownership is not None
        self.renewed_at = sent
        if good:
            self.ownership.renewed(sent)
        else:
            self._new_life()

    def _looked(self, view: View) -> None:
        ownership, life = self.ownership, self.life
        assert ownership is not None
        decision = ownership.look(view, self.clock)
        if decision.is_over:
            self._new_life()
            return
        self._sync()
        for node in decision.evict:
            self.lease.ask(partial(Store.evict, node=node))
        for bot in decision.register:
            self.lease.ask(partial(Store.register, bot=bot))
        if decision.grant:
            self.lease.ask(lambda store: setattr(store, "granted", int(view.timeline)))
        if decision.claim:
            self.lease.ask(lambda store: store.claim(life, decision.claim), self._claimed)

    def _claimed(self, epochs: dict[int, int]) -> None:
        assert self.ownership is not None
        self.ownership.claimed(epochs)
        self._sync()

    def _sync(self) -> None:
        """Run what is owned; a bot under another epoch than before is another run."""
        assert self.ownership is not None
        owned = self.ownership.owned
        self.running = {bot: epoch for bot, epoch in self.running.items() if owned.get(bot) == epoch}
        for bot, epoch in owned.items():
            if bot not in self.ownership.giving:
                self.running[bot] = epoch

    def giving(self) -> list[int]:
        """The bots that it gives back, at this moment."""
        return [] if self.ownership is None else sorted(self.ownership.giving)

    def release(self, bot: int) -> None:
        """A bot that is given back has been drained: nothing of it runs when the request leaves."""
        ownership, life = self.ownership, self.life
        if not self.runs or ownership is None or bot not in ownership.giving:
            return
        if not self._writer_is_ready():
            return
        epoch, batch = ownership.owned[bot], self.batch
        self.running.pop(bot, None)

        def released(_: object) -> None:
            if self.ownership is ownership and ownership.owned.get(bot) == epoch:
                ownership.released([bot])

        self.writer.ask(lambda store: store.release(life, bot, epoch, batch), released)

    def _writer_is_ready(self) -> bool:
        """One batch after another; after a lost connection the outcome of the last one is settled first."""
        if not self.is_connected or not self.writer.is_idle:
            return False
        if not self.is_settled:
            life, batch = self.life, self.batch
            self.writer.ask(
                lambda store: store.mark(life, batch), lambda _: setattr(self, "is_settled", True)
            )
            return False
        self.batch += 1
        return True

    def leave(self) -> None:
        """Give everything back, for a stop; others are told, so that they wait for it no more."""
        assert self.ownership is not None
        self.ownership.leaves = True
        self.cluster.store.drain(self.life)

    def write(self, bot: int) -> None:
        ownership, life = self.ownership, self.life
        if (
            self.runs
            and ownership is not None
            and bot in self.running
            and bot in ownership.owned
            and ownership.may_work(self.clock)
            and self._writer_is_ready()
        ):
            batch = self.batch
            self.writer.ask(lambda store: store.write(life, bot, batch))


class Cluster:
    """Nodes and their store. `now`: true seconds, which nobody knows."""

    def __init__(self, bots: range, terms: Terms | None = None) -> None:
        self.bots, self.terms = bots, terms or Terms()
        self.now = 0.0
        self.store = Store()
        self.standby = deepcopy(self.store)
        self.nodes: list[PlayedNode] = []
        self.orphans: list[Callable[[Store], Any]] = []

    def add(self, name: str, *, offset: float = 0.0, rate: float = 1.0) -> PlayedNode:
        self.nodes.append(PlayedNode(name, self, offset, rate))
        return self.nodes[-1]

    def replicate(self) -> None:
        """The standby has everything that was committed so far."""
        self.standby = deepcopy(self.store)

    def fail_over(self) -> None:
        """The standby takes over; what it does not have is lost, and so are all connections."""
        self.store = self.standby
        self.store.timeline += 1
        self.standby = deepcopy(self.store)
        for node in self.nodes:
            node.lose_connection()
        self.orphans.clear()

    def serve_orphan(self) -> None:
        """The store carries out a request whose connection is gone."""
        if self.orphans:
            self.orphans.pop(0)(self.store)

    def check(self) -> None:
        """No two nodes may have a call of one bot under way, even if one takes a margin longer."""
        late = self.terms.margin - 2 * DRIFT * self.terms.ttl
        for bot in self.bots:
            working = [node.name for node in self.nodes if node.may_call(bot)]
            late_ones = [node.name for node in self.nodes if node.may_call(bot, late=late)]
            assert not working or late_ones == working[:1], (bot, working, late_ones)

    def run(self, seconds: float, tick: float = 0.25) -> None:
        """Let everything go its way, with a network that is quick."""
        end = self.now + seconds
        while self.now < end:
            self.now += tick
            for node in self.nodes:
                if not node.runs:
                    continue
                node.step()
                self._let_finish(node)
                for bot in node.giving():
                    node.release(bot)
                    self._let_finish(node)

    def _let_finish(self, node: PlayedNode) -> None:
        while not (node.lease.is_idle and node.writer.is_idle):
            for connection in (node.lease, node.writer):
                connection.serve(self.store)
                connection.hear()
            self.check()

    def owners(self) -> dict[int, str | None]:
        """The name of each bot's owner, by the store."""
        names = {node.life: node.name for node in self.store.nodes.values()}
        return {bot: names.get(lease.owner or "") for bot, lease in self.store.leases.items()}
