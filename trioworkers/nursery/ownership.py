"""Which bots a node of a cluster runs: what it claims and gives back, and which nodes it evicts. Pure.

A node is one life of a daemon. It has a row in the store, whose beat it raises again and again; the leases
of all its bots hold as long as it does. Each bot has a row, too, with its owner and an epoch, which rises
with each claim. Each statement that is decided here changes a row only if it is still as it was seen. So two
nodes that decide the same at once do no harm, and answers may be late.

No wall clock takes part. A node counts its own lease from the moment at which it *sent* a renewal that
succeeded, and stops a margin before the lease ends. Another node evicts it when it has itself seen the same
beat for a whole lease, counted from the moment at which it *received* it. See `docs/decisions/leases.md`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

MOVES = 10  # bots that a node gives back at the same time for the sake of balance
LEAVING = 100  # and that one gives back that leaves, those included that nobody has claimed yet
TAKEOVERS = 1000  # bots that a node claims per second; each costs it 1.5 ms, without a worker
FALLBACK = 3.0  # seconds that a bot is free, and its preferred node claims nothing, until any node claims it


@dataclass(frozen=True, slots=True)
class Terms:
    """The times of a lease, in seconds. `lease`: how soon another node runs the bots of one that died.

    The lease itself is shorter by what it takes to notice its end, to claim the bots and to poll.
    """

    lease: float = 15.0

    @property
    def ttl(self) -> float:
        """How long a node's beat has to stand still until others evict it."""
        return 0.8 * self.lease

    @property
    def beat(self) -> float:
        """The time between two renewals."""
        return self.lease / 10

    @property
    def margin(self) -> float:
        """How long before the end of its lease a node is silent.

        It covers a call that was begun at the last moment, and clocks that go at different rates.
        """
        return self.lease / 10

    @property
    def scan(self) -> float:
        """The time between two looks at the cluster."""
        return self.lease / 30

    @property
    def gap(self) -> float:
        """The longest time between two looks after which it still counts what was seen before.

        After a longer one, those that seem silent may just not have reached the store either.
        """
        return 2 * self.beat

    @property
    def settling(self) -> float:
        """How long a node has to have been seen until others give bots back for it to take.

        One that crashes at its start again and again would else move them to and fro.
        """
        return self.lease / 3


@dataclass(frozen=True, slots=True)
class Node:
    """A node's row.

    `fleet`: the digest of the bots that it knows (:func:`fleet_digest`). `about`: what else it says of
    itself.
    """

    life: str
    name: str
    beat: int
    ttl: float
    fleet: str
    drains: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lease:
    """A bot's row. `owner`: the life of a node, or None. `pinned`: the name of the node it was moved to."""

    owner: str | None
    epoch: int
    pinned: str | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What one look at the store shows, in one snapshot.

    `timeline` is the store's, `granted` the one under which leases are given. They differ after a failover,
    which may have lost the last commits.
    """

    nodes: Sequence[Node]
    leases: Mapping[int, Lease]
    timeline: str = ""
    granted: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, all of it on condition that the rows are still as they were seen.

    Attributes:
        is_over: this node was evicted; all its bots stop, and it begins another life.
        lost: bots that are not this node's any more, though it gave none of them back; they stop.
        evict: nodes whose rows are to be removed.
        register: bots that have no row yet.
        claim: free bots to claim.
        give_back: bots to stop fetching for, to drain, and to release then.
        grant: leases may be given under the timeline of the view.
    """

    is_over: bool = False
    lost: tuple[int, ...] = ()
    evict: tuple[Node, ...] = ()
    register: tuple[int, ...] = ()
    claim: tuple[int, ...] = ()
    give_back: tuple[int, ...] = ()
    grant: bool = False


@dataclass(slots=True)
class _Sighting:
    """`since`: when its beat was first seen, without a gap; `first`: when the node was."""

    beat: int
    since: float
    first: float


class Ownership:
    """What one life of a node knows, and decides. Made when its row is there; another life needs a new one.

    Args:
        life: the id of this life.
        name: the node's name, which outlives it.
        bots: the bot ids of the fleet, as this node knows it.
        terms: the times.

    Attributes:
        deadline: until when this node may work, on its own clock: fetch, hand out, let workers call.
        owned: the epochs of its bots, by bot id; those that it gives back are among them until released.
        giving: bots that it gives back.
        leaves: it gives back all, and claims none.
        is_over: it was evicted. Nothing makes it good again.
    """

    def __init__(self, life: str, name: str, bots: Collection[int], terms: Terms) -> None:
        self.life = life
        self.name = name
        self.terms = terms
        self.deadline = -inf
        self.owned: dict[int, int] = {}
        self.giving: set[int] = set()
        self.leaves = self.is_over = False
        self._bots = frozenset(bots)
        self._released: dict[int, int] = {}
        self._sightings: dict[str, _Sighting] = {}
        self._looked_at = -inf
        self._leases: Mapping[int, Lease] = {}
        self._free_since: dict[int, float] = {}
        self._gained_at: dict[str, float] = {}
        self._unsettled: tuple[str, float] | None = None
        self._allowance, self._allowed_at = float(TAKEOVERS), inf
        self._preferred: dict[int, str] = {}
        self._preferred_of: tuple[str, ...] = ()

    def change_bots(self, bots: Collection[int]) -> None:
        """The fleet has these bots now; those that have gone are given back at the next look."""
        self._bots = frozenset(bots)

    def renewed(self, sent: float) -> None:
        """A renewal that was sent then has succeeded; its answer may be late."""
        if not self.is_over:
            self.deadline = max(self.deadline, sent + self.terms.ttl - self.terms.margin)

    def end(self) -> None:
        """This life has no row any more: it was evicted, or the store lost it."""
        self.is_over, self.deadline = True, -inf

    def may_work(self, now: float) -> bool:
        """Whether no other node can have evicted this one yet."""
        return now < self.deadline

    def claimed(self, epochs: Mapping[int, int]) -> None:
        """These bots are this node's now, under these epochs."""
        self.owned.update(epochs)

    def released(self, bots: Iterable[int]) -> None:
        """These bots were given back: they are drained, and their rows have no owner."""
        for bot in bots:
            epoch = self.owned.pop(bot, None)
            self.giving.discard(bot)
            if epoch is not None:
                self._released[bot] = epoch

    def silent_for(self, life: str, now: float) -> float:
        """Seconds for which this node has not seen a renewal of a node; 0 for its own and for strangers."""
        seen = self._sightings.get(life)
        return 0.0 if seen is None or life == self.life else max(0.0, now - seen.since)

    def look(self, view: View, now: float) -> Decision:
        """Take in what the store shows, and decide. `now`: when it was received."""
        if self.is_over or all(node.life != self.life for node in view.nodes):
            self.end()
            return Decision(is_over=True)
        live, dead = self._judge(view.nodes, now)
        lost = self._compare(view, now)
        if not self.may_work(now):
            return Decision(lost=lost)
        drains = self.leaves or any(node.drains for node in live if node.life == self.life)
        digest = next(node.fleet for node in live if node.life == self.life)
        able = [node for node in live if not node.drains and node.fleet == digest]
        names = {node.name for node in able} | {self.name}
        if drains:
            names = {node.name for node in able if node.life != self.life}
        settled = self._is_settled(view, live, now)
        return Decision(
            lost=lost,
            evict=tuple(dead),
            register=tuple(sorted(self._bots - view.leases.keys())),
            claim=() if drains or not settled else self._choose_claims(names, now),
            give_back=self._choose_moves(able, names, now),
            grant=settled and view.timeline != view.granted,
        )

    def _judge(self, nodes: Sequence[Node], now: float) -> tuple[list[Node], list[Node]]:
        """Return the nodes that live, and those whose lease has ended."""
        gap = now - self._looked_at > self.terms.gap
        self._looked_at = now
        sightings: dict[str, _Sighting] = {}
        live, dead = [], []
        for node in nodes:
            seen = self._sightings.get(node.life)
            if seen is None:
                seen = _Sighting(node.beat, now, now)
            elif gap or seen.beat != node.beat:
                seen = _Sighting(node.beat, now, seen.first)
            sightings[node.life] = seen
            if node.life != self.life and now - seen.since >= node.ttl:
                dead.append(node)
            else:
                live.append(node)
        self._sightings = sightings
        return live, dead

    def _compare(self, view: View, now: float) -> tuple[int, ...]:
        """Take in the bots' rows; return which are lost.

        A view may be older than a claim or a release of this node's: then the row has an earlier epoch than
        the claim, or the very epoch that was released.
        """
        lost = []
        names = {node.life: node.name for node in view.nodes}
        before, self._leases = self._leases, view.leases
        for bot, lease in view.leases.items():
            if lease.owner is None:
                self._free_since.setdefault(bot, now)
            else:
                self._free_since.pop(bot, None)
                if (was := before.get(bot)) is None or was.epoch != lease.epoch:
                    self._gained_at[names.get(lease.owner, "")] = now
            mine = self.owned.get(bot)
            if lease.owner == self.life:
                if mine is None and lease.epoch > self._released.get(bot, -1):
                    self.owned[bot] = lease.epoch  # the answer to the claim was lost
            elif mine is not None and lease.epoch >= mine:
                lost.append(bot)
                del self.owned[bot]
                self.giving.discard(bot)
        return tuple(lost)

    def _is_settled(self, view: View, live: Sequence[Node], now: float) -> bool:
        """Whether leases may be given: no node can work under one that a failover has lost."""
        if view.timeline == view.granted:
            self._unsettled = None
            return True
        if self._unsettled is None or self._unsettled[0] != view.timeline:
            self._unsettled = (view.timeline, now)
        longest = max([self.terms.ttl, *(node.ttl for node in live)])
        return now - self._unsettled[1] >= longest

    def _choose_claims(self, names: Collection[str], now: float) -> tuple[int, ...]:
        passed = max(0.0, now - self._allowed_at)
        self._allowed_at = now
        self._allowance = min(TAKEOVERS, self._allowance + TAKEOVERS * passed)
        first, others = [], []
        for bot in self._bots:
            lease = self._leases.get(bot)
            if lease is None or lease.owner is not None or bot in self.owned:
                continue
            preferred = self._prefer(bot, lease, names)
            if preferred == self.name:
                first.append(bot)
            elif now - max(self._free_since[bot], self._gained_at.get(preferred, -inf)) >= FALLBACK:
                others.append(bot)
        chosen = (sorted(first) + sorted(others))[: int(self._allowance)]
        self._allowance -= len(chosen)
        return tuple(chosen)

    def _choose_moves(self, able: Sequence[Node], names: Collection[str], now: float) -> tuple[int, ...]:
        """Return the bots to give back: those that have gone, all if it leaves, and some for balance."""
        kept = [bot for bot in sorted(self.owned) if bot not in self.giving]
        if self.leaves:
            free = sum(self._is_free(bot, epoch) for bot, epoch in self._released.items())
            moves = kept[: max(0, LEAVING - len(self.giving) - free)] if names else kept
            self.giving.update(moves)
            return tuple(moves)
        moves = [bot for bot in kept if bot not in self._bots]
        room = MOVES - len(self.giving)
        since: dict[str, float] = defaultdict(lambda: inf)
        for node in able:
            since[node.name] = min(since[node.name], self._sightings[node.life].first)
        for bot in kept:
            if room <= 0 or not names:
                break
            if bot not in self._bots:
                continue
            target = self._prefer(bot, self._leases.get(bot), names)
            if target != self.name and now - since[target] >= self.terms.settling:
                moves.append(bot)
                room -= 1
        self.giving.update(moves)
        return tuple(moves)

    def _is_free(self, bot: int, epoch: int) -> bool:
        """Whether nobody has claimed a bot since it was released under this epoch."""
        lease = self._leases.get(bot)
        return lease is not None and lease.owner is None and lease.epoch == epoch

    def _prefer(self, bot: int, lease: Lease | None, names: Collection[str]) -> str:
        """Return the node that should have a bot: the one it was moved to, else by rendezvous hashing."""
        if lease is not None and lease.pinned is not None and lease.pinned in names:
            return lease.pinned
        among = tuple(sorted(names))
        if among != self._preferred_of:
            self._preferred_of, self._preferred = among, {}
        name = self._preferred.get(bot)
        if name is None:
            name = self._preferred[bot] = prefer(bot, among)
        return name


def prefer(bot: int, names: Iterable[str]) -> str:
    """Return the node that a bot prefers among these, by rendezvous hashing: the highest hash of both wins.

    When a node comes or goes, only the bots move that prefer it.
    """
    return max(names, key=lambda name: (blake2b(f"{bot}/{name}".encode(), digest_size=8).digest(), name))


def fleet_digest(bots: Iterable[int]) -> str:
    """Return a short text that is the same for nodes that know the same bots."""
    return blake2b(",".join(map(str, sorted(bots))).encode(), digest_size=8).hexdigest()
