"""Who polls for which bot when, as Telegram sees it: what shows whether two nodes worked for one bot."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Connection:
    """A client's connection. `life`: of which life of which node; `is_closed`: whether the client left it."""

    def __init__(self, life: str, is_closed: Callable[[], bool]) -> None:
        self.life = life
        self.is_closed = is_closed


class Pollers:
    """Takes note of calls. Times are seconds of any one clock.

    Attributes:
        turns: by bot, its pollers one after the other: each a life, when its first and its last call of
            getUpdates in that turn began, and when the last one ended (None: it has not).
        overlaps: calls of getUpdates that began while another life's call had not ended: the bot, the other
            life and when its call began, the life and when.
        strays: other calls, of a life that was not the bot's last poller: the bot, the life, when, and the
            number of the last poller's turn.
    """

    def __init__(self) -> None:
        self.turns: defaultdict[int, list[list[Any]]] = defaultdict(list)
        self.overlaps: list[tuple[int, str, float, str, float]] = []
        self.strays: list[tuple[int, str, float, int]] = []
        self._open: defaultdict[int, dict[Connection, float]] = defaultdict(dict)

    def polls(self, bot: int, connection: Connection, at: float) -> None:
        """A call of getUpdates begins."""
        others = self._open[bot]
        self.overlaps += (
            (bot, other.life, since, connection.life, at)
            for other, since in others.items()
            if other.life != connection.life and not other.is_closed()
        )
        others[connection] = at
        turns = self.turns[bot]
        if turns and turns[-1][0] == connection.life:
            turns[-1][2:] = at, None
        else:
            turns.append([connection.life, at, at, None])

    def polled(self, bot: int, connection: Connection, at: float) -> None:
        """The bot's call of getUpdates on this connection, if there is one, has ended."""
        if self._open[bot].pop(connection, None) is None:
            return
        for turn in reversed(self.turns[bot]):
            if turn[0] == connection.life:
                turn[3] = at
                return

    def calls(self, bot: int, life: str, at: float) -> None:
        """Another call begins."""
        turns = self.turns[bot]
        if turns and turns[-1][0] != life:
            self.strays.append((bot, life, at, len(turns) - 1))
