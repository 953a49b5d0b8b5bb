"""getUpdates: who polls, who is thrown out, and how long a call waits.

The rules are `Client.cpp`, `process_get_updates_query` and `do_get_updates`: with updates pending
nobody is thrown out; a poll that must wait ends the one that already waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.testing.answers import conflict
from trioworkers.testing.bots import Poll
from trioworkers.testing.queue import parse_allowed_updates

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.queue import Pending
    from trioworkers.testing.world import World

MAX_TIMEOUT = 50  # seconds
CONFLICT_PAUSE = 3.0  # seconds before a second 409, `fail_query_conflict`
WEBHOOK_ACTIVE = (
    "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)
OTHER_POLL = "terminated by other getUpdates request; make sure that only one bot instance is running"
OTHER_WEBHOOK = "terminated by setWebhook request"


def open_poll(world: World, bot: SimBot, params: Params) -> Poll:
    """Read a getUpdates call and remember it.

    Calls that repeat an offset are slowed, unless `Telegram(repeat_guard=False)`: within 0.5 s they
    get one update, within 3 s they wait for 3 s at least.

    Raises:
        Refused: 409 while a webhook is set.
    """
    if bot.webhook is not None:
        raise conflict(WEBHOOK_ACTIVE)
    offset = params.integer("offset")
    limit = min(max(params.integer("limit", 100), 1), 100)
    timeout = min(max(params.integer("timeout"), 0), MAX_TIMEOUT)
    allowed = parse_allowed_updates(params.values.get("allowed_updates"))
    if allowed is not None:
        bot.queue.allowed = allowed
    now = world.clock()
    if world.repeat_guard and offset == bot.last_offset:
        if now < bot.last_poll_at + 3.0:
            timeout = max(timeout, 3)
        if now < bot.last_poll_at + 0.5:
            limit = 1
    bot.last_offset, bot.last_poll_at = offset, now
    return Poll(offset, limit, timeout)


async def wait_poll(world: World, bot: SimBot, poll: Poll) -> list[Pending]:
    """Return the next batch as soon as there is one, an empty one after the call's timeout.

    Call it when there is nothing to fetch. Cancelled (the client vanished), it leaves nothing behind.

    Raises:
        Refused: 409, because of a webhook or of another poll that has to wait, too.
    """
    batch: list[Pending] = []
    bot.end_poll(conflict(OTHER_POLL))
    bot.poll = poll
    try:
        with trio.move_on_after(poll.timeout):
            while not batch and poll.refused is None:
                await bot.queue.changed.wait()
                if poll.refused is None:
                    batch = bot.queue.fetch(poll.offset, poll.limit)
    finally:
        if bot.poll is poll:
            bot.poll = None
    if poll.refused is not None:
        now = world.clock()
        if world.repeat_guard and poll.refused.error_code == 409:
            if now < bot.next_conflict_at:
                await trio.sleep(CONFLICT_PAUSE)
            else:
                bot.next_conflict_at = now + CONFLICT_PAUSE
        raise poll.refused
    return batch
