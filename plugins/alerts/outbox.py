"""Notices on their way: each goes to the chat and to the URL, is tried again, and is given up in the end."""

from collections.abc import Callable, Iterable
from typing import Literal, Protocol

import msgspec
import trio
from trioworkers_plugins.alerts.book import Notice

Target = Literal["chat", "url"]
MOST_WAITING = 50  # notices for one target; of more, the oldest are given up
GIVE_UP = 3600.0  # seconds after which a notice is no news any more
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0  # seconds between tries, doubled each time
TRY_TIME = 60.0  # seconds for one try


class SendError(Exception):
    """A notice was not sent. `is_final`: nor will it be. The message holds no token and no text."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


class Parcel(msgspec.Struct, frozen=True):
    """A notice for one target. `since`: when it was put in, Unix seconds."""

    target: Target
    notice: Notice
    since: float


class Sender(Protocol):
    """Sends to one target."""

    async def send(self, notice: Notice) -> None:
        """Send a notice, or raise SendError."""


class OutboxReports(Protocol):
    """What the outbox tells of: that it changed, and what goes wrong."""

    def changed(self) -> None: ...
    def failed(self, target: Target, reason: str) -> None: ...
    def given_up(self, target: Target, reason: str, count: int) -> None: ...


class Outbox:
    """What waits for its targets.

    Args:
        parcels: what waited when the daemon ended.
        reports: is told what happens.
        clock: Unix seconds.
    """

    def __init__(self, parcels: Iterable[Parcel], reports: OutboxReports, clock: Callable[[], float]) -> None:
        self._parcels = list(parcels)
        self._reports = reports
        self._clock = clock
        self._came = trio.Event()

    @property
    def parcels(self) -> tuple[Parcel, ...]:
        """What waits, the oldest first."""
        return tuple(self._parcels)

    def put(self, notices: Iterable[Notice], targets: Iterable[Target]) -> None:
        """Let notices go to these targets."""
        targets, now = list(targets), self._clock()
        for notice in notices:
            self._parcels += [Parcel(target, notice, now) for target in targets]
        for target in targets:
            waiting = [parcel for parcel in self._parcels if parcel.target == target]
            surplus = waiting[:-MOST_WAITING]
            for parcel in surplus:
                self._parcels.remove(parcel)
            if surplus:
                self._reports.given_up(target, f"more than {MOST_WAITING} wait", len(surplus))
        self.wake()

    def wake(self) -> None:
        """Try at once: something has changed."""
        self._came.set()
        self._came = trio.Event()

    async def serve(self, target: Target, sender: Sender) -> None:
        """Send what waits for a target, one notice after the other, for ever."""
        pause = FIRST_PAUSE
        told: str | None = None
        while True:
            came = self._came
            parcel = next((parcel for parcel in self._parcels if parcel.target == target), None)
            if parcel is None:
                await came.wait()
                continue
            try:
                await self._try(parcel, sender)
            except SendError as error:
                if error.is_final or self._clock() - parcel.since > GIVE_UP:
                    self._remove(parcel)
                    self._reports.given_up(target, str(error), 1)
                    continue
                if str(error) != told:
                    self._reports.failed(target, str(error))
                told = str(error)
                with trio.move_on_after(pause):
                    await came.wait()
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._remove(parcel)
                pause, told = FIRST_PAUSE, None

    async def _try(self, parcel: Parcel, sender: Sender) -> None:
        with trio.move_on_after(TRY_TIME):
            await sender.send(parcel.notice)
            return
        message = f"not sent within {TRY_TIME:g} s"
        raise SendError(message)

    def _remove(self, parcel: Parcel) -> None:
        if parcel in self._parcels:  # else it was surplus meanwhile
            self._parcels.remove(parcel)
        self._reports.changed()
