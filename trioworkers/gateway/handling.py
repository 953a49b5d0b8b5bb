"""One handling of an update by a program, as far as its calls go."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from trioworkers.handling.calls import Calls
from trioworkers.protocol.frames import KEY_LENGTH, cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trioworkers.botapi.errors import BotApiError
    from trioworkers.handling.calls import CallRecorder
    from trioworkers.protocol.frames import Recorded


class Handling:
    """The calls of one handling.

    Args:
        recorded: what earlier handlings called.
        recorder: where the calls of this one are recorded.

    Attributes:
        calls: those that can be compared.
        refusals: what Telegram refused, the last one of each code.
        stood: seconds for which its messages waited for their turns.
        is_lost: the process ended amid it, and another one handles the update: none of its calls may be
            made any more.
    """

    def __init__(self, recorded: Sequence[Recorded], recorder: CallRecorder) -> None:
        self.calls = Calls(recorded, recorder)
        self.refusals: dict[int, BotApiError] = {}
        self.stood = 0.0
        self.is_lost = False
        self._waits_since: float | None = None
        self._recorder: CallRecorder | None = recorder
        self._uploads: Counter[str] = Counter()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Inside, a message of it waits for its turn. Of several that wait, the time counts once."""
        if self._waits_since is not None:
            yield
            return
        self._waits_since = trio.current_time()
        try:
            yield
        finally:
            self.stood = self.stood_by_now
            self._waits_since = None

    @property
    def stood_by_now(self) -> float:
        """The same, with what waits now."""
        return self.stood + (0.0 if self._waits_since is None else trio.current_time() - self._waits_since)

    async def begin_upload(self, method: str) -> str:
        """Record that a call with files is about to be made; return its key."""
        self._uploads[method] += 1
        key = cut(f"{method} - files {self._uploads[method]}", KEY_LENGTH)
        if self._recorder is not None:
            await self._recorder.begin(key)
        return key

    def not_uploaded(self, key: str) -> None:
        """Record that it is known not to have been made."""
        if self._recorder is not None:
            self._recorder.not_made(key)

    def close(self, *, lost: bool = False) -> None:
        """The update has ended: calls of what outlives it are passed on, and not recorded.

        `lost`: it has not, but the process has.
        """
        self.is_lost = lost
        self._recorder = None
        self.calls.close()
