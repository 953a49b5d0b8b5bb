"""What the parts of a daemon report, as events; so that none of them needs to know of events and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.errors import describe
from trioworkers.inbox.store import StoreFullError

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

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

    def inbox_journal(self, size: int, holders: Sequence[str]) -> None:
        """Another program keeps the inbox's journal of so many bytes from being emptied; 0: no more."""
        if not size:
            self._events.emit("inbox.journal", level="info", bytes=0, reason="the journal is emptied again")
            return
        reason = (
            f"another program reads the inbox and keeps its journal of {size >> 20} MB from being emptied"
        )
        self._events.emit("inbox.journal", bytes=size, holders=list(holders), reason=reason)

    def state_restored(self, paths: list[str]) -> None:
        """Files of the daemon were removed or replaced while it ran, and are there again."""
        self._events.emit("state.restored", paths=paths)

    def state_lost(self, reason: str) -> None:
        """Such files cannot be put back now."""
        self._events.emit("state.lost", reason=reason)

    def loop_held(self, plugin: str, hook: str, seconds: float) -> None:
        """A plugin has held the loop for so long, and still does. To be called from any thread."""
        reason = f"{hook} has held the daemon's loop for {seconds:.1f} s"
        self._events.log_now("plugin.failed", plugin=plugin, reason=reason)

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

    def endpoint_broke(self, error: Exception) -> None:
        """A mistake of ours ended a connection of a program whose bot is not known."""
        self._events.emit("gateway.trouble", error=describe(error))

    def attempt_refused(self, source: str, what: str) -> None:
        """Somebody presented a wrong token or login link to the API."""
        self._events.emit("control.refused", source=source, reason=what)

    def sockets_unused(self, names: Set[str]) -> None:
        """Sockets were handed over that nothing listens on; names none when there are none."""
        if names:
            found = f"sockets were handed over as {', '.join(sorted(names))} and are not used"
            self._events.emit(
                "webhook.refused", reason=f"{found}, expected FileDescriptorName=api or webhook"
            )

    def bots_refused(self) -> None:
        """Bots that plugins gave are left out of the fleet in force."""
        for problems in self._in_force().refused.values():
            for problem in problems:
                self._events.emit("plugin.failed", plugin=str(problem.file), reason=str(problem))
