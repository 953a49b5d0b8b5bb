"""Gathers the updates that are one album.

Telegram sends the parts of an album as updates of their own, with one `media_group_id` and nothing that says
how many there are. Each part is durable by itself. The first one waits in its lane until no further part has
come for the time that the bot's settings name, and takes the others with it; messages of other people that
came in between are handled behind it. The time is waited anew after a start, since Telegram sends again
whatever was not confirmed when an earlier daemon was killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from trioworkers.arrivals import album_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers.records import Waiting

MOST_PARTS = 10  # https://core.telegram.org/bots/api#sendmediagroup
LOOK = 64  # updates of the lane among which parts are looked for


class Lanes(Protocol):
    """What of a backlog is needed."""

    def now(self) -> float:
        """Unix seconds."""

    async def behind(self, update: Waiting, limit: int) -> Sequence[Waiting]:
        """The first of those that wait behind the update in its lane, as the store has them."""


async def gather(lanes: Lanes, update: Waiting, quiet: float) -> tuple[Waiting, float]:
    """The first part of an album with the others, and when the album counts as whole (Unix seconds).

    Args:
        lanes: where the others wait.
        update: the first part, which is in flight, so that none behind it is handed out.
        quiet: the seconds for which no further part has to come.

    Raises:
        StoreError: they cannot be read now.
    """
    was_handled = update.attempt > 0 or update.suspect
    if not update.due and not was_handled:
        return update, lanes.now() + quiet
    album = album_of(update)
    others = [one for one in await lanes.behind(update, LOOK) if album_of(one) == album]
    gathered = replace(update, parts=tuple(others[: MOST_PARTS - 1]))
    if was_handled or len(others) >= MOST_PARTS - 1:
        return gathered, 0.0
    return gathered, max(one.accepted_at for one in (update, *others)) + quiet
