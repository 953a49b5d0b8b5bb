"""Kill −9 of the daemon while Telegram delivers: nothing is lost."""

from __future__ import annotations

from benchmarks.webhook_kills import deliver_through_kills


async def test_kill_9_amid_deliveries_loses_nothing(tmp_path):
    """Three kills in the middle of it, and a graceful stop: every update is done, each chat in order.

    `scripts/bench webhook-kills` runs a larger one.
    """
    await deliver_through_kills(tmp_path, bots=5, updates=1500, kills=3)
