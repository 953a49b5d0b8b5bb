"""What every store decides in the same way, whatever it keeps its rows in. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trioworkers.inbox.store import ANY, OnceSeen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trioworkers.inbox.store import Accept, PutValue
    from trioworkers.records import Attempt

MOST_LOGGED = 50  # attempts of one update; waits that Telegram asks for have no end of their own


class Committed(msgspec.Struct, frozen=True, gc=False):
    """When a once key was committed, and until when it counts. Unix seconds."""

    at: float
    until: float


def once_seen(operation: Accept, committed: Callable[[tuple[int, str]], Committed | None]) -> OnceSeen | None:
    """The first once key of the update that still counts, or None. `committed`: gives one by bot id and key.

    A key counts for the window with which it was committed and for the one with which it is asked for,
    whichever is shorter: the first bounds how long the store has to keep it, the second lets a shorter
    setting apply at once. Only the distance of the two times matters, so that a clock that is set back does
    not let a key count for longer.
    """
    for once in operation.once:
        before = committed((operation.bot_id, once.key))
        if before is not None and operation.at < before.until and abs(operation.at - before.at) < once.window:
            return OnceSeen(once.key)
    return None


def put_result(operation: PutValue, before: bytes | None) -> bool:
    """The result of an operation, given what stands under its key; what is as absent is None."""
    if operation.expected is ANY:
        return operation.value is not None or before is not None
    return operation.expected == before


def logged(history: Sequence[Attempt], failure: Attempt) -> tuple[Attempt, ...]:
    """The log of an update's attempts with one more."""
    return (*history[: MOST_LOGGED - 1], failure)
