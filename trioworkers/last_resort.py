"""How a daemon ends that cannot end as it should: at once, whatever still runs in it."""

from __future__ import annotations

import atexit
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

from trioworkers.errors import leaves
from trioworkers.shortage import no_memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trioworkers.events import Events


@asynccontextmanager
async def ending_without_memory(events: Events) -> AsyncIterator[None]:
    """End the process at once, as a crash would, if what ends the daemon is a lack of memory.

    Nothing can be relied on any more: a report of Trio may be lost, and whoever waits for it would wait for
    ever. What was confirmed is durable, and the workers end with the process.
    """
    try:
        yield
    except BaseException as error:
        if not any(isinstance(leaf, MemoryError) for leaf in leaves(error)):
            raise
        events.emit("daemon.stopped", level="error", reason=f"no memory: {no_memory()}")
        atexit._run_exitfuncs()  # the log may have a thread that still writes
        os._exit(1)


def leave(events: Events) -> NoReturn:
    """End the process with exit code 0, whatever still runs in it: the last resort.

    Everything is written and closed by now, and every worker has ended. What did not end even when it was
    cancelled and its connections were shut down would otherwise keep the daemon alive for ever, deaf to
    TERM. Locks end with the process; a socket that is left behind is replaced by the next start.
    """
    events.emit("daemon.stopped", level="warn", reason="the API did not end and was left behind")
    atexit._run_exitfuncs()  # the log may have a thread that still writes
    os._exit(0)
