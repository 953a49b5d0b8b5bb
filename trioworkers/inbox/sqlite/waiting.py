"""The updates that wait, read from SQLite."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from trioworkers.inbox.fetch import Page
from trioworkers.records import Waiting

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from trioworkers.inbox.fetch import Fetch
    from trioworkers.inbox.sqlite.rows import Mirror
    from trioworkers.records import DeadLetter


def read_waiting(
    connection: sqlite3.Connection, called: Mirror[int], last_id: int, bot_id: int, fetch: Fetch
) -> Page:
    """As :meth:`~trioworkers.inbox.store.Store.waiting` has it.

    `called`: the ids of updates with recorded calls. `last_id`: the last that was given.

    Raises:
        ValueError: ids do not ascend.
    """
    last = looked_until = last_id if fetch.until is None else min(fetch.until, last_id)
    where = "bot_id = ? AND id > ? AND id <= ?"
    if fetch.most is not None:
        end = connection.execute(
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
    rows = connection.execute(
        "SELECT id, bot_id, update_id, key, body, accepted_at, attempt, due, started_at, after_gap,"
        f" checksum, kind, suspect, crashes, skipped FROM inbox WHERE {where} ORDER BY id LIMIT ?",
        [*values, fetch.limit],
    )
    found = [_waiting(row, row[0] in called) for row in rows]
    check_ascent(fetch.after, found)
    if len(found) == fetch.limit:
        looked_until = found[-1].id
    return Page(found, looked_until, more=looked_until < last)


def check_ascent(after: int, found: Sequence[Waiting | DeadLetter]) -> None:
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
