"""The inbox in one SQLite file.

The daemon is the file's only owner and this its only connection that writes, which the writer's thread
uses.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Any

from trioworkers.inbox.sqlite.calls import RecordedCalls
from trioworkers.inbox.sqlite.errors import store_error
from trioworkers.inbox.sqlite.guard import Guard
from trioworkers.inbox.sqlite.holders import holders_of
from trioworkers.inbox.sqlite.letters import Gaps, Letters
from trioworkers.inbox.sqlite.once import OnceKeys
from trioworkers.inbox.sqlite.place import Place
from trioworkers.inbox.sqlite.rows import among, filled, flat, insert
from trioworkers.inbox.sqlite.seen import Seen
from trioworkers.inbox.sqlite.values import Values
from trioworkers.inbox.sqlite.waiting import check_ascent, read_waiting
from trioworkers.inbox.store import (
    DUPLICATE,
    FILTERED,
    Accept,
    BeginCall,
    EndCall,
    Filter,
    Finish,
    Kept,
    MoveToDead,
    Operation,
    Purge,
    PutValue,
    Replay,
    Reschedule,
    StoreError,
)
from trioworkers.inbox.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from trioworkers.inbox.fetch import Fetch, Page
    from trioworkers.inbox.sqlite.disk import Room
    from trioworkers.inbox.store import ArrivalResult, Result, StoreWrite
    from trioworkers.records import DeadLetter, RecordedCall

    Counts = defaultdict[int, list[int]]

COUNTS = ("accepted", "duplicates", "done", "dropped", "expired", "retried", "dead", "purged", "filtered")
ACCEPTED, DUPLICATES, DONE, DROPPED, EXPIRED, RETRIED, DEAD, PURGED, FILTERS = range(len(COUNTS))
OUTCOMES = {"done": DONE, "dropped": DROPPED, "expired": EXPIRED}
ADD_TALLY = "ON CONFLICT (bot_id) DO UPDATE SET " + ", ".join(f"{c} = {c} + excluded.{c}" for c in COUNTS)


def open_sqlite(
    path: Path,
    *,
    durability: str = "full",
    room: Room | None = None,
    reclaim: Callable[[], object] | None = None,
) -> SqliteStore:
    """Open or create the inbox's file, mode 0600.

    Args:
        path: the database file; its folder exists.
        durability: `full` syncs every commit; with `normal` a power cut may take the last ones back
            (https://sqlite.org/wal.html, "Performance Considerations").
        room: the disk's, without which updates are accepted until it is full.
        reclaim: called before a file that was removed or replaced is put back, in the writer's thread: it
            makes the folder and takes its lock, or raises a TrioworkersError or OSError. None: it makes the
            folder.

    Raises:
        StoreRefusedError: the file is not an inbox, or was written by a newer trioworkers.
        StoreForbiddenError: the file may not be written.
        StoreError: the file cannot be opened.
    """
    try:
        place = Place(path, durability, reclaim)
    except sqlite3.Error as error:
        raise store_error(f"cannot use {path}", error) from error
    try:
        return SqliteStore(place, room)
    except sqlite3.Error as error:
        place.connection.close()
        raise store_error(f"cannot use {path}", error) from error
    except StoreError:
        place.connection.close()
        raise


class _DoubtError(Exception):
    """Not everything is as it nearly always is: an update comes again, or ends a second time."""


class SqliteStore:
    """A :class:`~trioworkers.inbox.store.Store` over an open connection, which it owns."""

    is_shared = False

    def __init__(self, place: Place, room: Room | None) -> None:
        self._place = place
        self._room = room
        place.moved = self._attach
        self._attach(place.connection)

    def _attach(self, connection: sqlite3.Connection) -> None:
        """Begin over a connection, as after a start."""
        self._connection = connection
        self._guard = Guard(connection, self._place.path, self._room)
        self._execute = connection.execute
        row = self._execute("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'").fetchone()
        self._last_id: int = row[0] if row else 0
        self._seen = Seen(connection)
        self._once = OnceKeys(connection)
        self._calls = RecordedCalls(connection)
        self._gaps = Gaps(connection)
        self._letters = Letters(connection, self._gaps)
        self._values = Values(connection)

    def commit(self, operations: Sequence[Operation]) -> Sequence[Result]:
        by_type: dict[type, list[Any]] = defaultdict(list)
        by_type[EndCall] = by_type[BeginCall]  # of one kind each: they take effect in the order given
        by_type[Filter] = by_type[Accept]
        for operation in operations:
            by_type[type(operation)].append(operation)
        puts = by_type[PutValue]
        brings = by_type[Accept] or (puts and any(put.value is not None for put in puts))
        if brings:
            self._place.see()
            self._guard.see_room()
        try:
            results = self._commit(by_type, sure=True)
        except _DoubtError:
            results = self._commit(by_type, sure=False)
        if brings:
            self._place.see_again()  # before anybody confirms what was committed
        return [next(results[kind]) if (kind := type(one)) in results else None for one in operations]

    def _commit(self, by_type: Mapping[type, list[Any]], *, sure: bool) -> dict[type, Iterator[Result]]:
        """Commit, and return the results of those kinds that have any.

        `sure`: take it for granted that every update is new, and every end a first one, which spares a look
        before each change.

        Raises:
            _DoubtError: it is not so; nothing took effect.
        """
        counts: Counts = defaultdict(lambda: [0] * len(COUNTS))
        writes: list[StoreWrite] = []
        finished = {finish.id for finish in by_type[Finish]}
        last_id = self._last_id
        try:
            with self._guard.transaction():
                self._calls.record(by_type[BeginCall], finished)
                self._finish(by_type[Finish], counts, writes, sure)
                for reschedule in by_type[Reschedule]:
                    self._reschedule(reschedule, counts)
                for dead_letter in by_type[MoveToDead]:
                    if self._letters.dead_letter(dead_letter):
                        counts[dead_letter.bot_id][DEAD] += 1
                # after what leaves gaps, so that it is told of them; before what the queue has to fetch
                accepted = iter(self._accept(by_type[Accept], counts, writes, sure))
                replayed = iter([self._replay(replay, counts) for replay in by_type[Replay]])
                purged = iter([self._purge(purge, counts) for purge in by_type[Purge]])
                puts = by_type[PutValue]
                put = iter(self._values.write(writes, puts) if writes or puts else ())
                insert(
                    self._connection,
                    f"tally (bot_id, {', '.join(COUNTS)})",
                    1 + len(COUNTS),
                    flat([(bot_id, *count) for bot_id, count in counts.items()]),
                    ADD_TALLY,
                )
        except BaseException:
            self._last_id = last_id
            self._calls.ids.undo()
            self._gaps.open.undo()
            self._once.undo()
            raise
        self._calls.ids.keep()
        self._gaps.open.keep()
        self._once.keep()
        return {Accept: accepted, Filter: accepted, Replay: replayed, Purge: purged, PutValue: put}

    def waiting(
        self,
        bot_id: int,
        fetch: Fetch,
    ) -> Page:
        with self._guard.reading():
            return read_waiting(self._connection, self._calls.ids, self._last_id, bot_id, fetch)

    def known(self, bot_id: int, update_ids: Collection[int]) -> set[int]:
        with self._guard.reading():
            known = self._seen.known([(bot_id, update_id) for update_id in update_ids])
        return {update_id for _, update_id in known}

    def calls(self, id: int) -> Sequence[RecordedCall]:
        with self._guard.reading():
            return self._calls.of(id)

    def recorded(self, calls: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
        with self._guard.reading():
            return self._calls.among(calls)

    def dead(
        self,
        *,
        ids: Sequence[int] | None = None,
        bot_id: int | None = None,
        died_by: float | None = None,
        after: int = 0,
        limit: int,
    ) -> Sequence[DeadLetter]:
        with self._guard.reading():
            letters = self._letters.read(ids, bot_id, died_by, after, limit)
            check_ascent(after, letters)
            return letters

    def tallies(self, bot_ids: Collection[int] | None = None) -> Mapping[int, Tally]:
        pending = dict(self._read("SELECT bot_id, count(*) FROM inbox GROUP BY bot_id"))
        return {
            bot_id: Tally(*counts, pending=pending.get(bot_id, 0))
            for bot_id, *counts in self._read(f"SELECT bot_id, {', '.join(COUNTS)} FROM tally")
            if bot_ids is None or bot_id in bot_ids
        }

    def news(self, after: Mapping[int, int]) -> Collection[int]:
        query = "SELECT EXISTS (SELECT 1 FROM inbox WHERE bot_id = ? AND id > ?)"
        return {bot_id for bot_id, id_ in after.items() if self._read(query, (bot_id, id_))[0][0]}

    def forget(self, before: float, limit: int) -> int:
        return self._seen.forget(self._guard, before, limit)

    def forget_keys(self, now: float, limit: int) -> int:
        return self._once.forget(self._guard, now, limit)

    def value(self, plugin: str, key: str, now: float) -> bytes | None:
        with self._guard.reading():
            return self._values.one(plugin, key, now)

    def values(
        self, plugin: str, prefix: str, after: str, limit: int, now: float
    ) -> Sequence[tuple[str, bytes]]:
        with self._guard.reading():
            return self._values.several(plugin, prefix, after, limit, now)

    def forget_values(self, now: float, limit: int) -> int:
        return self._values.forget(self._guard, now, limit)

    def tend(self, *, prove: bool = False) -> int:
        self._place.see()
        return self._guard.tend(prove=prove)

    def holders(self) -> Sequence[str]:
        return holders_of(self._place.path)

    def backup(self, path: Path) -> None:
        self._place.see_for_copy()
        self._guard.backup(path)

    def close(self) -> None:
        self._place.close()

    def _accept(
        self, operations: Sequence[Accept | Filter], counts: Counts, writes: list[StoreWrite], sure: bool
    ) -> list[ArrivalResult]:
        ids = [(operation.bot_id, operation.update_id) for operation in operations]
        known: set[tuple[int, int]] = set() if sure else self._seen.known(ids)
        results: list[ArrivalResult] = []
        seen: list[object] = []
        rows: list[object] = []
        taken = False
        for operation, id_ in zip(operations, ids, strict=True):
            count = counts[operation.bot_id]
            if id_ in known:  # or twice in here
                count[DUPLICATES] += 1
                results.append(DUPLICATE)
                continue
            known.add(id_)
            seen += (*id_, operation.at)
            if type(operation) is Filter:  # half the time of isinstance, for each update
                count[FILTERS] += 1
                results.append(FILTERED)
                continue
            if operation.once:
                if (repeated := self._once.take(operation)) is not None:
                    count[FILTERS] += 1
                    results.append(repeated)
                    continue
                taken = True
            if operation.writes:
                writes += operation.writes
            count[ACCEPTED] += 1
            new = self._keep(operation.bot_id, operation.key)
            results.append(new)
            body = operation.body
            rows += (
                new.id,
                *id_,
                operation.key,
                operation.kind,
                body,
                zlib.crc32(body),
                operation.at,
                new.after_gap,
            )
        if self._seen.add(seen) < len(seen) // 3:
            raise _DoubtError
        if taken:
            self._once.write()
        insert(
            self._connection,
            "inbox (id, bot_id, update_id, key, kind, body, checksum, accepted_at, after_gap)",
            9,
            rows,
        )
        return results

    def _keep(self, bot_id: int, key: str) -> Kept:
        self._last_id += 1
        return Kept(self._last_id, self._gaps.close(bot_id, key))

    def _finish(
        self, operations: Sequence[Finish], counts: Counts, writes: list[StoreWrite], sure: bool
    ) -> None:
        ids = [operation.id for operation in operations]
        absent: set[int] = set()
        if not sure:
            absent.update(ids)
            for chunk in filled(ids):
                found = self._execute(f"SELECT id FROM inbox WHERE id IN {among(len(chunk))}", chunk)
                absent.difference_update(chain(*found))
        ended = 0
        for chunk in filled(ids):
            ended += self._execute(f"DELETE FROM inbox WHERE id IN {among(len(chunk))}", chunk).rowcount
        if sure and ended < len(ids):
            raise _DoubtError
        self._calls.forget([id_ for id_ in ids if id_ not in absent])
        for operation in operations:
            if operation.id not in absent:
                absent.add(operation.id)
                counts[operation.bot_id][OUTCOMES[operation.outcome]] += 1
                if operation.writes:
                    writes += operation.writes

    def _reschedule(self, operation: Reschedule, counts: Counts) -> None:
        update = operation.update
        before = self._execute(
            "SELECT attempt, due, started_at, suspect, crashes, skipped FROM inbox WHERE id = ?", (update.id,)
        ).fetchone()
        after = update.attempt, update.due, update.started_at, update.suspect, update.crashes, update.skipped
        if before is None or before == after:
            return
        counts[update.bot_id][RETRIED] += 1
        self._execute(
            "UPDATE inbox SET attempt = ?, due = ?, started_at = ?, suspect = ?, crashes = ?, skipped = ?"
            " WHERE id = ?",
            (*after, update.id),
        )
        self._letters.log(update.id, operation.failure)
        if update.skipped and not before[-1]:
            self._gaps.leave(update.bot_id, update.key, update.id)

    def _replay(self, operation: Replay, counts: Counts) -> Kept | None:
        key = self._letters.key(operation.id)
        if key is None:
            return None
        new = self._keep(operation.bot_id, key)
        self._letters.revive(operation.id, new.id, after_gap=new.after_gap)
        self._calls.move(operation.id, new.id)
        counts[operation.bot_id][DEAD] -= 1
        return new

    def _purge(self, operation: Purge, counts: Counts) -> bool:
        if not self._letters.remove(operation.id):
            return False
        self._calls.forget([operation.id])
        counts[operation.bot_id][DEAD] -= 1
        counts[operation.bot_id][PURGED] += 1
        return True

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._guard.reading():
            return self._execute(query, values).fetchall()
