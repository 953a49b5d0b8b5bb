"""What happens to a bot, from a warning up, written to the bot's own log as well.

So `trioworkers logs BOT` shows, beside what the bot printed, that its worker was killed, that Telegram
refused its token, and which updates became dead letters. The lines are those of `master.log`.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.logs.lines import FileSink
from trioworkers.logs.log import TICK, told_of
from trioworkers.logs.render import rendering
from trioworkers.logs.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trioworkers.events import Events
    from trioworkers.logs.files import RotatedFile

CAPACITY = 1000  # events that wait to be written; of more, the oldest are in master.log only


class BotEvents:
    """Writes events of bots to the bots' logs.

    Args:
        events: where they are emitted.
        file_of: the log of a bot; None when there is no such bot any more.
        throttle_window: seconds for which repeats are held back, as in the daemon's log.
        clock: seconds, for the windows.
    """

    def __init__(
        self,
        events: Events,
        file_of: Callable[[str], RotatedFile | None],
        throttle_window: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._events = events
        self._file_of = file_of
        self._window = throttle_window
        self._clock = clock
        self._throttle = Throttle()
        self._render = rendering("json")

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write events as they come; what is held at the end is written when it is cancelled."""
        with self._events.subscribe("warn", CAPACITY) as subscription:
            task_status.started()
            try:
                while True:
                    with trio.move_on_after(inf if self._throttle.is_idle else TICK):
                        batch, _ = await subscription.receive()
                        self._take([told_of(event) for event in batch if event.bot is not None])
                    self._put(self._throttle.due(self._clock(), self._window()))
            finally:
                batch, _ = subscription.receive_nowait()
                self._take([told_of(event) for event in batch if event.bot is not None])
                self._put(self._throttle.flush())

    def _take(self, lines: Sequence[Mapping[str, Any]]) -> None:
        now, window = self._clock(), self._window()
        self._put([told for told in lines if self._throttle.admits(told, now, window)])

    def _put(self, lines: Sequence[Mapping[str, Any]]) -> None:
        for told in lines:
            file = self._file_of(str(told["bot"]))
            if file is not None:
                FileSink(file).put(self._render(told))
