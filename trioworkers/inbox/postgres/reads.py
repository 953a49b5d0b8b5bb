"""What is read from PostgreSQL."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from trioworkers.inbox.fetch import Page
from trioworkers.inbox.postgres import statements as sql
from trioworkers.inbox.postgres.arrays import Ints, Texts, text
from trioworkers.inbox.postgres.keys import encoded_key
from trioworkers.inbox.postgres.schema import COUNTS
from trioworkers.inbox.tally import Tally
from trioworkers.records import Attempt, DeadLetter, RecordedCall, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from trioworkers.inbox.fetch import Fetch

    Rows = Callable[..., list[tuple[Any, ...]]]

LAST = 2**63 - 1
MOST_ASKED = 8192  # calls of one statement
FIELDS = (
    "id, bot_id, update_id, key, body, accepted_at, attempt, due, started_at, after_gap, checksum, kind,"
    " suspect, crashes, skipped, EXISTS (SELECT FROM calls WHERE calls.id = inbox.id)"
)
LETTER = "id, bot_id, update_id, key, kind, body, accepted_at, attempts, died_at, reason, history, checksum"
_SUMS = ", ".join(f"sum({name})::int8" for name in COUNTS)
TALLIES = (
    f"SELECT bot_id, {_SUMS} FROM (SELECT bot_id, {', '.join(COUNTS)} FROM tally UNION ALL"
    f" SELECT bot_id, {', '.join(COUNTS)} FROM delta) AS parts {{chosen}} GROUP BY bot_id"
)
_attempt = msgspec.json.Decoder(Attempt)


def read_waiting(rows: Rows, bot_id: int, fetch: Fetch) -> Page:
    """As :meth:`~trioworkers.inbox.store.Store.waiting` has it; without `until` up to its last id."""
    bound = LAST if fetch.until is None else min(fetch.until, LAST)
    query = (
        "SELECT coalesce(max(id), %b::int8) FROM inbox"
        " WHERE bot_id = %b::int8 AND id > %b::int8 AND id <= %b::int8"
    )
    ((last,),) = rows(query, (fetch.after, bot_id, fetch.after, bound))
    where = "bot_id = %s AND id > %s AND id <= %s"
    looked_until = last
    if fetch.most is not None:
        query = f"SELECT id FROM inbox WHERE {where} ORDER BY id LIMIT 1 OFFSET %s"
        end = rows(query, (bot_id, fetch.after, last, fetch.most - 1))
        looked_until = end[0][0] if end else last
    values: list[Any] = [bot_id, fetch.after, looked_until]
    if fetch.key is not None:
        where += " AND key = %s AND NOT skipped"
        values.append(text(fetch.key))
    if fetch.without:
        where += " AND (skipped OR key <> ALL(%s::text[]))"
        values.append([text(key) for key in fetch.without])
    found = [
        _waiting(row)
        for row in rows(
            f"SELECT {FIELDS} FROM inbox WHERE {where} ORDER BY id LIMIT %s", (*values, fetch.limit)
        )
    ]
    if len(found) == fetch.limit:
        looked_until = found[-1].id
    more = looked_until < last
    if fetch.until is not None and not more:
        looked_until = bound  # its row may be gone: else a lane that was left here up to it never ended
    return Page(found, looked_until, more)


def read_calls(rows: Rows, id_: int) -> list[RecordedCall]:
    """The recorded calls of an update, by when they were begun, then by key."""
    found = rows("SELECT key, at, answer, repeated FROM calls WHERE id = %s ORDER BY at, key", (id_,))
    return [RecordedCall(*row) for row in found]


def read_recorded(rows: Rows, calls: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of these calls, by an update's id and a key, that are recorded."""
    found: set[tuple[int, str]] = set()
    for start in range(0, len(calls), MOST_ASKED):
        asked = {(id_, text(key)): (id_, key) for id_, key in calls[start : start + MOST_ASKED]}
        columns = Ints(id_ for id_, _ in asked), Texts(key for _, key in asked)
        found.update(asked[row] for row in rows(sql.RECORDED, columns))
    return found


def read_dead(
    rows: Rows,
    ids: Sequence[int] | None,
    bot_id: int | None,
    died_by: float | None,
    after: int,
    limit: int,
) -> list[DeadLetter]:
    """The chosen dead letters by ascending id."""
    conditions: list[tuple[str, Any]] = [("id > %s", after)]
    if ids is not None:
        conditions.append(("id = ANY(%b::int8[])", Ints(ids)))
    if bot_id is not None:
        conditions.append(("bot_id = %s", bot_id))
    if died_by is not None:
        conditions.append(("died_at <= %s", died_by))
    where = " AND ".join(condition for condition, _ in conditions)
    query = f"SELECT {LETTER} FROM dead WHERE {where} ORDER BY id LIMIT %s"
    return [_letter(row) for row in rows(query, (*(value for _, value in conditions), limit))]


def read_tallies(rows: Rows, bot_ids: Collection[int] | None) -> Mapping[int, Tally]:
    """The tallies of these bots, or of all."""
    chosen, values = ("", ()) if bot_ids is None else ("WHERE bot_id = ANY(%b::int8[])", (Ints(bot_ids),))
    pending: dict[int, int] = dict(
        rows(f"SELECT bot_id, count(*) FROM inbox {chosen} GROUP BY bot_id", values)
    )
    return {
        bot_id: Tally(*counts, pending=pending.get(bot_id, 0))
        for bot_id, *counts in rows(TALLIES.format(chosen=chosen), values)
    }


def read_values(
    rows: Rows, plugin: str, prefix: str, after: str, limit: int, now: float
) -> list[tuple[str, bytes]]:
    """A plugin's first values past `after` whose keys begin with `prefix`, by ascending key."""
    first = encoded_key(prefix)
    query = (
        "SELECT key, value FROM plugin_values WHERE plugin = %s AND key > %s AND key >= %s AND key < %s"
        " AND (until IS NULL OR until > %s) ORDER BY key LIMIT %s"
    )
    end = first + b"\xff"  # no byte of UTF-8
    found = rows(query, (text(plugin), encoded_key(after), first, end, now, limit))
    return [(bytes(key).decode(errors="surrogatepass"), value) for key, value in found]


def _waiting(row: tuple[Any, ...]) -> Waiting:
    id_, bot_id, update_id, key, body, accepted_at, attempt, due, started_at, after_gap, checksum, *rest = row
    kind, suspect, crashes, skipped, called = rest
    return Waiting(
        *(id_, bot_id, update_id, key, body, accepted_at, attempt, due, started_at, after_gap),
        damaged=zlib.crc32(body) != checksum,
        kind=kind,
        suspect=suspect,
        crashes=crashes,
        skipped=skipped,
        called=called,
    )


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    id_, bot_id, update_id, key, kind, body, accepted_at, attempts, died_at, reason, history, checksum = row
    return DeadLetter(
        *(id_, bot_id, update_id, key, kind, body, accepted_at, attempts, died_at, reason),
        history=tuple(map(_attempt.decode, history)),
        damaged=zlib.crc32(body) != checksum,
    )
