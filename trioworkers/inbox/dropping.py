"""Drops what waits for a bot because somebody asks for it: durably, a batch in each transaction."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from trioworkers.inbox.fetch import Fetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.inbox.backlog import Backlog
    from trioworkers.records import Waiting

AT_ONCE = 500  # updates of one transaction


async def drop_waiting(
    backlog: Backlog, keep: int, put_back: Callable[[], None], dropped: Callable[[Waiting], None]
) -> int:
    """Drop all that waits but the last `keep` updates, and return their number. One at a time for a backlog.

    Retries and suspects are dropped, too. What is in flight is not, even if it waits again meanwhile. What
    comes meanwhile may be dropped. Nothing is handed out before this has ended.

    Args:
        backlog: the bot's.
        keep: how many are left.
        put_back: puts back what was taken and is at no executor yet; called once.
        dropped: is told of each update, once it is dropped durably.

    Raises:
        StoreError: some are not dropped.
    """
    backlog.hold()
    try:
        put_back()
        in_flight = backlog.ids_in_flight
        fetch = Fetch(0, AT_ONCE)
        last: deque[Waiting] = deque()
        count, more = 0, True
        while more:
            page = await backlog.page(fetch)
            fetch, more = Fetch(page.until, AT_ONCE), page.more
            last.extend([update for update in page.updates if update.id not in in_flight])
            batch = [last.popleft() for _ in range(len(last) - keep)]
            if batch:
                await backlog.drop(batch)
                count += len(batch)
                for update in batch:
                    dropped(update)
        return count
    finally:
        backlog.release()
