"""Replays or purges dead letters: all of them or chosen ones, so many in one turn of the writer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from trioworkers.inbox.store import Kept, Replay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trioworkers.inbox.store import Purge, Store
    from trioworkers.inbox.writer import Writer
    from trioworkers.records import DeadLetter

LETTERS_AT_ONCE = 500  # dead letters that are read or moved in one turn of the writer


class TakenOut(Protocol):
    """Hears of each dead letter that was replayed or purged, on the loop."""

    def __call__(self, letter: DeadLetter, *, replayed: bool) -> None: ...


async def sweep(
    writer: Writer,
    operation: type[Replay | Purge],
    taken_out: TakenOut,
    *,
    ids: Sequence[int] | None = None,
    **which: Any,
) -> int:
    """Do it to the dead letters of `ids`, or to those that `which` chooses (`bot_id`, `died_by`).

    Returns their number.

    Raises:
        StoreError: it cannot be done now; some may have been done.
    """
    if ids is None:
        return await _sweep_pages(writer, operation, taken_out, None, which)
    ids = sorted(set(ids))  # the order of their chats, also from one slice to the next
    slices = [ids[start : start + LETTERS_AT_ONCE] for start in range(0, len(ids), LETTERS_AT_ONCE)]
    return sum([await _sweep_pages(writer, operation, taken_out, chosen, which) for chosen in slices])


async def _sweep_pages(
    writer: Writer,
    operation: type[Replay | Purge],
    taken_out: TakenOut,
    ids: Sequence[int] | None,
    which: dict[str, Any],
) -> int:
    """One that is replayed and dies again is not chosen again: it has a later id then than all before.

    By the times of their deaths they could not be told apart: the clock may have been set back since.
    """
    done = after = 0
    until = math.inf
    while True:
        letters = await writer.read(_page(ids, after, which))
        letters = [letter for letter in letters if letter.id < until]
        if not letters:
            return done
        results = await _take_out(writer, operation, letters, taken_out)
        done += len(results)
        until = min([until, *(kept.id for kept in results if isinstance(kept, Kept))])
        after = letters[-1].id


def _page(
    ids: Sequence[int] | None, after: int, which: dict[str, Any]
) -> Callable[[Store], Sequence[DeadLetter]]:
    return lambda store: store.dead(ids=ids, after=after, limit=LETTERS_AT_ONCE, **which)


async def _take_out(
    writer: Writer,
    operation: type[Replay | Purge],
    letters: Sequence[DeadLetter],
    taken_out: TakenOut,
) -> Sequence[Kept | bool]:
    """Replay or purge these; the results of those that were still there."""
    done: list[Kept | bool] = []

    def committed(results: Sequence[Kept | bool | None]) -> None:
        for letter, result in zip(letters, results, strict=True):
            if result:
                done.append(result)
                taken_out(letter, replayed=operation is Replay)

    await writer.commit([operation(letter.id, letter.bot_id) for letter in letters], committed)
    return done
