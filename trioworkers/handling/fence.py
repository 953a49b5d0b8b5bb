"""Cuts one handling off: its chat was taken from the bot, and nothing of it may reach Telegram any more.

A request that is under way is given a few seconds to get its answer. If it were cancelled at once, Telegram
might have it all the same, and carry it out after a human has begun to speak; and nobody would know
whether it was made. One that has no answer by then is cancelled, and its connection closed: what was not
sent of it never will be. If all of it was sent, its call stays recorded as begun, without an answer, as
when a worker dies. Everything else of the handling is cancelled, and each new request is refused.
"""

from __future__ import annotations

import trio

from trioworkers.errors import TrioworkersError

PATIENCE = 3.0  # seconds for requests under way; the daemon waits five for all of it


class FencedError(TrioworkersError):
    """A call was refused, as the chat of the update was taken from the bot."""


class HandlingFence:
    """By which one handling can be cut off.

    Its owner calls :meth:`ended` once the handling has its outcome.

    Attributes:
        is_closed: no request may begin any more.
        is_cut: the handling was cancelled, or something of it refused; its outcome is `fenced`.
    """

    __slots__ = ("_ended", "_has_ended", "_quiet", "_scope", "_under_way", "is_closed", "is_cut")

    def __init__(self) -> None:
        self.is_closed = self.is_cut = self._has_ended = False
        self._scope: trio.CancelScope | None = None
        self._under_way = 0
        self._quiet: trio.Event | None = None  # events only where somebody waits: most are never closed
        self._ended: trio.Event | None = None

    def guard(self, scope: trio.CancelScope) -> None:
        """Let `scope`, in which the handling runs from now on, be what is cancelled."""
        self._scope = scope
        if self.is_cut:
            scope.cancel()

    def check(self) -> None:
        """Raise if the fence is closed.

        Raises:
            FencedError: it is. The rest of the handling is cancelled once no request is under way.
        """
        if self.is_closed:
            self.is_cut = True
            if not self._under_way:
                self._cut()
            raise FencedError

    def begin_request(self) -> None:
        """A request of the handling is about to be made.

        Raises:
            FencedError: the fence is closed, and it must not be made.
        """
        self.check()
        self._under_way += 1

    def end_request(self) -> None:
        """A request that was begun is over."""
        self._under_way -= 1
        if not self._under_way and self._quiet is not None:
            self._quiet.set()

    def close(self) -> None:
        """Let no request begin any more; cancel the handling if none is under way."""
        self.is_closed = True
        if not self._under_way:
            self._cut()

    async def wait_ended(self) -> None:
        """Close the fence, let requests under way end, cancel the handling, and return once it has ended.

        A handling that ignores cancellation keeps this from returning.
        """
        self.close()
        if self._under_way:
            if self._quiet is None:
                self._quiet = trio.Event()
            with trio.move_on_after(PATIENCE):
                await self._quiet.wait()
            self._cut()
        if not self._has_ended:
            if self._ended is None:
                self._ended = trio.Event()
            await self._ended.wait()

    def ended(self) -> None:
        """The handling is over, and its outcome is known."""
        self._has_ended = True
        if self._ended is not None:
            self._ended.set()

    def _cut(self) -> None:
        if self._has_ended:
            return
        self.is_cut = True
        if self._scope is not None:
            self._scope.cancel()


async def close_all(fences: list[HandlingFence]) -> None:
    """Close fences, and return once all of their handlings have ended."""
    for fence in fences:
        fence.close()
    async with trio.open_nursery() as nursery:
        for fence in fences:
            nursery.start_soon(fence.wait_ended)
