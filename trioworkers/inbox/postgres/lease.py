"""The lease of a node of a cluster, kept in the database: a connection of its own, and the statements.

What to do is decided by :class:`~trioworkers.nursery.ownership.Ownership`. :meth:`NodeLease.step` does what
is due; it belongs into a thread of its own, as it waits for the server. Each statement is a transaction that
changes a row only if it is as it was seen, so that an answer may be lost, or a statement come late.

The row of this node is the fence of its writer (:class:`~trioworkers.inbox.postgres.session.Lease`): whoever
removes the row ends this life, and nothing that is committed in its name takes effect any more.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from trioworkers.inbox.postgres import lease_statements as sql
from trioworkers.inbox.postgres.errors import store_error
from trioworkers.inbox.postgres.schema import ALONE, LOCK, prepare
from trioworkers.inbox.postgres.session import end_process, settings_of
from trioworkers.inbox.store import StoreError, StoreFencedError, StoreTakenError, StoreUnreachableError
from trioworkers.nursery.ownership import Ownership, fleet_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from trioworkers.nursery.ownership import Node, Terms

    Connection = psycopg.Connection[Any]
    Cursor = psycopg.Cursor[Any]

STUCK = 0.5  # seconds that an open transaction of a dead node may hold its row


def boottime() -> float:
    """Seconds of a clock that no one sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Change:
    """What one step has brought.

    Attributes:
        gained: bots that are this node's now, with their epochs.
        give_back: bots to stop fetching for and to drain; then :meth:`NodeLease.release` them.
        lost: bots that are not this node's any more; they stop at once.
        is_over: this life has ended, and all its bots stop at once. When nothing of them is left, and the
            writer has nothing more of them, :meth:`NodeLease.begin` another one.
        joined, left, evicted: names of other nodes that were seen for the first time, that have gone, and
            that this node has evicted.
        trouble: why the server was not reached, or refused something; None: it was.
    """

    gained: Mapping[int, int] = field(default_factory=dict)
    give_back: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    is_over: bool = False
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    evicted: tuple[str, ...] = ()
    trouble: StoreError | None = None


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
        self._settings = settings_of(url)
        self._clock, self._is_alive = clock, is_alive
        self._lock = threading.Lock()  # over what both the thread and others use
        self._bots = frozenset(bots)
        self._connection: Connection | None = None
        self._releases: set[int] = set()
        self.unordered: Collection[int] = ()
        self._about_changed = self._is_unsynced = False
        self.begin()

    def begin(self) -> None:
        """Begin a life; the next steps let it join. Nothing of the former one may be left."""
        with self._lock:
            self.life: UUID = uuid4()
            self._timeline: str | None = None  # until it has joined
            self._ownership = Ownership(str(self.life), self.name, self._bots, self.terms)
            self._names: dict[str, str] = {}
            self._renewed_at = self._looked_at = float("-inf")
            self._releases.clear()
            self._leaves = False

    def attach(self, connection: Connection, former: int) -> None:
        """The writer has a new connection; it may only be used on the timeline in which this life began.

        Raises:
            StoreUnreachableError: this life has not joined yet.
            StoreFencedError: this life is over.
        """
        timeline = self._timeline
        if timeline is None:
            message = "this daemon has not joined its cluster yet"
            raise StoreUnreachableError(message)
        if former:  # what it was about to commit is settled sooner
            end_process(connection, former)
        (now,) = connection.execute(f"SELECT {sql.TIMELINE}").fetchone() or (None,)
        if now != timeline or self._ownership.is_over:
            message = "a standby of the database took over: this daemon begins anew"
            raise StoreFencedError(message)

    def may_work(self) -> bool:
        """Whether this node may work for its bots at this moment: no other can have evicted it yet."""
        return self._ownership.may_work(self._clock())

    @property
    def deadline(self) -> float:
        """Until when it may, on the clock that was given."""
        return self._ownership.deadline

    @property
    def owned(self) -> Mapping[int, int]:
        """The epochs of the bots that are this node's, by bot id."""
        with self._lock:
            return dict(self._ownership.owned)

    def release(self, bots: Collection[int]) -> None:
        """Release these bots with the next step: they are drained, and their last commit has been made."""
        with self._lock:
            self._releases.update(bots)

    def change_bots(self, bots: Collection[int]) -> None:
        """The fleet has these bots now."""
        with self._lock:
            self._bots = frozenset(bots)
            self._ownership.change_bots(self._bots)
            self._about_changed = True

    def leave(self) -> None:
        """Give back all bots, and claim none; others are told with the next step."""
        with self._lock:
            self._leaves = self._ownership.leaves = self._about_changed = True

    def wait(self, seconds: float) -> None:
        """Wait until a bot has become free or is to move, for so long at most. For the thread of `step`."""
        if self._connection is None:
            time.sleep(seconds)
            return
        with suppress(psycopg.Error):
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                self._looked_at = float("-inf")

    def close(self) -> None:
        """End this life: its row is removed, if the server is there, and all its bots are free."""
        with suppress(StoreError, psycopg.Error):
            if self._timeline is not None:
                connection = self._open()
                connection.execute("DELETE FROM node WHERE id = %s", (self.life,))
                connection.execute(sql.TELL)
        self._ownership.end()
        self._lose()

    def step(self) -> Change:
        """Do what is due: connect, join, renew, release, look, and what that shows. It raises nothing."""
        try:
            return self._step()
        except StoreError as error:
            self._lose()
            return Change(trouble=error)
        except psycopg.Error as error:
            self._lose()
            return Change(trouble=store_error("the lease could not be kept", error))

    def _step(self) -> Change:
        if self._ownership.is_over:
            return Change(is_over=True)
        connection = self._open()
        if self._ownership.is_over:
            return Change(is_over=True)
        if self._timeline is None:
            self._join(connection)
        if self._about_changed:
            self._about_changed = False
            self._run(sql.ABOUT, (self._about(), self.life))
        now = self._clock()
        if now - self._renewed_at >= self.terms.beat and self._is_alive():
            rows = self._run(sql.RENEW, (self.life,)).fetchall()
            if not rows:
                return self._end()
            self._renewed_at = now
            with self._lock:
                self._ownership.renewed(now)
        self._release()
        if self._clock() - self._looked_at >= self.terms.scan:
            return self._look()
        return Change()

    def _end(self) -> Change:
        with self._lock:
            lost = tuple(self._ownership.owned)
            self._ownership.end()
            self._ownership.owned.clear()
        return Change(is_over=True, lost=lost)

    def _look(self) -> Change:
        began = self._clock()
        row = self._run(sql.LOOK).fetchone()
        view = sql.read_view(row)
        now = self._clock()
        self._looked_at = began
        with self._lock:
            before = dict(self._ownership.owned)
            decision = self._ownership.look(view, now)
            if decision.is_over:
                self._ownership.owned.clear()
        if decision.is_over:
            return Change(is_over=True, lost=tuple(before))
        evicted = tuple(node.name for node in decision.evict if self._evict(node))
        if decision.register:
            self._run(sql.REGISTER, ([*decision.register],))
            self._looked_at = float("-inf")
        if decision.grant:
            self._run(sql.GRANT, (view.granted, view.timeline))
        if decision.claim:
            epochs = sql.claim(self._open(), decision.claim, self.life, self.unordered)
            self._see_synced()
            with self._lock:
                self._ownership.claimed(epochs)
        if decision.evict:  # its bots are free now
            self._looked_at = float("-inf")
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
        connection = self._open()
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{STUCK}s'")
                return bool(connection.execute(sql.EVICT, (node.life, node.beat)).fetchall())
        except psycopg.errors.LockNotAvailable:  # it stands still within a transaction; the next look goes on
            self._run(sql.END_PROCESSES, (f"trioworkers {node.life}%",))
            return False

    def _release(self) -> None:
        with self._lock:
            epochs = {
                bot: self._ownership.owned[bot] for bot in self._releases if bot in self._ownership.owned
            }
        if not epochs:
            return
        self._run(sql.RELEASE, ([*epochs], [*epochs.values()], self.life))
        with self._lock:
            self._ownership.released(epochs)
            self._releases.difference_update(epochs)
        self._run(sql.TELL)

    def _join(self, connection: Connection) -> None:
        (timeline,) = connection.execute(f"SELECT {sql.TIMELINE}").fetchone() or (None,)
        self._run(sql.GRANT_FIRST)
        sent = self._clock()
        self._run(sql.JOIN, (self.life, self.name, self.terms.ttl, self._about()))
        with self._lock:
            self._timeline = timeline
            self._renewed_at = sent
            self._ownership.renewed(sent)

    def _about(self) -> str:
        about = {"fleet": fleet_digest(self._bots)} | ({"drains": True} if self._leaves else {})
        return msgspec.json.encode(about).decode()

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> Cursor:
        """Run one statement, which is a transaction.

        Raises:
            StoreUnreachableError: it is not known to be on the standby that it has to be on.
            psycopg.Error: it took no effect, or the connection was lost, and it may.
        """
        cursor = self._open().execute(statement, values)
        self._see_synced()
        return cursor

    def _see_synced(self) -> None:
        if self._is_unsynced:
            message = "the database does not know whether its standby has the last commit"
            raise StoreUnreachableError(message)

    def _open(self) -> Connection:
        """The connection, opened if there is none; after a failover this life is over.

        Raises:
            StoreTakenError: a daemon that is in no cluster has the database.
        """
        if self._connection is not None:
            return self._connection
        limits = f"-c statement_timeout={self.terms.ttl / 3:.3f}s -c lock_timeout=2s"
        own = {
            "application_name": f"trioworkers {self.life} lease",
            "connect_timeout": "3",
            "options": f"{self._settings.get('options', '')} {limits}".strip(),
        }
        connection = psycopg.connect(make_conninfo(**{**self._settings, **own}), autocommit=True)
        try:
            connection.execute(sql.ENTER, prepare=False)
            prepare(connection)
            lock = connection.execute("SELECT pg_try_advisory_lock_shared(%s, %s)", (LOCK, ALONE)).fetchone()
            if lock is None or not lock[0]:
                message = "another daemon uses this database, and is in no cluster"
                raise StoreTakenError(message)
            (timeline,) = connection.execute(f"SELECT {sql.TIMELINE}").fetchone() or (None,)
            connection.execute(f"LISTEN {sql.CHANNEL}")
        except BaseException:
            connection.close()
            raise
        if self._timeline is not None and timeline != self._timeline:
            self._end()
        connection.add_notice_handler(self._hear_notice)
        self._is_unsynced = False
        self._connection = connection
        return connection

    def _hear_notice(self, said: psycopg.errors.Diagnostic) -> None:
        if said.sqlstate == "01000":  # "canceling wait for synchronous replication": told as a success
            self._is_unsynced = True

    def _lose(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None
