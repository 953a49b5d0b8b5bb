"""Who handles updates: the port between a bot's scheduler and its executors.

There are three: a worker session, which handles them in the bot's process, a program's, which hands them to
its polls, and functions in the daemon. A further one needs these methods and nothing of the scheduler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trioworkers.nursery.delivery import Delivery


class Executor(Protocol):
    """Handles updates that a scheduler hands to it, and ends each of their deliveries."""

    def room(self) -> int:
        """How many more updates it takes at this moment."""

    def begin(self, delivery: Delivery) -> None:
        """Handle this update; never blocks.

        Later it ends the delivery: `settle` with an outcome, `lose` when it ended itself with the update in
        flight, or `put_back` when the update was not handled. Then it calls the scheduler's `refill`.
        """

    def hurry(self) -> None:
        """Called when nothing more is handed out in this step.

        An executor with a single update in flight sends it now, not at the end of the loop's turn.
        """
