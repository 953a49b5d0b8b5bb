"""The status document as a client knows it, kept up to date by the messages of the stream. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNNING = ("uptime_ms", "last_heartbeat_age_ms")
"""Fields that grow with time by themselves; changes name them only when they begin anew."""


class Mirror:
    """A copy of a fleet's status.

    Attributes:
        fleet: what the document says of the daemon.
        rows: the bots' rows, by name.
    """

    def __init__(self) -> None:
        self.fleet: dict[str, Any] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self._began: dict[tuple[str | None, str], float] = {}  # when running figures were 0, seconds

    def apply(self, message: Mapping[str, Any], now: float) -> None:
        """Take in a message of the stream; those that change nothing are passed over.

        `now`: when it came, any clock's seconds.
        """
        if message["type"] == "snapshot":
            self.rows.clear()
            self._began.clear()
            data = message["data"]
            self.fleet = dict(data["fleet"])
            self._note(None, self.fleet, now)
            for row in data["workers"]:
                self._change(row["bot"], row, now)
        elif message["type"] == "change":
            bot, data = message["bot"], message["data"]
            if bot is None:
                self.fleet |= data
                self._note(None, data, now)
            elif data is None:
                self.rows.pop(bot, None)
            else:
                self._change(bot, data, now)

    def fleet_at(self, now: float) -> dict[str, Any]:
        """`fleet`, with the running figures as they are now."""
        return self.fleet | self._running(None, self.fleet, now)

    def row_at(self, bot: str, now: float) -> dict[str, Any]:
        """A bot's row, with the running figures as they are now.

        Raises:
            KeyError: there is no such bot.
        """
        row = self.rows[bot]
        return row | self._running(bot, row, now)

    def document(self, now: float) -> dict[str, Any]:
        """The whole status document."""
        return {"fleet": self.fleet_at(now), "workers": [self.row_at(bot, now) for bot in self.rows]}

    def _change(self, bot: str, data: Mapping[str, Any], now: float) -> None:
        self.rows.setdefault(bot, {}).update(data)
        self._note(bot, data, now)

    def _note(self, bot: str | None, data: Mapping[str, Any], now: float) -> None:
        for field in RUNNING:
            if isinstance(data.get(field), int | float):
                self._began[bot, field] = now - data[field] / 1000

    def _running(self, bot: str | None, row: Mapping[str, Any], now: float) -> dict[str, Any]:
        return {
            field: round(max(0.0, now - self._began[bot, field]) * 1000)
            for field in RUNNING
            if row.get(field) is not None and (bot, field) in self._began
        }
