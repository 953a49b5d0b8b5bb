"""An exception in a callback is raised in the nursery of the bot or part that the callback serves.

Most of an update's way is callbacks: the writer's answers, offers of the inbox, the end of a turn. They run
outside of every nursery of the bot that they serve, where an exception would end the daemon
(trio.TrioInternalError) or skip the callbacks behind it. A task in between would cost each update a turn of
the loop. So whoever calls notes the exception here, and a task in the right nursery raises it.
"""

from __future__ import annotations

from typing import NoReturn

import trio


class Breakage:
    """The exception that broke something, for one bot or for one part of the daemon."""

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._came = trio.Event()

    @property
    def is_set(self) -> bool:
        """Whether something broke: what is in memory is not trusted any more."""
        return self._error is not None

    def note(self, error: Exception) -> None:
        """Let :meth:`wait_raise` raise this. The first one counts."""
        if self._error is None:
            self._error = error
            self._came.set()

    async def wait_raise(self) -> NoReturn:
        """Wait until something broke, and raise it."""
        while self._error is None:
            await self._came.wait()
        raise self._error
