"""Many rows in one statement, and what is known of a table without asking it.

Each statement gives the interpreter lock away once, and taking it back from a busy loop costs more than
the row (measured with a busy second thread: executemany 700 pairs/s, one statement for many rows 5,000).
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

ROWS_PER_STATEMENT = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)  # few texts, so that all stay prepared
T = TypeVar("T")


def chunks(values: Sequence[T], width: int = 1) -> Iterator[Sequence[T]]:
    """Cut `values`, `width` of them a row, into as many rows as one statement takes."""
    start = 0
    for rows in ROWS_PER_STATEMENT:
        while len(values) - start >= rows * width:
            yield values[start : start + rows * width]
            start += rows * width


def flat(rows: Iterable[Sequence[Any]]) -> list[Any]:
    """The values of all rows, one after the other."""
    return list(chain.from_iterable(rows))


def places(rows: int, width: int) -> str:
    """The `VALUES` of so many rows, as parameters."""
    row = f"({', '.join('?' * width)})"
    return f"VALUES {', '.join([row] * rows)}"


def insert(
    connection: sqlite3.Connection, into: str, width: int, values: Sequence[Any], then: str = ""
) -> None:
    """Insert rows of `width` columns, given one after the other in `values`."""
    for chunk in chunks(values, width):
        connection.execute(f"INSERT INTO {into} {places(len(chunk) // width, width)} {then}", chunk)


class Mirror(Generic[T]):
    """The keys of a table that is mostly empty, so that most updates are spared a look into it.

    Changes are seen at once; they hold from :meth:`keep` on, or are taken back by :meth:`undo`.
    """

    def __init__(self, keys: Iterable[T]) -> None:
        self._keys = set(keys)
        self._added: set[T] = set()
        self._dropped: set[T] = set()

    def __contains__(self, key: T) -> bool:
        return key in self._added or (key in self._keys and key not in self._dropped)

    def __bool__(self) -> bool:
        return bool(self._keys or self._added)

    def add(self, key: T) -> None:
        self._added.add(key)
        self._dropped.discard(key)

    def drop(self, key: T) -> None:
        self._dropped.add(key)
        self._added.discard(key)

    def keep(self) -> None:
        """The changes were committed."""
        self._keys -= self._dropped
        self._keys |= self._added
        self.undo()

    def undo(self) -> None:
        """The changes were rolled back."""
        self._added, self._dropped = set(), set()
