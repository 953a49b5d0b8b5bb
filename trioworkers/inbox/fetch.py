"""What of a bot's waiting updates is read from the store, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msgspec.structs import replace as changed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers.records import Waiting

AHEAD = 1.0  # seconds that the clock of another machine may be ahead


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


def by_this_clock(page: Page, now: float) -> Page:
    """The page with the times of next attempts by a clock that shows `now`, Unix seconds.

    An update whose first attempt is in the future was tried by another clock: that of another machine, or
    this one before it was set back. It waits as long from now as it was to wait from its first attempt.
    """
    if not any(_is_ahead(update, now) for update in page.updates):
        return page
    updates = [
        changed(one, due=now + one.due - (one.started_at or 0.0)) if _is_ahead(one, now) else one
        for one in page.updates
    ]
    return replace(page, updates=updates)


def _is_ahead(update: Waiting, now: float) -> bool:
    return bool(update.due) and update.started_at is not None and update.started_at > now + AHEAD
