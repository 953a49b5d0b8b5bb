"""The fleet in force: what a reload changes, and everybody else reads in slices."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from trioworkers.config.worker_places import Places, places_of
from trioworkers.machine import this_machine

if TYPE_CHECKING:
    from trioworkers.config.fleet import Fleet
    from trioworkers.config.settings import BotSettings, LogSettings, Webhook


class FleetInForce:
    """Holds the fleet that is in force. Each of its methods gives one slice, read anew each time.

    `has_limits`: a stop is bounded; it is not where somebody debugs.
    """

    def __init__(self, fleet: Fleet, *, has_limits: bool = True) -> None:
        self._has_limits = has_limits
        self._machine = this_machine()
        self.change(fleet)

    def __call__(self) -> Fleet:
        """The whole fleet."""
        return self._fleet

    def change(self, fleet: Fleet) -> None:
        """Put another fleet in force (the reload's call)."""
        self._fleet = fleet
        self._places = places_of(fleet.limits, self._machine)

    def own_bots(self) -> dict[str, BotSettings]:
        """The bots of this daemon's shard."""
        return own_bots(self._fleet)

    def bot_name(self, bot_id: int) -> str | None:
        """The name of the bot that has this id."""
        return next((name for name, bot in self._fleet.bots.items() if bot.bot_id == bot_id), None)

    def log(self) -> LogSettings:
        return self._fleet.log

    def webhook(self) -> Webhook:
        return self._fleet.webhook

    def wants_webhook(self) -> bool:
        """Whether a bot needs the webhook's listener."""
        wants = any(bot.transport != "poll" and bot.enabled for bot in self.own_bots().values())
        return wants and self._fleet.webhook.public_url is not None

    def start_rate(self) -> float:
        """Starts of workers per second."""
        return self._fleet.limits.start_rate

    def places(self) -> Places:
        """How many worker processes there may be at the same time, and for which key."""
        return self._places

    def most_workers(self) -> int:
        """How many worker processes there may be at the same time."""
        return self._places.most

    def dead_retention(self) -> float:
        """Seconds for which dead letters are kept."""
        return self._fleet.store.dead_retention

    def summary_interval(self) -> float:
        """Seconds between two summaries in the log."""
        return self._fleet.log.summary_interval

    def shutdown_timeout(self) -> float:
        """Seconds that a stop may take."""
        return self._fleet.shutdown_timeout if self._has_limits else inf


def own_bots(fleet: Fleet) -> dict[str, BotSettings]:
    """The bots of this daemon's shard."""
    return {name: bot for name, bot in fleet.bots.items() if fleet.shard.owns(bot.bot_id)}
