"""The inbox in one SQLite file.

The daemon is the file's only owner and this its only connection that writes, which the writer's thread
uses.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import zlib
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Any

from trioworkers.inbox.fetch import Page
from trioworkers.inbox.sqlite.calls import RecordedCalls
from trioworkers.inbox.sqlite.errors import store_error
from trioworkers.inbox.sqlite.guard import Guard
from trioworkers.inbox.sqlite.letters import Gaps, Letters
from trioworkers.inbox.sqlite.once import OnceKeys
from trioworkers.inbox.sqlite.rows import among, filled, flat, insert
from trioworkers.inbox.sqlite.schema import prepare
from trioworkers.inbox.sqlite.seen import Seen
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
    Replay,
    Reschedule,
    StoreError,
    StoreForbiddenError,
    Tally,
)
from trioworkers.records import Waiting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from trioworkers.inbox.fetch import Fetch
    from trioworkers.inbox.sqlite.disk import Room
    from trioworkers.inbox.sqlite.once import BatchKeys
    from trioworkers.inbox.store import ArrivalResult, Result
    from trioworkers.records import DeadLetter, RecordedCall

    Counts = defaultdict[int, list[int]]

COUNTS = ("accepted", "duplicates", "done", "dropped", "expired", "retried", "dead", "purged", "filtered")
ACCEPTED, DUPLICATES, DONE, DROPPED, EXPIRED, RETRIED, DEAD, PURGED, FILTERS = range(len(COUNTS))
OUTCOMES = {"done": DONE, "dropped": DROPPED, "expired": EXPIRED}
ADD_TALLY = "ON CONFLICT (bot_id) DO UPDATE SET " + ", ".join(f"{c} = {c} + excluded.{c}" for c in COUNTS)


def open_sqlite(path: Path, *, durability: str = "full", room: Room | None = None) -> SqliteStore:
    """Open or create the inbox's file, mode 0600.

    Args:
        path: the database file; its folder exists.
        durability: `full` syncs every commit; with `normal` a power cut may take the last ones back
            (https://sqlite.org/wal.html, "Performance Considerations").
        room: the disk's, without which updates are accepted until it is full.

    Raises:
        StoreRefusedError: the file is not an inbox, or was written by a newer trioworkers.
        StoreForbiddenError: the file may not be written.
        StoreError: the file cannot be opened.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=5
        )
    except (OSError, sqlite3.Error) as error:
        forbidden = isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
        message = f"cannot open {path}: {error}"
        raise (StoreForbiddenError if forbidden else StoreError)(message) from error
    try:
        prepare(connection, path, durability)
        return SqliteStore(connection, path, room)
    except sqlite3.Error as error:
        connection.close()
        raise store_error(f"cannot use {path}", error) from error
    except StoreError:
        connection.close()
        raise


class _DoubtError(Exception):
    """Not everything is as it nearly always is: an update comes again, or ends a second time."""


class SqliteStore:
    """A :class:`~trioworkers.inbox.store.Store` over an open connection, which it owns."""

    def __init__(self, connection: sqlite3.Connection, path: Path, room: Room | None) -> None:
        self._connection = connection
        self._guard = Guard(connection, path, room)
        self._execute = connection.execute
        row = self._execute("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'").fetchone()
        self._last_id: int = row[0] if row else 0
        self._seen = Seen(connection)
        self._once = OnceKeys(connection)
        self._calls = RecordedCalls(connection)
        self._gaps = Gaps(connection)
        self._letters = Letters(connection, self._gaps)

    def commit(self, operations: Sequence[Operation]) -> Sequence[Result]:
        by_type: dict[type, list[Any]] = defaultdict(list)
        by_type[EndCall] = by_type[BeginCall]  # of one kind each: they take effect in the order given
        by_type[Filter] = by_type[Accept]
        for operation in operations:
            by_type[type(operation)].append(operation)
        if by_type[Accept]:
            self._guard.see_room()
        try:
            results = self._commit(by_type, sure=True)
        except _DoubtError:
            results = self._commit(by_type, sure=False)
        return [next(results[kind]) if (kind := type(one)) in results else None for one in operations]

    def _commit(self, by_type: Mapping[type, list[Any]], *, sure: bool) -> dict[type, Iterator[Result]]:
        """Commit, and return the results of those kinds that have any.

        `sure`: take it for granted that every update is new, and every end a first one, which spares a look
        before each change.

        Raises:
            _DoubtError: it is not so; nothing took effect.
        """
        counts: Counts = defaultdict(lambda: [0] * len(COUNTS))
        finished = {finish.id for finish in by_type[Finish]}
        last_id = self._last_id
        try:
            with self._guard.transaction():
                self._calls.record(by_type[BeginCall], finished)
                self._finish(by_type[Finish], counts, sure)
                for reschedule in by_type[Reschedule]:
                    self._reschedule(reschedule, counts)
                for dead_letter in by_type[MoveToDead]:
                    if self._letters.dead_letter(dead_letter):
                        counts[dead_letter.bot_id][DEAD] += 1
                # after what leaves gaps, so that it is told of them; before what the queue has to fetch
                accepted = iter(self._accept(by_type[Accept], counts, sure))
                replayed = iter([self._replay(replay, counts) for replay in by_type[Replay]])
                purged = iter([self._purge(purge, counts) for purge in by_type[Purge]])
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
            raise
        self._calls.ids.keep()
        self._gaps.open.keep()
        return {Accept: accepted, Filter: accepted, Replay: replayed, Purge: purged}

    def waiting(
        self,
        bot_id: int,
        fetch: Fetch,
    ) -> Page:
        last = looked_until = self._last_id if fetch.until is None else min(fetch.until, self._last_id)
        where = "bot_id = ? AND id > ? AND id <= ?"
        with self._guard.reading():
            if fetch.most is not None:
                end = self._execute(
                    f"SELECT id FROM inbox WHERE {where} ORDER BY id LIMIT 1 OFFSET ?",
                    [bot_id, fetch.after, last, fetch.most - 1],
                ).fetchall()
                looked_until = end[0][0] if end else last
            values: list[object] = [bot_id, fetch.after, looked_until]
            if fetch.key is not None:
                where, values = f"{where} AND key = ? AND NOT skipped", [*values, fetch.key]
            if fetch.without:  # however many, they are one parameter
                where += " AND (skipped OR key NOT IN (SELECT value FROM json_each(?)))"
                values.append(json.dumps([*fetch.without]))
            rows = self._execute(
                "SELECT id, bot_id, update_id, key, body, accepted_at, attempt, due, started_at, after_gap,"
                f" checksum, kind, suspect, crashes, skipped FROM inbox WHERE {where} ORDER BY id LIMIT ?",
                [*values, fetch.limit],
            )
            found = [_waiting(row, row[0] in self._calls.ids) for row in rows]
            _check_ascent(fetch.after, found)
        if len(found) == fetch.limit:
            looked_until = found[-1].id
        return Page(found, looked_until, more=looked_until < last)

    def known(self, bot_id: int, update_ids: Collection[int]) -> set[int]:
        with self._guard.reading():
            known = self._seen.known([(bot_id, update_id) for update_id in update_ids])
        return {update_id for _, update_id in known}

    def calls(self, id: int) -> Sequence[RecordedCall]:
        with self._guard.reading():
            return self._calls.of(id)

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
            _check_ascent(after, letters)
            return letters

    def tallies(self) -> Mapping[int, Tally]:
        pending = dict(self._read("SELECT bot_id, count(*) FROM inbox GROUP BY bot_id"))
        return {
            bot_id: Tally(*counts, pending=pending.get(bot_id, 0))
            for bot_id, *counts in self._read(f"SELECT bot_id, {', '.join(COUNTS)} FROM tally")
        }

    def forget(self, before: float, limit: int) -> int:
        return self._seen.forget(self._guard, before, limit)

    def forget_keys(self, now: float, limit: int) -> int:
        return self._once.forget(self._guard, now, limit)

    def tend(self) -> None:
        self._guard.tend()

    def backup(self, path: Path) -> None:
        self._guard.backup(path)

    def close(self) -> None:
        self._connection.close()

    def _accept(
        self, operations: Sequence[Accept | Filter], counts: Counts, sure: bool
    ) -> list[ArrivalResult]:
        ids = [(operation.bot_id, operation.update_id) for operation in operations]
        known: set[tuple[int, int]] = set() if sure else self._seen.known(ids)
        results: list[ArrivalResult] = []
        seen: list[object] = []
        rows: list[object] = []
        keys: BatchKeys | None = None
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
                keys = self._once.of(operations) if keys is None else keys
                if (repeated := keys.take(operation)) is not None:
                    count[FILTERS] += 1
                    results.append(repeated)
                    continue
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
        if keys is not None:
            keys.write()
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

    def _finish(self, operations: Sequence[Finish], counts: Counts, sure: bool) -> None:
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


def _check_ascent(after: int, found: Sequence[Waiting | DeadLetter]) -> None:
    """Raise ValueError where ids do not ascend, as in a damaged file: paging by the last would never end."""
    for one in found:
        if one.id <= after:
            raise ValueError(after)
        after = one.id


def _waiting(row: tuple[Any, ...], called: bool) -> Waiting:
    id_, bot_id, update_id, key, body, accepted_at, attempt, due, started_at, after_gap, checksum, *rest = row
    kind, suspect, crashes, skipped = rest
    return Waiting(
        *(id_, bot_id, update_id, key, body, accepted_at, attempt, due, started_at, bool(after_gap)),
        damaged=zlib.crc32(body) != checksum,
        kind=kind,
        suspect=bool(suspect),
        crashes=crashes,
        skipped=bool(skipped),
        called=called,
    )
