"""What executors take a bot's updates from, and how they learn that there are more."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trioworkers.records import Waiting


def _holds_nothing() -> bool:
    return False


class Feed:
    """What executors take their updates from: a backlog's ordinary ones, or its suspects."""

    def __init__(
        self,
        take: Callable[[float], Waiting | None],
        next_due: Callable[[], float | None],
        clock: Callable[[], float],
        is_ready: Callable[[], bool] = lambda: False,
    ) -> None:
        self._take, self._next_due, self._clock, self._is_ready = take, next_due, clock, is_ready
        self._taker: Callable[[], object] | None = None
        self._holds: Callable[[], bool] = _holds_nothing
        self._has_changed: trio.Event | None = None  # of those who wait for more to take
        self._poked: trio.Event | None = None  # of those who can take nothing

    def take(self) -> Waiting | None:
        """The next update to handle, now in flight; None when there is none at this moment."""
        return self._take(self._clock())

    async def wait_change(self, *, due: bool = True) -> None:
        """Return when :meth:`take` may have something that it had not before, or when poked.

        Pass `due=False` if you cannot take an update now, and only wait to be poked.
        """
        if not due:
            if self._poked is None:
                self._poked = trio.Event()
            await self._poked.wait()
            return
        if self._has_changed is None:
            self._has_changed = trio.Event()
        event = self._has_changed
        next_due = self._next_due()
        if next_due is None:  # most often, and a deadline costs more than the rest of it
            await event.wait()
            return
        with trio.move_on_after(max(0.0, next_due - self._clock())):
            await event.wait()

    @contextmanager
    def taken_by(
        self, taker: Callable[[], object], holds: Callable[[], bool] | None = None
    ) -> Iterator[None]:
        """Inside, call `taker` whenever there may be more to take, in the turn of the loop in which it comes.

        A task that waits for it would hand an update out a turn later, behind the next poll: 0.2 ms of the
        2.4 that a lone update takes. There is one taker; what it raises is a fault of the backlog's owner.
        `holds` says whether it has taken updates that wait for room only; None: it never does.
        """
        self._taker, self._holds = taker, holds or _holds_nothing
        try:
            yield
        finally:
            self._taker, self._holds = None, _holds_nothing

    @property
    def is_held(self) -> bool:
        """Whether the taker has updates that wait for nothing but room."""
        return self._holds()

    def changed(self) -> None:
        """There may be more to take."""
        self._take_all()
        if self._is_ready() or self._next_due() is not None:  # else it is taken, and nobody has to look
            self._wake()

    def poke(self) -> None:
        """Let what there is be taken, and :meth:`wait_change` return, for all who wait now."""
        self._take_all()
        self.wake()

    def wake(self) -> None:
        """Let :meth:`wait_change` return, for all who wait now."""
        self._wake()
        if self._poked is not None:
            self._poked.set()
            self._poked = None

    def _take_all(self) -> None:
        if self._taker is not None:
            self._taker()

    def _wake(self) -> None:
        if self._has_changed is not None:
            self._has_changed.set()
            self._has_changed = None

    @property
    def has_work(self) -> bool:
        """Whether :meth:`take` would give an update now."""
        due = self._next_due()
        return self._is_ready() or (due is not None and due <= self._clock())
