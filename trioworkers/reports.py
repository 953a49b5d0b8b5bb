"""What the parts of a daemon report, as events; so that none of them needs to know of events and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.errors import describe
from trioworkers.inbox.store import StoreFullError

if TYPE_CHECKING:
    from collections.abc import Set

    from trioworkers.config import FleetInForce
    from trioworkers.errors import TrioworkersError
    from trioworkers.events import Events
    from trioworkers.inbox.sqlite.damage import Damage
    from trioworkers.inbox.store import StoreError


class Reports:
    """Emits what is reported to it.

    Args:
        events: where.
        in_force: knows the names of bots.
    """

    def __init__(self, events: Events, in_force: FleetInForce) -> None:
        self._events = events
        self._in_force = in_force

    def inbox_trouble(self, error: StoreError | None) -> None:
        """The inbox fails, or works again (None)."""
        if error is None:
            self._events.emit("inbox.recovered")
        elif isinstance(error, StoreFullError):
            self._events.emit("inbox.full", reason=str(error))
        else:
            self._events.emit("inbox.trouble", reason=str(error))

    def inbox_damaged(self, damage: Damage) -> None:
        """A damaged inbox was put aside."""
        self._events.emit(
            "inbox.damaged",
            reason=damage.reason,
            moved_to=str(damage.moved_to),
            recovered=dict(damage.recovered),
            lost=damage.lost,
        )

    def webhook_refused(self, error: TrioworkersError) -> None:
        """Nobody can listen for webhooks, or their certificate is of no use."""
        self._events.emit("webhook.refused", reason=str(error))

    def delivery_broke(self, bot_id: int, error: Exception) -> None:
        """A mistake of ours refused what was delivered to a webhook."""
        name = self._in_force.bot_name(bot_id)
        fields = {"level": "error", "reason": "internal", "error": describe(error)}
        self._events.emit("transport.trouble", name, **fields)

    def sockets_unused(self, names: Set[str]) -> None:
        """Sockets were handed over that nothing listens on; names none when there are none."""
        if names:
            found = f"sockets were handed over as {', '.join(sorted(names))} and are not used"
            self._events.emit("webhook.refused", reason=f"{found}, expected FileDescriptorName=webhook")

    def bots_refused(self) -> None:
        """Bots that plugins gave are left out of the fleet in force."""
        for problems in self._in_force().refused.values():
            for problem in problems:
                self._events.emit("plugin.failed", plugin=str(problem.file), reason=str(problem))
