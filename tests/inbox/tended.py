"""An inbox that is tended more often than once a second, so that tests need not wait for it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.inbox.inbox import DEAD_RETENTION, Inbox, open_inbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def open_tended(store: Any, every: float = 0.02, **how: Any) -> AsyncIterator[Inbox]:
    """As `open_inbox`; `every`: seconds between two rounds of upkeep."""
    async with open_inbox(store, **how) as inbox, trio.open_nursery() as nursery:
        nursery.start_soon(inbox.tend, how.get("keep_dead", lambda: DEAD_RETENTION), every)
        yield inbox
        nursery.cancel_scope.cancel()
