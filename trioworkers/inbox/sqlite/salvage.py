"""Takes over into a new file whatever can be read of a damaged one: row by row, around what cannot.

A page that cannot be read hides the rows on it, or below it. Behind such a gap reading goes on at the next
key that can be read. Rows that are hidden still stand in the indexes, which lie on other pages: they are
looked for on every page, and what is not found is known to be lost, and its chat gets a gap.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trioworkers.inbox.sqlite.letters import is_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

FIRST_KEY, LAST_KEY = -(2**31) - 1, 2**62
ONE_BY_ONE = 64  # keys that are tried singly past an unreadable row, before larger steps
UNKNOWN_IDS = 1_000_000  # ids that are left out where the last one that was given cannot be read
TABLES = "inbox", "dead", "tally", "seen", "gaps", "calls", "once", "plugin_values"
INDEXES = {"inbox": ("inbox_by_key", "inbox_by_bot"), "dead": ("dead_by_bot",)}
AFTERWARDS = """
INSERT OR IGNORE INTO seen SELECT bot_id, update_id, accepted_at FROM inbox;
INSERT OR IGNORE INTO seen SELECT bot_id, update_id, accepted_at FROM dead;
DELETE FROM calls WHERE id NOT IN (SELECT id FROM inbox UNION SELECT id FROM dead);
INSERT OR IGNORE INTO tally (bot_id, accepted, duplicates, done, dropped, expired, retried, dead)
    SELECT DISTINCT bot_id, 0, 0, 0, 0, 0, 0, 0 FROM seen;
UPDATE tally SET dead = (SELECT count(*) FROM dead WHERE dead.bot_id = tally.bot_id);
UPDATE tally SET accepted = done + dropped + expired + dead + purged
    + (SELECT count(*) FROM inbox WHERE inbox.bot_id = tally.bot_id);
"""
"""What makes the new file whole again: every update's id is known, and the tallies leave out what is lost."""


@dataclass
class Salvaged:
    """Rows that were taken over, by table, and updates and dead letters that are known to be lost."""

    recovered: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TABLES, 0))
    lost: int = 0


def salvage(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    find: Callable[[Mapping[int, int], int], Iterable[tuple[Any, ...]]],
) -> Salvaged:
    """Copy every row of `source` that can be read into the empty tables of `target`, in one transaction.

    `find` looks for rows on the bare pages, given their ids with their bots' and the number of columns.
    Both have the tables of an inbox; those of `source` may be of an earlier version.

    Raises:
        sqlite3.Error: `target` cannot be written, or the tables of `source` cannot be listed.
    """
    source.text_factory = lambda text: text.decode(errors="replace")
    result = Salvaged()
    target.execute("BEGIN IMMEDIATE")
    last_id = 0
    for table in ("inbox", "dead"):
        copy = _Copy(source, target, table, "id")
        copy.rows()
        last_id = max(last_id, _find_hidden(copy, result, find))
        result.recovered[table] = copy.copied
        result.lost += copy.refused
    bots: set[int] = set()
    tally = _Copy(source, target, "tally", "bot_id")
    tally.rows()
    result.recovered["tally"] = tally.copied
    for table in ("inbox", "dead", "tally"):
        bots.update(bot_id for (bot_id,) in target.execute(f"SELECT DISTINCT bot_id FROM {table}"))
    seen = _Copy(source, target, "seen", "update_id")
    for bot_id in bots:
        seen.rows("bot_id = ?", bot_id)
    result.recovered["seen"] = seen.copied
    for table, key in (("gaps", "bot_id"), ("calls", "id"), ("once", "bot_id"), ("plugin_values", "id")):
        copy = _Copy(source, target, table, key)
        copy.rows()
        result.recovered[table] = copy.copied
    for statement in AFTERWARDS.split(";"):
        target.execute(statement)
    _continue_ids(source, target, last_id)
    target.execute("COMMIT")
    return result


class _Copy:
    """One table's way from one file into the other. `key`: an integer column that orders it."""

    def __init__(self, source: sqlite3.Connection, target: sqlite3.Connection, table: str, key: str) -> None:
        self.source, self.target = source, target
        self.table, self._key = table, key
        self.there = [row[1] for row in source.execute(f"PRAGMA table_info({table})")]
        known = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
        self.columns = [name for name in self.there if name in known]
        self._insert = (
            f"INSERT OR IGNORE INTO {table} ({', '.join(self.columns)})"
            f" VALUES ({', '.join('?' * len(self.columns))})"
        )
        self.copied = 0
        self.refused = 0

    def rows(self, where: str = "1", *values: object) -> None:
        """Copy the rows that can be read."""
        if not self.columns:
            return
        query = (
            f"SELECT {self._key}, {', '.join(self.columns)} FROM {self.table}"
            f" WHERE {self._key} > ? AND {where} ORDER BY {self._key}"
        )
        for row in readable(self.source, query, values):
            self.put(row)

    def put(self, row: Sequence[Any]) -> None:
        """Write one row; what no row of this table can be is refused and counted."""
        if "history" in self.columns:
            place = self.columns.index("history")
            if not is_history(row[place]):
                row = (*row[:place], "[]", *row[place + 1 :])
        try:
            self.copied += self.target.execute(self._insert, row).rowcount
        except sqlite3.IntegrityError:
            self.refused += 1


def readable(source: sqlite3.Connection, query: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
    """The rows of `query` without their first column, in its order, which is that of an integer key.

    `query` has a first parameter, past which its keys begin. Rows that cannot be read are left out. In
    a damaged file keys may be anything, in any order; each new start lies past the one before.
    """

    def first(after: int) -> Any:
        return source.execute(f"{query} LIMIT 1", (after, *values)).fetchone()

    def works(after: int) -> bool:
        try:
            row = first(after)
        except sqlite3.DatabaseError:
            return False
        return row is None or _is_past(after, row[0])

    after: int | None = FIRST_KEY
    while after is not None:
        began = after
        try:
            for key, *row in source.execute(query, (began, *values)):
                after = key if _is_past(began, key) else after
                yield tuple(row)
        except sqlite3.DatabaseError:
            if after == began and works(began) and (row := first(began)) is not None:
                after, *row = row  # sqlite3 looks one row ahead, and has raised in place of this one
                yield tuple(row)
            after = _past(after, works)
        else:
            return


def _is_past(after: int, key: object) -> bool:
    return isinstance(key, int) and after < key < LAST_KEY


def _past(after: int, works: Callable[[int], bool]) -> int | None:
    """The least key from which reading goes on; None when it does not.

    Singly at first, for rows that cannot be read among others that can; then in doubled steps and back.
    """
    for fails in range(after + 1, min(after + 1 + ONE_BY_ONE, LAST_KEY)):
        if works(fails):
            return fails
    step = ONE_BY_ONE
    while after + step <= LAST_KEY and not works(after + step):
        step *= 2
    if after + step > LAST_KEY:
        return None
    fails, goes = after + step // 2, after + step
    while goes - fails > 1:
        middle = (fails + goes) // 2
        fails, goes = (fails, middle) if works(middle) else (middle, goes)
    return goes


def _find_hidden(
    copy: _Copy,
    result: Salvaged,
    find: Callable[[Mapping[int, int], int], Iterable[tuple[Any, ...]]],
) -> int:
    """Look for rows that only an index still knows, leave gaps for what is lost; the highest id of all."""
    missing: dict[int, tuple[int, str]] = {}
    for index in INDEXES[copy.table]:
        key = "key" if index.endswith("_key") else "''"
        try:
            entries = copy.source.execute(f"SELECT id, bot_id, {key} FROM {copy.table} INDEXED BY {index}")
            for id_, bot_id, chat in entries:
                missing.setdefault(id_, (bot_id, chat))
        except sqlite3.DatabaseError:
            continue
    last_id = max(missing, default=0)
    for (id_,) in copy.target.execute(f"SELECT id FROM {copy.table}"):
        last_id = max(last_id, id_)
        missing.pop(id_, None)
    if missing:
        for row in find({id_: bot_id for id_, (bot_id, _) in missing.items()}, len(copy.there)):
            copy.put([value for name, value in zip(copy.there, row, strict=True) if name in copy.columns])
            missing.pop(row[0], None)
    result.lost += len(missing)
    for id_, (bot_id, chat) in missing.items():
        if chat and copy.table == "inbox":
            _leave_gap(copy.target, bot_id, chat, id_)
    return last_id


def _leave_gap(target: sqlite3.Connection, bot_id: int, chat: str, id_: int) -> None:
    marked = target.execute(
        "UPDATE inbox SET after_gap = 1 WHERE id ="
        " (SELECT min(id) FROM inbox WHERE bot_id = ? AND key = ? AND id > ? AND NOT skipped)",
        (bot_id, chat, id_),
    ).rowcount
    if not marked:
        target.execute("INSERT OR IGNORE INTO gaps (bot_id, key) VALUES (?, ?)", (bot_id, chat))


def _continue_ids(source: sqlite3.Connection, target: sqlite3.Connection, last_id: int) -> None:
    """Let new ids begin past every one that was ever given."""
    row = None
    try:
        row = source.execute("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'").fetchone()
    except sqlite3.DatabaseError:
        last_id += UNKNOWN_IDS
    if row is not None and isinstance(row[0], int):
        last_id = max(last_id, row[0])
    target.execute("DELETE FROM sqlite_sequence WHERE name = 'inbox'")
    target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('inbox', ?)", (last_id,))
