"""The protocol of leases as a small explicit-state model: two nodes, one bot, and what may come between.

Every state that can be reached is visited, breadth first, and each is judged by :func:`fault`. A node does
its next step at any time or never, so that one that is frozen or cut off is among the cases. Requests wait
for the store, and answers for the node, as long as they like. A connection may break; what was asked on it
is then carried out by the store later or never. The store may fail over to a standby that has each commit,
or lacks the last ones. Time is in ticks: a lease is `TTL` of them, of which `MARGIN` are its margin.

Each safeguard of the protocol can be left out (`without`), and the model then has to find what goes wrong.
States are made finite: ages are counted up to a lease, and beats are renamed, as only their equality matters.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

TTL, MARGIN = 2, 1
FRESH = 99  # a beat that no one has seen yet; it is renamed at once
PASSED = -MARGIN  # ticks until a deadline that passed a margin ago, or earlier

Life: TypeAlias = tuple[int, int]
"""A node, and which of its lives."""

SAFEGUARDS = {
    "margin": "a node is silent a margin before the end of its lease",
    "sent": "a lease counts from when its renewal was sent, not from when the answer came",
    "same beat": "an eviction removes a row only if its beat is still the one that stood still",
    "fence": "a commit needs the row of its life",
    "settled": "after a lost answer no other commit follows before the outcome of the last one is settled",
    "new life": "after a failover a node begins a new life",
    "quiet": "after a failover nobody claims anything for the length of a lease",
    "epochs": "an old view gives no bot back to the node that has released it",
    "no clock": "no wall clock decides that a lease has ended",
}


class Bounds(NamedTuple):
    """How much of each may happen: `breaks` of the writer's connection, `cuts` of that of the lease.

    `is_synchronous`: the standby has each commit that was answered. `late`: answers may reach a node at any
    time after the store gave them; otherwise at once, which lets a node work for longer. `writes`: updates
    are accepted; otherwise bots are only claimed and released. `moves`: bots are released.
    """

    breaks: int = 0
    cuts: int = 0
    failovers: int = 0
    jumps: int = 0
    lives: int = 2
    claims: int = 3
    is_synchronous: bool = False
    late: bool = False
    writes: bool = False
    moves: bool = True


class Db(NamedTuple):
    """What the store has. `rows`: lives with their beats. `accepted`: whether it has the update."""

    timeline: int
    granted: int
    rows: tuple[tuple[Life, int], ...]
    owner: Life | None
    epoch: int
    accepted: bool
    marks: frozenset[Life]  # lives of which an unanswered commit can have no effect any more

    def beat(self, life: Life) -> int | None:
        return next((beat for one, beat in self.rows if one == life), None)

    def without(self, life: Life) -> Db:
        rows = tuple(row for row in self.rows if row[0] != life)
        return self._replace(rows=rows, owner=None if self.owner == life else self.owner)


class Request(NamedTuple):
    """`age`: ticks since it was sent. `answer`: None until the store has carried it out."""

    kind: str
    life: Life
    target: Life | None = None
    value: int = 0
    age: int = 0
    answer: tuple[object, ...] | None = None


class Node(NamedTuple):
    """`left`: ticks until its deadline. `watch`: the owner's life, its beat, and for how long that stands."""

    life: Life
    timeline: int
    has_joined: bool
    left: int = PASSED
    owned: int = 0
    gives: bool = False
    released: int = 0
    watch: tuple[tuple[Life, int, int], ...] = ()
    quiet: int = 0
    is_connected: bool = True
    is_settled: bool = True
    lease: Request | None = None
    writer: Request | None = None

    @property
    def works(self) -> bool:
        """Whether it runs the bot, as far as it knows. What it gives back has been drained."""
        return self.owned > 0 and not self.gives


class State(NamedTuple):
    db: Db
    standby: Db
    nodes: tuple[Node, Node]
    orphans: tuple[Request, ...] = ()
    is_confirmed: bool = False
    has_lost: bool = False  # a failover lost commits
    expired: tuple[Life, ...] = ()  # by the wall clock of the store, after a jump
    breaks: int = 0
    cuts: int = 0
    failovers: int = 0
    jumps: int = 0


def begin() -> State:
    """Node 0 has the bot, both have just renewed, and the standby has everything."""
    lives = ((0, 1), (1, 1))
    db = Db(1, 1, tuple((life, 0) for life in lives), lives[0], 1, False, frozenset())
    nodes = tuple(Node(life, 1, True, TTL - MARGIN, watch=((lives[1 - life[0]], 0, 0),)) for life in lives)
    return State(db, db, (nodes[0]._replace(owned=1), nodes[1]))


def _orphaned(state: State, request: Request | None) -> tuple[Request, ...]:
    """The requests without a connection, with one more that the store has not carried out."""
    asked = request is not None and request.answer is None
    if request is None or not asked:
        return state.orphans
    return tuple(sorted((*state.orphans, request._replace(age=0))))


def _with(state: State, node: Node) -> State:
    """The same with this node as it is now."""
    return state._replace(nodes=(node, state.nodes[1]) if node.life[0] == 0 else (state.nodes[0], node))


def fault(state: State, *, forgives: bool) -> str | None:
    """What must not be, if this state is such a case. `forgives`: what a failover has lost is no fault."""
    for node in state.nodes:
        other = state.nodes[1 - node.life[0]]
        if node.works and node.left > 0 and other.works and other.left > PASSED:
            return "two nodes work for one bot"
    if state.is_confirmed and not state.db.accepted and not (forgives and state.has_lost):
        return "an accepted update is lost"
    return None


class Explorer:
    """Visits all states within the bounds, without the safeguard that is named.

    `forgives`: updates that a failover to an asynchronous standby has lost are no fault.
    """

    def __init__(self, bounds: Bounds, without: str = "", *, forgives: bool = True) -> None:
        self.bounds, self.without, self.forgives = bounds, without, forgives
        self.stale_write = False

    def explore(self, most: int) -> tuple[int, str | None]:
        """Return how many states there are, and the first fault that was found.

        Raises:
            AssertionError: there are more than `most`.
        """
        first = self._canonical(begin())
        seen = {first}
        left = deque([first])
        while left:
            for after in self._next(left.popleft()):
                if self.stale_write:
                    return len(seen), "a write under an old life"
                state = self._canonical(after)
                if state in seen:
                    continue
                if (found := fault(state, forgives=self.forgives)) is not None:
                    return len(seen), found
                seen.add(state)
                left.append(state)
                assert len(seen) <= most, "the model has more states than it may have"
        return len(seen), None

    def has(self, safeguard: str) -> bool:
        assert safeguard in SAFEGUARDS
        return self.without != safeguard

    def _next(self, state: State) -> Iterator[State]:
        yield self._tick(state)
        for node in state.nodes:
            yield from self._steps(state, node)
        for i, orphan in enumerate(state.orphans):
            left = state.orphans[:i] + state.orphans[i + 1 :]
            yield self._commit(state, orphan)[0]._replace(orphans=left)
        if (
            not self.bounds.is_synchronous
            and state.standby != state.db
            and state.failovers < self.bounds.failovers
        ):
            yield state._replace(standby=state.db)
        if state.failovers < self.bounds.failovers:
            yield self._fail_over(state)
        if state.jumps < self.bounds.jumps:
            yield state._replace(jumps=state.jumps + 1, expired=tuple(life for life, _ in state.db.rows))

    def _tick(self, state: State) -> State:
        def older(node: Node) -> Node:
            lease = node.lease
            if lease is not None and lease.kind in ("join", "renew"):
                lease = lease._replace(age=min(TTL, lease.age + 1))
            return node._replace(
                left=max(PASSED, node.left - 1),
                watch=tuple((life, beat, min(TTL, age + 1)) for life, beat, age in node.watch),
                quiet=min(TTL, node.quiet + 1) if node.timeline > 1 else 0,
                lease=lease,
            )

        return state._replace(nodes=(older(state.nodes[0]), older(state.nodes[1])))

    def _fail_over(self, state: State) -> State:
        lost = state.standby != state.db
        db = state.standby._replace(timeline=state.db.timeline + 1)
        nodes = tuple(self._cut(node) for node in state.nodes)
        return state._replace(
            db=db,
            standby=db,
            nodes=(nodes[0], nodes[1]),
            orphans=(),
            failovers=state.failovers + 1,
            has_lost=state.has_lost or lost,
        )

    def _cut(self, node: Node) -> Node:
        return node._replace(is_connected=False, is_settled=False, lease=None, writer=None)

    # what a node does

    def _steps(self, state: State, node: Node) -> Iterator[State]:
        def with_(changed: Node, of: State = state) -> State:
            return _with(of, changed)

        if not node.is_connected:
            is_same = node.timeline == state.db.timeline or not self.has("new life")
            if is_same and node.has_joined:
                yield with_(node._replace(is_connected=True))
                return
            yield from map(with_, self._begin_life(node, state.db.timeline))
            return
        for request in (node.lease, node.writer):
            if request is None:
                continue
            is_lease = request is node.lease

            def put(changed: Request | None, is_lease: bool = is_lease) -> Node:
                return node._replace(lease=changed) if is_lease else node._replace(writer=changed)

            if request.answer is None:
                after, answer = self._commit(state, request)
                if self.bounds.late and request.kind not in ("accept", "evict"):
                    yield with_(put(request._replace(answer=answer)), after)
                else:
                    heard = request._replace(answer=answer)
                    yield from self._hear(after, put(None), heard)
            else:
                yield from self._hear(state, put(None), request)
        if state.cuts < self.bounds.cuts:
            cut = state._replace(cuts=state.cuts + 1, orphans=_orphaned(state, node.lease))
            yield with_(node._replace(is_connected=False, lease=None), cut)
        if state.breaks < self.bounds.breaks and node.writer is not None:
            broken = state._replace(breaks=state.breaks + 1, orphans=_orphaned(state, node.writer))
            yield with_(node._replace(is_settled=False, writer=None), broken)
        if node.lease is None:
            for request in self._lease_requests(state, node):
                if request.answer is not None and not self.bounds.late:
                    yield from map(with_, self._looked(node, request.answer))
                else:
                    yield with_(node._replace(lease=request))
        if node.writer is None and node.has_joined:
            yield from map(with_, self._write_requests(state, node))
            if not node.is_settled and self.has("settled"):
                marks = state.db.marks | {node.life}
                settled = self._put(state, state.db._replace(marks=marks))
                yield with_(node._replace(is_settled=True), settled)

    def _begin_life(self, node: Node, timeline: int) -> Iterator[Node]:
        i, k = node.life
        if k < self.bounds.lives:
            yield Node((i, k + 1), timeline, False)

    def _lease_requests(self, state: State, node: Node) -> Iterator[Request]:
        if not node.has_joined:
            yield Request("join", node.life)
            return
        yield Request("renew", node.life)
        db = state.db  # when a look is asked for makes no difference, only when it is answered
        yield Request("look", node.life, answer=(db.rows, db.owner, db.epoch, db.granted, state.expired))

    def _write_requests(self, state: State, node: Node) -> Iterator[Node]:
        if not node.owned or not (node.is_settled or not self.has("settled")):
            return
        if node.left > 0 and not node.gives and self.bounds.writes:
            yield node._replace(writer=Request("accept", node.life))
        if self.bounds.moves and (node.left > 0 or node.gives):  # nothing of the bot runs any more
            request = Request("release", node.life, value=node.owned)
            yield node._replace(writer=request, gives=True)

    def _hear(self, state: State, node: Node, request: Request) -> Iterator[State]:
        def with_(changed: Node) -> State:
            return _with(state, changed)

        answer = request.answer
        assert answer is not None
        kind = request.kind
        if kind in ("join", "renew"):
            if not answer[0]:
                yield from map(with_, self._begin_life(node, node.timeline))
                return
            left = TTL - (MARGIN if self.has("margin") else 0)
            if self.has("sent"):
                left -= request.age
            yield with_(node._replace(has_joined=True, left=max(node.left, left)))
        elif kind == "look":
            yield from map(with_, self._looked(node, answer))
        elif kind == "claim" and answer[0]:
            assert isinstance(answer[0], int)
            yield with_(node._replace(owned=answer[0], gives=False))
        elif kind == "accept" and answer[0] and node.left > 0:
            yield _with(state._replace(is_confirmed=True), node)
        elif kind == "release" and node.owned == request.value:
            yield with_(node._replace(owned=0, gives=False, released=request.value))
        else:
            yield with_(node)

    def _looked(self, node: Node, answer: tuple[object, ...]) -> Iterator[Node]:
        rows, owner, epoch, granted, expired = answer
        assert isinstance(rows, tuple)
        assert isinstance(epoch, int)
        assert isinstance(expired, tuple)
        if all(life != node.life for life, _ in rows):
            yield from self._begin_life(node, node.timeline)
            return
        before = {life: (beat, age) for life, beat, age in node.watch}
        watch = []
        for life, beat in rows:
            if life == owner != node.life:  # only the owner's end matters to the bot
                was = before.get(life)
                watch.append((life, beat, was[1] if was is not None and was[0] == beat else 0))
        node = node._replace(watch=tuple(watch))
        if owner == node.life:
            if not node.owned and (epoch > node.released or not self.has("epochs")):
                node = node._replace(owned=epoch, gives=False)
        elif node.owned and epoch >= node.owned:
            node = node._replace(owned=0, gives=False)
        if node.left > 0:
            for life, beat, age in watch:
                if age >= TTL or (life in expired and not self.has("no clock")):
                    yield node._replace(lease=Request("evict", node.life, life, beat))
                    return
            if owner is None and not node.owned:
                is_quiet = granted != node.timeline and node.quiet < TTL and self.has("quiet")
                if not is_quiet:
                    yield node._replace(lease=Request("claim", node.life))
                    return
        yield node

    # what the store does

    def _put(self, state: State, db: Db) -> State:
        follows = self.bounds.is_synchronous or state.failovers == self.bounds.failovers
        return state._replace(db=db, standby=db if follows else state.standby)

    def _commit(self, state: State, request: Request) -> tuple[State, tuple[object, ...]]:
        """Carry out a request; return what the store has then, and the answer."""
        db, life = state.db, request.life
        beat = db.beat(life)
        if request.kind == "join":
            if beat is None:
                db = db._replace(rows=tuple(sorted([*db.rows, (life, 0)])))
            return self._put(state, db), (True,)
        if request.kind == "renew":
            if beat is None:
                return state, (False,)
            rows = tuple((one, FRESH if one == life else old) for one, old in db.rows)
            state = state._replace(expired=tuple(one for one in state.expired if one != life))
            return self._put(state, db._replace(rows=rows)), (True,)
        if request.kind == "evict":
            assert request.target is not None
            if db.beat(request.target) == request.value or not self.has("same beat"):
                db = db.without(request.target)
            return self._put(state, db), ()
        if request.kind == "claim":
            if beat is None or db.owner is not None or db.epoch >= self.bounds.claims:
                return state, (0,)
            return self._put(state, db._replace(owner=life, epoch=db.epoch + 1)), (db.epoch + 1,)
        return self._write(state, request, has_row=beat is not None)

    def _write(self, state: State, request: Request, *, has_row: bool) -> tuple[State, tuple[object, ...]]:
        db, life = state.db, request.life
        node = state.nodes[life[0]]
        is_orphan = node.writer is not request
        if (not has_row and self.has("fence")) or (is_orphan and life in db.marks):
            return state, (False,)
        if request.kind == "release":
            if db.owner == life and db.epoch == request.value:
                db = db._replace(owner=None)
            return self._put(state, db), (True,)
        if db.owner != life:
            self.stale_write = True
        return self._put(state, db._replace(accepted=True)), (True,)

    def _canonical(self, state: State) -> State:
        """Rename beats in the order in which they are met."""
        names: dict[tuple[Life, int], int] = {}
        counts: dict[Life, int] = {}
        is_canonical = True
        for key in _beats(state):
            if key not in names:
                life, beat = key
                names[key] = counts[life] = number = counts.get(life, -1) + 1
                is_canonical = is_canonical and number == beat
        if is_canonical:
            return state

        def rows(pairs: tuple[tuple[Life, int], ...]) -> tuple[tuple[Life, int], ...]:
            return tuple([(life, names[life, beat]) for life, beat in pairs])

        def request(one: Request | None) -> Request | None:
            if one is not None and one.kind == "evict" and one.target is not None:
                return one._replace(value=names[one.target, one.value])
            if one is not None and one.kind == "look" and one.answer is not None:
                return one._replace(answer=(rows(one.answer[0]), *one.answer[1:]))  # type: ignore[arg-type]
            return one

        def renamed(node: Node) -> Node:
            watch = tuple([(life, names[life, beat], age) for life, beat, age in node.watch])
            return node._replace(watch=watch, lease=request(node.lease))

        db = state.db._replace(rows=rows(state.db.rows))
        standby = db if state.standby is state.db else state.standby._replace(rows=rows(state.standby.rows))
        nodes = (renamed(state.nodes[0]), renamed(state.nodes[1]))
        orphans = tuple(sorted(filter(None, map(request, state.orphans))))
        return state._replace(db=db, standby=standby, nodes=nodes, orphans=orphans)


def _beats(state: State) -> Iterator[tuple[Life, int]]:
    """The beats of lives, wherever one is known, in an order of its own."""
    yield from state.db.rows
    if state.standby is not state.db:
        yield from state.standby.rows
    first, second = state.nodes
    for life, beat, _ in first.watch:
        yield life, beat
    for life, beat, _ in second.watch:
        yield life, beat
    for request in (first.lease, second.lease, *state.orphans):
        if request is not None and request.kind == "evict" and request.target is not None:
            yield request.target, request.value
        elif request is not None and request.kind == "look" and request.answer is not None:
            yield from request.answer[0]  # type: ignore[misc]
