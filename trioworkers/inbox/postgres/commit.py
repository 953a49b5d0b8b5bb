"""One commit: what the operations come to, sent as one pipeline.

It is first tried on the assumption that every update and once key is new, as they nearly always are: then
everything can be sent at once, and the server answers once. Where that does not hold, and where a plugin's
values depend on what there is, the answers are waited for where they decide.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from itertools import repeat
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg import pq

from trioworkers.inbox.postgres import statements as sql
from trioworkers.inbox.postgres.arrays import Blobs, Bools, Floats, Ints, Texts, text
from trioworkers.inbox.postgres.keys import encoded_key, in_order, places
from trioworkers.inbox.postgres.schema import COUNTS
from trioworkers.inbox.rules import Committed, once_seen, put_result
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
    Purge,
    PutValue,
    Replay,
    Reschedule,
    StoreUnknownError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trioworkers.inbox.postgres.session import Session
    from trioworkers.inbox.store import ArrivalResult, Operation, Result, StoreWrite

    Cursor = psycopg.Cursor[Any]

OUTCOMES = {"done": 0, "dropped": 1, "expired": 2}
ACCEPTED, DUPLICATES, FILTERS = (COUNTS.index(name) for name in ("accepted", "duplicates", "filtered"))
FOREVER = float("inf")
UNREPLICATED = "the server gave up waiting for a synchronous standby: a commit may be on the server alone"


class DoubtError(Exception):
    """Not everything is new; nothing took effect."""


class Commit:
    """Operations that are about to be committed, in one attempt.

    Args:
        session: where to.
        operations: what.
        last_ids: the last id that this daemon knows of each bot; it is changed.
        sure: take it for granted that every update and every once key is new.
    """

    def __init__(
        self, session: Session, operations: Sequence[Operation], last_ids: dict[int, int], *, sure: bool
    ) -> None:
        self._session = session
        self._operations = operations
        self._last_ids = last_ids
        self._sure = sure
        self._by_type: dict[type, list[tuple[int, Any]]] = defaultdict(list)
        for place, operation in enumerate(operations):
            kind = type(operation)
            if kind is EndCall:
                kind = BeginCall  # of one kind: they take effect in the order given
            elif kind is Filter:
                kind = Accept
            self._by_type[kind].append((place, operation))
        self._writes: list[StoreWrite] = []
        self._results: list[Result] = [None] * len(operations)
        self._later: list[Callable[[], None]] = []  # read results, when the server has answered

    def run(self) -> Sequence[Result]:
        """Do it; return the results.

        Raises:
            DoubtError: it was not as it was taken for granted.
            psycopg.Error, StoreError: it failed; with `session.in_doubt` the connection was lost in COMMIT.
        """
        connection = self._session.connection()  # there may be another life now, whose numbers begin anew
        self._node, self._batch = self._session.life, self._session.batch + 1
        self._session.is_unreplicated = False
        try:
            with connection.pipeline():
                connection.execute("BEGIN")  # spelled out, so that the pipeline's end commits nothing
                self._run(connection)
                self._session.in_doubt = True  # from here on it may take effect
                connection.execute("COMMIT")
        except BaseException as error:
            self._failed(connection, error)
            if self._sure and isinstance(error, psycopg.errors.UniqueViolation):
                raise DoubtError from None
            raise
        self._session.in_doubt = False
        self._session.batch = self._batch
        if self._session.is_unreplicated:
            raise StoreUnknownError(UNREPLICATED)
        for read in self._later:
            read()
        return self._results

    def _failed(self, connection: psycopg.Connection[Any], error: BaseException) -> None:
        """Roll back; where the server has not said that it refused something, COMMIT stays in doubt."""
        refused = isinstance(error, psycopg.Error) and error.diag.severity_nonlocalized == "ERROR"
        if self._session.in_doubt and not refused:
            self._session.lose()
            return
        self._session.in_doubt = False
        if not connection.closed and connection.info.transaction_status != pq.TransactionStatus.IDLE:
            connection.pgconn.exec_(b"ROLLBACK")  # psycopg's own would forget all prepared statements

    def _run(self, connection: psycopg.Connection[Any]) -> None:
        def execute(statement: str, values: Any) -> Cursor:
            return connection.cursor(binary=True).execute(statement, values)

        of = self._by_type
        execute(sql.FENCE, (self._node, self._batch))
        if self._session.lease.is_shared and (bots := sorted(bots_with_ids(self._operations))):
            execute(sql.LOCK, (Ints(bots),))
        finished = {finish.id for _, finish in of[Finish]}
        if of[BeginCall]:
            self._record(execute, [call for _, call in of[BeginCall]], finished)
        if finished:
            self._finish(execute, [finish for _, finish in of[Finish]])
        for _, one in of[Reschedule]:
            self._reschedule(execute, one)
        for _, one in of[MoveToDead]:
            self._move_to_dead(execute, one)
        if of[Accept]:
            self._arrivals(execute, of[Accept])
        for place, one in of[Replay]:
            self._read_later(execute(sql.REPLAY, self._one(one.id)), place, lambda row: row and Kept(*row))
        for place, one in of[Purge]:
            self._read_later(execute(sql.PURGE, self._one(one.id)), place, bool)
        if of[PutValue] or self._writes:
            self._put(execute, of[PutValue])

    def _one(self, id_: int) -> dict[str, Any]:
        return {"id": id_, "node": self._node, "batch": self._batch}

    def _read_later(self, cursor: Cursor, place: int, result: Callable[[Any], Result]) -> None:
        def read() -> None:
            self._results[place] = result(cursor.fetchone())

        self._later.append(read)

    def _record(
        self, execute: Callable[..., Cursor], calls: Sequence[BeginCall | EndCall], finished: set[int]
    ) -> None:
        rows: dict[tuple[int, str], tuple[float, bytes | None, int]] = {}
        for call in calls:
            place = call.id, text(call.key)
            if call.id in finished:  # in the same commit: it needs no record
                continue
            row = rows.get(place)
            if isinstance(call, BeginCall):
                rows[place] = (call.at, None, 1) if row is None else (row[0], row[1], 2)
            elif call.answer is not None:
                at, _, begun = row or (0.0, None, 0)
                rows[place] = at, call.answer, begun
            elif row is None:
                execute(sql.NOT_MADE, place)
            elif row[1:] == (None, 1):
                del rows[place]
                execute(sql.BEGUN_AGAIN, place)  # it may have been begun in an earlier commit, too
        if rows:
            columns = (
                Ints(id_ for id_, _ in rows),
                Texts(key for _, key in rows),
                Floats(row[0] for row in rows.values()),
                Blobs(row[1] for row in rows.values()),
                Ints(row[2] for row in rows.values()),
            )
            execute(sql.RECORD, columns)

    def _finish(self, execute: Callable[..., Cursor], ends: Sequence[Finish]) -> None:
        outcomes = {end.id: OUTCOMES[end.outcome] for end in reversed(ends)}  # the first of two counts
        values = Ints(outcomes), Ints(outcomes.values()), self._node, self._batch
        cursor = execute(sql.FINISH, values)
        if any(end.writes for end in ends):
            gone = {id_ for (id_,) in cursor.fetchall()}
            for end in ends:
                if end.id in gone:
                    gone.remove(end.id)
                    self._writes += end.writes

    def _reschedule(self, execute: Callable[..., Cursor], operation: Reschedule) -> None:
        update = operation.update
        values = {
            "attempt": update.attempt,
            "due": update.due,
            "started_at": update.started_at,
            "suspect": update.suspect,
            "crashes": update.crashes,
            "skipped": update.skipped,
            "failure": _encoded(operation.failure),
        }
        execute(sql.RESCHEDULE, self._one(update.id) | values)

    def _move_to_dead(self, execute: Callable[..., Cursor], operation: MoveToDead) -> None:
        values = {
            "attempts": operation.attempts,
            "at": operation.at,
            "reason": text(operation.reason),
            "failure": None if operation.failure is None else _encoded(operation.failure),
        }
        execute(sql.MOVE_TO_DEAD, self._one(operation.id) | values)

    def _arrivals(
        self, execute: Callable[..., Cursor], arrivals: Sequence[tuple[int, Accept | Filter]]
    ) -> None:
        known: set[tuple[int, int]] = set()
        once: dict[tuple[int, str], Committed] = {}
        if not self._sure:
            known, once = _look(execute, [operation for _, operation in arrivals])
        new_once: dict[tuple[int, str], Committed] = {}
        counts: dict[int, list[int]] = defaultdict(lambda: [0] * len(COUNTS))
        kept: list[tuple[int, Accept]] = []
        remembered: list[Accept | Filter] = []
        for place, operation in arrivals:
            result = self._judge(operation, known, once)
            count = counts[operation.bot_id]
            if result is DUPLICATE:
                count[DUPLICATES] += 1
            else:
                known.add((operation.bot_id, operation.update_id))
                remembered.append(operation)
            if isinstance(operation, Accept) and result is None:
                for key in operation.once:
                    new_once[operation.bot_id, key.key] = Committed(operation.at, operation.at + key.window)
                once.update(new_once)
                self._writes += operation.writes
                count[ACCEPTED] += 1
                kept.append((place, operation))
            elif result is not DUPLICATE:
                count[FILTERS] += 1
            self._results[place] = result
        if self._writes and self._sure:
            raise DoubtError
        columns = (Ints(column) for column in zip(*counts.values(), strict=True))
        execute(sql.COUNT, (self._node, self._batch, Ints(counts), *columns))
        if remembered:
            bots, updates = Ints(one.bot_id for one in remembered), Ints(one.update_id for one in remembered)
            execute(sql.SEEN, (bots, updates, Floats(one.at for one in remembered)))
        if new_once:
            bots, keys = Ints(bot for bot, _ in new_once), Blobs(encoded_key(key) for _, key in new_once)
            at, until = (
                Floats(one.at for one in new_once.values()),
                Floats(one.until for one in new_once.values()),
            )
            execute(sql.ONCE if self._sure else sql.ONCE_AGAIN, (bots, keys, at, until))
        if kept:
            self._keep(execute, kept)

    def _judge(
        self,
        operation: Accept | Filter,
        known: set[tuple[int, int]],
        once: Mapping[tuple[int, str], Committed],
    ) -> ArrivalResult | None:
        """The result of an update; None: it is kept."""
        result: ArrivalResult | None = None
        if (operation.bot_id, operation.update_id) in known:
            result = DUPLICATE
        elif isinstance(operation, Filter):
            result = FILTERED
        elif operation.once:
            result = once_seen(operation, once.get)
        return result

    def _keep(self, execute: Callable[..., Cursor], kept: Sequence[tuple[int, Accept]]) -> None:
        operations = [operation for _, operation in kept]
        behind: Cursor | None = None
        if self._session.lease.is_shared:
            bots = {operation.bot_id for operation in operations}
            lasts = Ints(self._last_ids.get(bot, 0) for bot in bots)
            behind = execute(sql.BEHIND, (Ints(bots), lasts))
        places = [(one.bot_id, one.key) for one in operations]
        firsts = {place: number for number, place in reversed([*enumerate(places)])}
        first = Bools(firsts[place] == number for number, place in enumerate(places))
        values = (
            Ints(one.bot_id for one in operations),
            Ints(one.update_id for one in operations),
            Texts(one.key for one in operations),
            Texts(one.kind for one in operations),
            Blobs(one.body for one in operations),
            Ints(zlib.crc32(one.body) for one in operations),
            Floats(one.at for one in operations),
            first,
        )
        cursor = execute(sql.KEEP, values)

        def read() -> None:
            late = set() if behind is None else {bot for (bot,) in behind.fetchall()}
            for (place, operation), (id_, gap) in zip(kept, sorted(cursor.fetchall()), strict=True):
                self._results[place] = Kept(id_, gap, operation.bot_id in late)
                self._last_ids[operation.bot_id] = id_

        self._later.append(read)

    def _put(self, execute: Callable[..., Cursor], puts: Sequence[tuple[int, PutValue]]) -> None:
        """Write what comes with updates, then what is put."""
        new = {(write.plugin, write.key): (write.value, write.until) for write in self._writes}
        before: dict[tuple[str, bytes], tuple[bytes | None, float | None]] = {}
        if self._session.lease.is_shared and (puts or any(value is None for value, _ in new.values())):
            held = places(new.keys() | {(put.plugin, put.key) for _, put in puts})
            execute(sql.MAKE_VALUES, held)
            execute(sql.LOCK_VALUES, held)
        if puts:
            plugins, keys = (
                Texts(put.plugin for _, put in puts),
                Blobs(encoded_key(put.key) for _, put in puts),
            )
            rows = execute(sql.VALUES, (plugins, keys)).fetchall()
            before = {(plugin, key): (value, until) for plugin, key, value, until in rows}
        for place, put in puts:
            found = new.get((put.plugin, put.key)) or before.get((put.plugin, encoded_key(put.key)))
            value, until = found or (None, None)
            met = put_result(put, value if until is None or until > put.at else None)
            self._results[place] = met
            if met:
                new[put.plugin, put.key] = put.value, put.until
        kept = {place: one for place, one in new.items() if one[0] is not None}
        if kept:
            columns = [kept[place] for place in in_order(kept)]
            values = Blobs(value for value, _ in columns)
            ends = Floats(FOREVER if until is None else until for _, until in columns)
            execute(sql.PUT, (*places(kept), values, ends))
        if len(kept) < len(new):
            execute(sql.REMOVE, places(new.keys() - kept))


def may_be_sure(operations: Sequence[Operation]) -> bool:
    """Whether all can be sent at once: no id or key comes twice in it, and no plugin's value."""
    ids: Counter[tuple[int, int]] = Counter()
    keys: Counter[tuple[int, str]] = Counter()
    for operation in operations:
        if isinstance(operation, Accept | Filter):
            ids[operation.bot_id, operation.update_id] += 1
            if isinstance(operation, Accept):
                if operation.writes:
                    return False
                keys.update(zip(repeat(operation.bot_id), {once.key for once in operation.once}))
        elif isinstance(operation, PutValue) or (isinstance(operation, Finish) and operation.writes):
            return False
    return len(ids) == ids.total() and len(keys) == keys.total()


def bots_with_ids(operations: Sequence[Operation]) -> set[int]:
    """The bots of which updates get ids, or gaps are left or closed."""
    of_updates = {one.update.bot_id for one in operations if isinstance(one, Reschedule)}
    return of_updates | {one.bot_id for one in operations if isinstance(one, Accept | Replay | MoveToDead)}


def _encoded(failure: Any) -> str:
    return text(msgspec.json.encode(failure).decode())


def _look(
    execute: Callable[..., Cursor], operations: Sequence[Accept | Filter]
) -> tuple[set[tuple[int, int]], dict[tuple[int, str], Committed]]:
    """Which of these updates are known, and what is committed under their once keys."""
    ids = Ints(one.bot_id for one in operations), Ints(one.update_id for one in operations)
    known = {(bot, update) for bot, update in execute(sql.KNOWN, ids).fetchall()}
    asked = {(one.bot_id, once.key) for one in operations if isinstance(one, Accept) for once in one.once}
    if not asked:
        return known, {}
    keys = Ints(bot for bot, _ in asked), Blobs(encoded_key(key) for _, key in asked)
    rows = execute(sql.COMMITTED, keys).fetchall()
    return known, {
        (bot, bytes(key).decode(errors="surrogatepass")): Committed(at, until) for bot, key, at, until in rows
    }
