"""The store of the inbox in a PostgreSQL database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from trioworkers.inbox.postgres import reads
from trioworkers.inbox.postgres import statements as sql
from trioworkers.inbox.postgres.arrays import Ints, text
from trioworkers.inbox.postgres.commit import Commit, DoubtError, bots_with_ids, may_be_sure
from trioworkers.inbox.postgres.errors import store_error
from trioworkers.inbox.postgres.keys import encoded_key
from trioworkers.inbox.postgres.session import Session
from trioworkers.inbox.store import (
    StoreError,
    StoreFencedError,
    StoreUnknownError,
    StoreUnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path
    from uuid import UUID

    from trioworkers.inbox.fetch import Fetch, Page
    from trioworkers.inbox.postgres.session import Connection, Lease
    from trioworkers.inbox.store import Operation, Result
    from trioworkers.inbox.tally import Tally
    from trioworkers.records import DeadLetter, RecordedCall

T = TypeVar("T")

KEPT_MARKS = 5  # commits whose marks stay, of which the server may lose the last ones
FOLD_OLD_EVERY = 60  # rounds of upkeep
TOOK_EFFECT = "the connection to the database was lost in a commit, which took effect all the same"


class PostgresStore:
    """A :class:`~trioworkers.inbox.store.Store` over a session, which it owns. Used by one thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._heads: set[int] = set()  # bots that have a row in `head`
        self._life: UUID | None = None  # which saw that: a standby that took over may have lost them
        self._last_ids: dict[int, int] = {}
        self._folded: tuple[UUID | None, int] = None, 0  # a life, and up to which of its commits
        self._rounds = 0

    @property
    def is_shared(self) -> bool:
        return self._session.lease.is_shared

    def open(self) -> None:
        """Connect, and make or change the tables.

        Raises:
            StoreUnreachableError: the server cannot be reached now.
            StoreError: it can, and the store cannot be used as it is.
        """
        self._session.connection()

    def commit(self, operations: Sequence[Operation]) -> Sequence[Result]:
        sure = may_be_sure(operations)
        for is_last in (False, True):
            try:
                try:
                    return self._commit(operations, sure=sure)
                except DoubtError:
                    sure = False
                    return self._commit(operations, sure=False)
            except psycopg.Error as error:
                told = self._told("the inbox could not commit", error)
                if not isinstance(told, StoreUnreachableError):
                    raise told from None
                if is_last:
                    raise (StoreUnknownError(str(told)) if self._session.in_doubt else told) from None
            if self._took_effect(told):
                raise StoreUnknownError(TOOK_EFFECT)
        raise AssertionError

    def _took_effect(self, lost: StoreError) -> bool:
        """Whether the commit in which the connection was lost did, once there is another connection."""
        try:
            return self._session.reopen()
        except StoreUnreachableError as away:
            if self._session.in_doubt:
                message = f"{lost}; it is not known yet whether it took effect: {away}"
                raise StoreUnknownError(message) from None
            raise away from None

    def _commit(self, operations: Sequence[Operation], *, sure: bool) -> Sequence[Result]:
        if self.is_shared:
            self._know_heads(bots_with_ids(operations))
        return Commit(self._session, operations, self._last_ids, sure=sure).run()

    def _know_heads(self, bots: set[int]) -> None:
        """See that these bots have the rows that are locked by whoever gives their updates ids."""
        connection = self._session.connection()
        if self._life != self._session.life:
            self._life = self._session.life
            self._heads.clear()
        if new := bots - self._heads:
            connection.execute(sql.HEADS, (Ints(new),))
            self._heads |= new

    def waiting(self, bot_id: int, fetch: Fetch) -> Page:
        page = self._reading(lambda: reads.read_waiting(self._rows, bot_id, fetch))
        if fetch.key is None and fetch.until is None and not page.more:
            self._last_ids[bot_id] = max(page.until, self._last_ids.get(bot_id, 0))
        return page

    def known(self, bot_id: int, update_ids: Collection[int]) -> set[int]:
        asked = Ints([bot_id] * len(update_ids)), Ints(update_ids)
        return {update for _, update in self._reading(lambda: self._rows(sql.KNOWN, asked))}

    def calls(self, id: int) -> Sequence[RecordedCall]:
        return self._reading(lambda: reads.read_calls(self._rows, id))

    def recorded(self, calls: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
        return self._reading(lambda: reads.read_recorded(self._rows, calls))

    def dead(
        self,
        *,
        ids: Sequence[int] | None = None,
        bot_id: int | None = None,
        died_by: float | None = None,
        after: int = 0,
        limit: int,
    ) -> Sequence[DeadLetter]:
        return self._reading(lambda: reads.read_dead(self._rows, ids, bot_id, died_by, after, limit))

    def tallies(self, bot_ids: Collection[int] | None = None) -> Mapping[int, Tally]:
        return self._reading(lambda: reads.read_tallies(self._rows, bot_ids))

    def news(self, after: Mapping[int, int]) -> Collection[int]:
        given = Ints(after), Ints(after.values())
        return [bot_id for (bot_id,) in self._reading(lambda: self._rows(sql.BEHIND, given))]

    def forget(self, before: float, limit: int) -> int:
        old = "SELECT ctid FROM seen WHERE at < %s LIMIT %s FOR UPDATE SKIP LOCKED"
        return self._changing(f"DELETE FROM seen WHERE ctid = ANY(ARRAY({old}))", (before, limit)).rowcount

    def forget_keys(self, now: float, limit: int) -> int:
        old = (
            "SELECT ctid FROM once WHERE until <= %s ORDER BY until, bot_id, key LIMIT %s"
            " FOR UPDATE SKIP LOCKED"
        )
        return self._changing(f"DELETE FROM once WHERE ctid = ANY(ARRAY({old}))", (now, limit)).rowcount

    def value(self, plugin: str, key: str, now: float) -> bytes | None:
        query = (
            "SELECT value FROM plugin_values WHERE plugin = %s AND key = %s AND (until IS NULL OR until > %s)"
        )
        rows = self._reading(lambda: self._rows(query, (text(plugin), encoded_key(key), now)))
        return bytes(rows[0][0]) if rows else None

    def values(
        self, plugin: str, prefix: str, after: str, limit: int, now: float
    ) -> Sequence[tuple[str, bytes]]:
        return self._reading(lambda: reads.read_values(self._rows, plugin, prefix, after, limit, now))

    def forget_values(self, now: float, limit: int) -> int:
        old = (
            "SELECT ctid FROM plugin_values WHERE until <= %s ORDER BY until, plugin, key LIMIT %s"
            " FOR UPDATE SKIP LOCKED"
        )
        return self._changing(
            f"DELETE FROM plugin_values WHERE ctid = ANY(ARRAY({old}))", (now, limit)
        ).rowcount

    def tend(self, *, prove: bool = False) -> int:
        """Add what was counted to the tallies, and forget the marks of commits that are not in doubt."""
        self._session.connection()  # with another life its commits are counted anew
        life, last = self._session.life, self._session.batch
        folded = min(self._folded[1], last) if self._folded[0] == life else 0
        # what was deleted stays in the indexes while somebody has an older snapshot: it is not passed again
        self._changing(sql.FOLD, (life, folded, last))
        if self._rounds % FOLD_OLD_EVERY == 0:
            self._changing(sql.FOLD_OLD, ())
        self._rounds += 1
        self._changing(sql.FORGET_MARKS, (life, folded - KEPT_MARKS, last - KEPT_MARKS))
        self._folded = life, last
        if prove:
            self.commit(())
        return 0

    def holders(self) -> Sequence[str]:
        return ()

    def backup(self, path: Path) -> None:
        message = "the inbox is in a database of PostgreSQL: copy it with pg_dump, which may run meanwhile"
        raise StoreError(message)

    def close(self) -> None:
        self._session.lose()

    def _rows(self, query: str, values: Any) -> list[tuple[Any, ...]]:
        return self._session.connection().cursor(binary=True).execute(query, values).fetchall()

    def _reading(self, read: Callable[[], T]) -> T:
        """Read; once more, where the connection was lost since it was used last."""
        for is_last in (False, True):
            try:
                return read()
            except psycopg.Error as error:
                told = self._told("the inbox could not be read", error)
                if is_last or not isinstance(told, StoreUnreachableError):
                    raise told from None
        raise AssertionError

    def _changing(self, statement: str, values: Any) -> psycopg.Cursor[Any]:
        """Run one statement of upkeep, which may be run twice."""

        def run() -> psycopg.Cursor[Any]:
            connection: Connection = self._session.connection()
            return connection.cursor(binary=True).execute(statement, values)

        return self._reading(run)

    def _told(self, what: str, error: psycopg.Error) -> StoreError:
        told = store_error(what, error)
        if isinstance(told, StoreFencedError):
            told.life = self._session.life
        if isinstance(told, StoreUnreachableError):
            self._session.lose()
        return told


def postgres_store(url: str, lease: Lease, durability: str = "full") -> PostgresStore:
    """A store at the server of `url` (libpq's `postgresql://…`); :meth:`PostgresStore.open` connects.

    Raises:
        StoreRefusedError: the address is not one.
    """
    return PostgresStore(Session(url, lease, durability))
