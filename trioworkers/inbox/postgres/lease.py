"""The lease of a node of a cluster, kept in the database: a connection of its own, and the statements.

What to do is decided by :class:`~trioworkers.nursery.ownership.Ownership`. :meth:`NodeLease.step` does what
is due; it belongs into a thread of its own, as it waits for the server. Each statement is a transaction that
changes a row only if it is as it was seen, so that an answer may be lost, or a statement come late.

The row of this node is the fence of its writer (:class:`~trioworkers.inbox.postgres.session.Lease`): whoever
removes the row ends this life, and nothing that is committed in its name takes effect any more.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec
import psycopg

from trioworkers.inbox.postgres import lease_statements as sql
from trioworkers.inbox.postgres.errors import FENCED, store_error
from trioworkers.inbox.postgres.lease_change import FAILED_OVER, Change
from trioworkers.inbox.postgres.lease_connection import LeaseConnection
from trioworkers.inbox.postgres.session import end_process
from trioworkers.inbox.store import StoreError, StoreFencedError, StoreUnreachableError
from trioworkers.lease_page import boottime
from trioworkers.nursery.ownership import Ownership, View, fleet_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from trioworkers.nursery.ownership import Node, Terms

    Connection = psycopg.Connection[Any]

STUCK = 0.5  # seconds that an open transaction of a dead node may hold its row


class NodeLease:
    """Keeps one node in the cluster. :meth:`step` belongs to one thread; the rest may be called from any.

    Args:
        url: where the server is, as of the store.
        name: of this node, which outlives its lives.
        bots: the bot ids of the fleet.
        terms: the times.
        clock: seconds, as :func:`boottime` has them.
        is_alive: whether what the lease is kept for still runs; while it does not, nothing is renewed.

    Attributes:
        life: the id of this node's present life.
        view: what the last look showed, and `looked_at`, when it was begun.
        renewed: called in the thread when the deadline has moved; it must be quick.
        former: a life that is known to have ended; its bots are free as soon as this one joins.
        joins: called in the thread with the life before its row is made.
        unordered: those bots that handle updates of one key side by side; it may be replaced at any time.
    """

    is_shared = True

    def __init__(
        self,
        url: str,
        name: str,
        bots: Collection[int],
        terms: Terms,
        *,
        clock: Callable[[], float] = boottime,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self.terms = terms
        self.renewed: Callable[[float], None] = lambda _: None
        self.joins: Callable[[UUID], None] = lambda _: None
        self.former: UUID | None = None
        self._clock, self._is_alive = clock, is_alive
        self._lock = threading.Lock()  # over what both the thread and others use
        self._bots = frozenset(bots)
        self._connection = LeaseConnection(url, terms.ttl / 3)
        self._claims = sql.Claims()
        self._names: dict[str, str] = {}  # of the other nodes that were seen last, by their lives
        self._releases: set[int] = set()
        self._published: Mapping[str, Any] = {}
        self.unordered: Collection[int] = ()
        self._about_changed = False
        self.begin()

    def begin_after(self, life: UUID) -> None:
        """Begin another life after this one, unless that was done. For the thread of `step`."""
        if self.life == life:
            self.begin()

    def begin(self) -> None:
        """Begin a life; the next steps let it join. Nothing of the former one may be left or under way."""
        with self._lock:
            self.life: UUID = uuid4()
            self._timeline: str | None = None  # until it has joined
            self._is_failover = False
            self.view = View((), {})
            self._ownership = Ownership(str(self.life), self.name, self._bots, self.terms)
            self._renewed_at = self.looked_at = float("-inf")
            self._releases.clear()
            self._leaves = False
        self._connection.ring()

    def attach(self, connection: Connection, former: int) -> None:
        """The writer has a new connection; it may only be used on the timeline in which this life began.

        It raises as `session.Lease` says.
        """
        if former:  # what it was about to commit is settled sooner
            end_process(connection, former)
        (now,) = connection.execute(f"SELECT {sql.TIMELINE}").fetchone() or (None,)
        self.see_joined()
        if now != self._timeline:
            raise StoreFencedError(FAILED_OVER)

    def see_joined(self) -> None:
        """See that the writer may have a connection (as `session.Lease`)."""
        if self._ownership.is_over:
            raise StoreFencedError(FAILED_OVER if self._is_failover else FENCED)
        if self._timeline is None:
            message = "this daemon has not joined its cluster yet"
            raise StoreUnreachableError(message)

    def may_work(self) -> bool:
        """Whether this node may work for its bots at this moment: no other can have evicted it yet."""
        return self._ownership.may_work(self._clock())

    @property
    def has_joined(self) -> bool:
        """Whether the row of this life is there, as far as this node knows."""
        return self._timeline is not None and not self._ownership.is_over

    @property
    def deadline(self) -> float:
        """Until when it may, on the clock that was given."""
        return self._ownership.deadline

    @property
    def owned(self) -> Mapping[int, int]:
        """The epochs of the bots that are this node's, by bot id."""
        with self._lock:
            return dict(self._ownership.owned)

    @property
    def kept(self) -> Mapping[int, int]:
        """As `owned`, without those that it gives back."""
        with self._lock:
            giving = self._ownership.giving
            return {bot: epoch for bot, epoch in self._ownership.owned.items() if bot not in giving}

    def release(self, bots: Collection[int]) -> None:
        """Release these bots with the next step: they are drained, and their last commit has been made."""
        with self._lock:
            self._releases.update(bots)
        self._connection.ring()

    def change_bots(self, bots: Collection[int]) -> None:
        """The fleet has these bots now."""
        with self._lock:
            self._bots = frozenset(bots)
            self._ownership.change_bots(self._bots)
            self._about_changed = True
            self.looked_at = float("-inf")
        self._connection.ring()

    def publish(self, about: Mapping[str, Any]) -> None:
        """Let other nodes see this of this one; what was published before under other names stays."""
        with self._lock:
            self._published = dict(about)
            self._about_changed = True
        self._connection.ring()

    def silent_for(self, life: str) -> float:
        """Seconds for which this node has not seen a renewal of another; of itself, since its last one."""
        with self._lock:
            if life == str(self.life):
                return max(0.0, self._clock() - self._renewed_at)
            return self._ownership.silent_for(life, self._clock())

    def leave(self) -> None:
        """Give back all bots, and claim none; others are told with the next step."""
        with self._lock:
            self._leaves = self._ownership.leaves = self._about_changed = True
            self.looked_at = float("-inf")
        self._connection.ring()

    def end(self, life: UUID) -> None:
        """This life is over, as its writer has found; the next step says so. It may be a former one."""
        with self._lock:
            if self.life == life:
                self._ownership.end()
        self._connection.ring()

    def wait(self, seconds: float) -> None:
        """Wait until something is to be done, for so long at most. For the thread of `step`."""
        self._connection.wait(seconds)

    def ring(self) -> None:
        """Let :meth:`wait` return; from any thread."""
        self._connection.ring()

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, which is a transaction, for others; return its rows. For the thread of `step`.

        Raises:
            StoreError: it is not known whether it took effect.
        """
        try:
            self._open()
            cursor = self._connection.run(self.life, statement, values)
            return cursor.fetchall() if cursor.description is not None else []
        except psycopg.errors.LockNotAvailable as error:
            raise store_error("another transaction holds what was to be changed", error) from None
        except psycopg.Error as error:
            told = store_error("the database could not be asked", error)
            if isinstance(told, StoreUnreachableError):
                self._connection.lose()
            raise told from None

    def close(self) -> None:
        """End this life: its row is removed, if the server is there, and all its bots are free."""
        with suppress(StoreError, psycopg.Error):
            if self._timeline is not None:
                self._run(sql.REMOVE, (self.life,))
                self._run(sql.TELL)
        self._ownership.end()
        self._connection.close()

    def step(self) -> Change:
        """Do what is due: connect, join, renew, release, look, and what that shows. It raises nothing."""
        try:
            return self._step()
        except StoreError as error:
            self._connection.lose()
            return Change(trouble=error)
        except psycopg.Error as error:
            self._connection.lose()
            what = "the cluster cannot be joined" if self._timeline is None else "the lease could not be kept"
            return Change(trouble=store_error(what, error))

    def _step(self) -> Change:
        if self._ownership.is_over:
            self._connection.lose()  # the next life has another one, which says so in its name
            return self._end()
        self._open()
        if self._ownership.is_over:
            return self._end()
        if self._timeline is None:
            self._join()
        if self._about_changed:
            self._tell_about()
        now = self._clock()
        if now - self._renewed_at >= self.terms.beat and self._is_alive():
            rows = self._run(sql.RENEW, (self.life,)).fetchall()
            if not rows:
                return self._end()
            self._renewed_at = now
            with self._lock:
                self._ownership.renewed(now)
            self.renewed(self._ownership.deadline)
        released = self._release()
        told = self._hear()
        change = self._look() if self._clock() - self.looked_at >= self.terms.scan else Change()
        return replace(change, released=released, told=told) if released or told else change

    def _hear(self) -> tuple[tuple[str, str], ...]:
        """What was told since the last step; that a bot has become free is for the look."""
        told = []
        while self._connection.heard:
            channel, text = self._connection.heard.popleft()
            if channel == sql.CHANNEL:
                self.looked_at = float("-inf")
            else:
                told.append((channel, text))
        return tuple(told)

    def _end(self) -> Change:
        with self._lock:
            lost = tuple(self._ownership.owned)
            self._ownership.end()
            self._ownership.owned.clear()
        self.renewed(self._ownership.deadline)
        return Change(is_over=True, life=self.life, is_failover=self._is_failover, lost=lost)

    def _look(self) -> Change:
        began = self._clock()
        row = self._run(sql.LOOK).fetchone()
        view = sql.read_view(row)
        now = self._clock()
        self.looked_at = began
        with self._lock:
            self.view = view
            before = dict(self._ownership.owned)
            decision = self._ownership.look(view, now)
        if decision.is_over:
            return self._end()
        evicted = tuple(node.name for node in decision.evict if self._evict(node))
        if decision.register:
            self._run(sql.REGISTER, ([*decision.register],))
            self.looked_at = float("-inf")
        if decision.grant:
            self._run(sql.GRANT, (view.granted, view.timeline))
        if decision.claim:
            with self._connection.limited(self.life) as connection:
                epochs = self._claims.claim(connection, decision.claim, self.life, self.unordered)
            self._connection.see_synced()
            with self._lock:
                self._ownership.claimed(epochs)
            if not epochs:  # fewer are tried next, or somebody else was faster
                self.looked_at = float("-inf")
        if decision.evict:  # its bots are free now
            self.looked_at = float("-inf")
        names = {node.life: node.name for node in view.nodes if node.life != self._ownership.life}
        joined = tuple(name for life, name in names.items() if life not in self._names)
        gone = {life: name for life, name in self._names.items() if life not in names}
        self._names = names
        gained = {bot: epoch for bot, epoch in self._ownership.owned.items() if before.get(bot) != epoch}
        return Change(
            gained=gained,
            give_back=decision.give_back,
            lost=decision.lost,
            joined=joined,
            left=tuple(gone.values()),
            evicted=evicted,
        )

    def _evict(self, node: Node) -> bool:
        """Remove the row of a node whose beat stood still, unless it has beaten since."""
        try:
            with self._connection.limited(self.life) as connection, connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{STUCK}s'")
                return bool(connection.execute(sql.EVICT, (node.life, node.beat)).fetchall())
        except psycopg.errors.LockNotAvailable:  # it stands still within a transaction; the next look goes on
            self._run(sql.END_PROCESSES, (f"trioworkers {node.life}%",))
            return False

    def _release(self) -> Mapping[int, int]:
        with self._lock:
            epochs = {
                bot: self._ownership.owned[bot] for bot in self._releases if bot in self._ownership.owned
            }
            self._releases.intersection_update(epochs)  # what is not owned any more need not be released
        if not epochs:
            return epochs
        self._run(sql.RELEASE, ([*epochs], [*epochs.values()], self.life))
        with self._lock:
            self._ownership.released(epochs)
            self._releases.difference_update(epochs)
        self._run(sql.TELL)
        return epochs

    def _join(self) -> None:
        (timeline,) = self._run(f"SELECT {sql.TIMELINE}").fetchone() or (None,)
        self._run(sql.GRANT_FIRST)
        if self.former is not None:
            self._run(sql.REMOVE, (self.former,))
            self.former = None
        self._run(sql.SKIP_IDS, (timeline,))
        self.joins(self.life)
        sent = self._clock()
        self._run(sql.JOIN, (self.life, self.name, self.terms.ttl, self._about()))
        with self._lock:
            self._timeline = timeline
            self._renewed_at = sent
            self._ownership.renewed(sent)
        self.renewed(self._ownership.deadline)

    def _tell_about(self) -> None:
        self._about_changed = False
        try:
            self._run(sql.ABOUT, (self._about(), self.life))
        except BaseException:
            self._about_changed = True
            raise

    def _about(self) -> str:
        about = {**self._published, "fleet": fleet_digest(self._bots)}
        if self._leaves:
            about["drains"] = True
        return msgspec.json.encode(about).decode()

    def _run(self, statement: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        return self._connection.run(self.life, statement, values)

    def _open(self) -> None:
        """Make sure that there is a connection; after a failover this life is over.

        Raises:
            StoreError, psycopg.Error: there is none.
        """
        self._connection.open(self.life)
        if self._timeline is not None and self._connection.timeline != self._timeline:
            with self._lock:
                self._ownership.end()
                self._is_failover = True
