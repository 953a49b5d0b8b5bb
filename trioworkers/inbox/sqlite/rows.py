"""Many rows in one statement, and what is known of a table without asking it.

Each statement gives the interpreter lock away twice, and taking it back from a busy loop costs more than
many rows (measured with a busy second thread: executemany 700 pairs/s, one statement for many rows 5,000).
So rows are filled up with nulls to one of a few sizes: whatever comes is one statement, and there are so
few texts that all stay prepared.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

# seven of them are exact, the others have a fifth of filling at most
SIZES = (*range(1, 8), *(quarters << power for power in range(1, 7) for quarters in range(4, 8)), 512)
T = TypeVar("T")


def filled(values: Sequence[Any], width: int = 1) -> Iterator[list[Any]]:
    """Cut `values`, `width` of them a row, into what one statement takes, filled up with rows of None.

    The statement has to leave such rows out.
    """
    most = SIZES[-1] * width
    for start in range(0, len(values), most):
        chunk = list(values[start : start + most])
        size = SIZES[bisect_left(SIZES, len(chunk) // width)]
        chunk += [None] * (size * width - len(chunk))
        yield chunk


def flat(rows: Iterable[Sequence[Any]]) -> list[Any]:
    """The values of all rows, one after the other."""
    return list(chain.from_iterable(rows))


@cache
def places(rows: int, width: int) -> str:
    """The `VALUES` of so many rows, as parameters."""
    row = f"({', '.join('?' * width)})"
    return f"VALUES {', '.join([row] * rows)}"


@cache
def among(rows: int) -> str:
    """A list of so many parameters, for `IN`: a null is in none."""
    return f"({', '.join('?' * rows)})"


def insert(
    connection: sqlite3.Connection, into: str, width: int, values: Sequence[Any], then: str = ""
) -> int:
    """Insert rows of `width` columns, given one after the other in `values`; the first column is never null.

    Returns how many rows were inserted or, by `then`, changed.
    """
    return sum(
        connection.execute(_insertion(into, len(chunk) // width, width, then), chunk).rowcount
        for chunk in filled(values, width)
    )


@cache
def _insertion(into: str, rows: int, width: int, then: str) -> str:
    return f"INSERT INTO {into} SELECT * FROM ({places(rows, width)}) WHERE column1 IS NOT NULL {then}"


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
