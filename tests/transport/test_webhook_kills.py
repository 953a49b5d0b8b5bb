"""Kill −9 of a process that holds the listener and the inbox, while Telegram delivers: nothing is lost."""

from __future__ import annotations

from benchmarks.webhook_kills import deliver_through_kills


async def test_kill_9_of_the_listener_loses_nothing(tmp_path):
    """Three kills in the middle of it, and a graceful stop: every update is there once, each chat in order.

    What Telegram repeats is answered as known. `scripts/bench webhook-kills` runs a larger one.
    """
    await deliver_through_kills(tmp_path / "inbox.db", bots=5, updates=1500, kills=3)
