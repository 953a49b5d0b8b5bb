"""Copies one store into another: table by table, a page at a time, with a digest of each table on both sides.

A copy that was interrupted left a mark in the target. The next one begins anew; without the mark, what is in
the target is left alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from trioworkers.inbox.store import StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Row = tuple[Any, ...]

PAGE = 1000  # rows that are copied in one transaction
COUNTS = ("accepted", "duplicates", "done", "dropped", "expired", "retried", "dead", "purged", "filtered")
_UPDATE = "id", "bot_id", "update_id", "key", "kind", "body", "checksum", "accepted_at"


class Table(NamedTuple):
    """A table of every store. `columns`: in the order of its rows here; `key`: by which they are ordered."""

    name: str
    columns: Sequence[str]
    key: Sequence[str]


TABLES = (
    Table(
        "inbox",
        (
            *_UPDATE,
            *("attempt", "due", "started_at", "after_gap", "suspect", "crashes", "skipped", "history"),
        ),
        ("id",),
    ),
    Table("dead", (*_UPDATE, "attempts", "died_at", "reason", "history"), ("id",)),
    Table("calls", ("id", "key", "at", "answer", "repeated"), ("id", "key")),
    Table("gaps", ("bot_id", "key"), ("bot_id", "key")),
    Table("seen", ("bot_id", "update_id", "at"), ("bot_id", "update_id")),
    Table("once", ("until", "bot_id", "key", "at"), ("until", "bot_id", "key")),
    Table("plugin_values", ("plugin", "key", "value", "until"), ("plugin", "key")),
    Table("tally", ("bot_id", *COUNTS), ("bot_id",)),
)

BYTES = {("once", "key"), ("plugin_values", "key")}
"""Columns whose texts every store holds exactly; in all others a NUL is replaced."""


class Copyable(Protocol):
    """A store as its tables, for one process that has it for itself. Its methods may raise StoreError.

    Rows are plain values of Python: a history is a tuple of JSON texts, a flag a bool.
    """

    def rows(self, table: Table, after: Row | None, limit: int) -> Sequence[Row]:
        """The first rows past the one with this key, by ascending key; None: from the first on."""

    def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, in one transaction."""

    def clear(self) -> None:
        """Mark the store as one that a copy goes to, and remove all rows of all tables."""

    def is_marked(self) -> bool:
        """Whether the store bears that mark: a copy to it was not finished."""

    def finish(self, last_id: int) -> None:
        """Remove the mark; ids that are given from now on are greater than `last_id`."""

    def last_id(self) -> int:
        """The last id that was given to an update."""

    def close(self) -> None:
        """Give the store free."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The number of rows of a table, and a digest over all of them."""

    rows: int
    digest: str


def copy_store(
    source: Copyable, target: Copyable, progress: Callable[[str, int], None]
) -> Mapping[str, Contents]:
    """Make the target hold what the source holds, and prove it; return what that is, by table.

    Where the target holds exactly that already, nothing is done. `progress` is called with a table's name and
    how many of its rows are copied, after each page.

    Raises:
        StoreRefusedError: the target holds something else, or what was copied is not the same.
        StoreError: a store failed; the copy can be begun anew.
    """
    contents = {table.name: _contents(source, table) for table in TABLES}
    if not target.is_marked():
        found = {table.name: _contents(target, table) for table in TABLES}
        if found == contents and target.last_id() >= source.last_id():
            return contents
        if filled := [f"{one.rows} rows in {name}" for name, one in found.items() if one.rows]:
            message = f"the target is in use, with {', '.join(filled)}: expected an empty one"
            raise StoreRefusedError(message)
    target.clear()
    for table in TABLES:
        copied = 0
        for page in _pages(source, table):
            target.write(table, page)
            copied += len(page)
            progress(table.name, copied)
    for table in TABLES:
        if (found_one := _contents(target, table)) != contents[table.name]:
            message = f"the copy of {table.name} is not the same: {found_one.rows} rows, expected"
            raise StoreRefusedError(f"{message} {contents[table.name].rows} with the same digest")
    target.finish(source.last_id())
    return contents


def _pages(store: Copyable, table: Table) -> Iterator[Sequence[Row]]:
    places = [table.columns.index(column) for column in table.key]
    after: Row | None = None
    while page := store.rows(table, after, PAGE):
        yield page
        after = tuple(page[-1][place] for place in places)


def _contents(store: Copyable, table: Table) -> Contents:
    digest, number = hashlib.blake2b(digest_size=16), 0
    for page in _pages(store, table):
        number += len(page)
        for row in page:
            digest.update(msgspec.msgpack.encode(row))
    return Contents(number, digest.hexdigest())


def as_text(value: str) -> str:
    """A text as every store can hold it: PostgreSQL has none with NUL."""
    return value.replace("\0", "\ufffd")
