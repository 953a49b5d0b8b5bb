"""Which bots run here, for what holds something of a bot in memory as long as the bot runs here.

In a cluster, a bot that ends here may run on another node a moment later. So its end here waits for those who
serve it: what they write after that would come beside what the other node writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

GRACE = 5.0  # seconds for which those who serve a bot that has been drained may finish what they have
PATIENCE = 5.0  # seconds for which they are waited for after they were cancelled


class Resident:
    """A bot, for as long as it runs here.

    Attributes:
        name, id: of the bot.
    """

    def __init__(self, name: str, id: int) -> None:
        self.name = name
        self.id = id
        self._ending = trio.Event()
        self._scopes: set[trio.CancelScope] = set()
        self._left = trio.Event()

    async def wait_ending(self) -> None:
        """Return when the bot's updates are drained: whoever serves it has a few seconds left."""
        await self._ending.wait()

    def enter(self) -> trio.CancelScope:
        """A scope for somebody who serves it; to be given to :meth:`leave`."""
        scope = trio.CancelScope()
        self._scopes.add(scope)
        return scope

    def leave(self, scope: trio.CancelScope) -> None:
        """This one serves it no more."""
        self._scopes.discard(scope)
        if not self._scopes:
            self._left.set()
            self._left = trio.Event()

    def end(self, *, at_once: bool) -> None:
        """Let those who serve it finish, or cancel them."""
        self._ending.set()
        for scope in self._scopes:
            scope.deadline = min(scope.deadline, trio.current_time() + (0.0 if at_once else GRACE))

    async def wait_left(self) -> None:
        """Return when nobody serves it."""
        while self._scopes:
            await self._left.wait()


class Residents:
    """The bots that run here."""

    def __init__(self) -> None:
        self._here: set[Resident] = set()
        self._changed = trio.Event()

    def begin(self, name: str, id: int) -> Resident:
        """A bot runs here from now on."""
        resident = Resident(name, id)
        self._here.add(resident)
        self._changed.set()
        self._changed = trio.Event()
        return resident

    async def end(self, resident: Resident) -> None:
        """A bot has been drained: return once nobody serves it any more, after `GRACE` at the latest.

        Cancelled, it does not wait; :meth:`cut` has to follow in any case.
        """
        self._here.discard(resident)
        resident.end(at_once=False)
        with trio.move_on_after(GRACE + PATIENCE):
            await resident.wait_left()

    async def cut(self, resident: Resident) -> None:
        """A bot does not run here any more: cancel those who serve it, and wait until they have ended.

        It waits for `PATIENCE` at most, and cancelling does not shorten that.
        """
        self._here.discard(resident)
        resident.end(at_once=True)
        with trio.move_on_after(PATIENCE, shield=True):
            await resident.wait_left()

    async def serve_each(self, serve: Callable[[Resident], Awaitable[None]]) -> None:
        """Run `serve(resident)` for each bot as long as it runs here, until cancelled.

        Raises (in groups):
            Exception: what `serve` raised.
        """
        known: set[Resident] = set()
        async with trio.open_nursery() as nursery:
            while True:
                changed = self._changed
                for resident in self._here - known:
                    nursery.start_soon(_serve, resident, resident.enter(), serve)
                known = set(self._here)
                await changed.wait()


async def _serve(
    resident: Resident, scope: trio.CancelScope, serve: Callable[[Resident], Awaitable[None]]
) -> None:
    try:
        with scope:
            await serve(resident)
    finally:
        resident.leave(scope)
