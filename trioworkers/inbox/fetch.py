"""What of a bot's waiting updates is read from the store, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers.records import Waiting


@dataclass(frozen=True, slots=True)
class Fetch:
    """Which of a bot's waiting updates are wanted from the store.

    Attributes:
        after: those with a later id.
        limit: so many of them at most; at least 1.
        until: those up to this id, which the store has given, so that nothing new comes before it; None: all.
        key: only those of this key, and of them none that is skipped.
        without: of these keys only those that are skipped.
        most: no more than so many of the bot are looked at.
    """

    after: int
    limit: int
    until: int | None = None
    key: str | None = None
    without: Sequence[str] = ()
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Updates that wait, by ascending id, of which none up to the id `until` is missing.

    `more`: those past it were not looked at.
    """

    updates: Sequence[Waiting]
    until: int
    more: bool
