"""Sends what waits: a task for each dialog and way, so that one dialog's trouble delays no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers import BotApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers_plugins.handoff.outbox import Outbox
    from trioworkers_plugins.handoff.pieces import Place

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between tries of what failed on the way


async def serve_couriers(
    outbox: Outbox, deliver: Callable[[Place], Awaitable[None]], failed: Callable[[Exception], None]
) -> None:
    """Send what waits in an outbox, until cancelled.

    Args:
        outbox: what waits.
        deliver: sends the first piece of a dialog, or an album, and removes it; or removes it unsent, and
            says so, where no later try could send it.
        failed: notes what `deliver` raised, before it is called again.
    """
    busy: set[Place] = set()

    async def serve(place: Place) -> None:
        pause = FIRST_PAUSE
        while outbox.waiting(place):
            try:
                await deliver(place)
                pause = FIRST_PAUSE
            except Exception as error:
                if not isinstance(error, TransportError) and not (
                    isinstance(error, BotApiError) and error.error_code >= 500
                ):
                    failed(error)
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        busy.discard(place)

    async with trio.open_nursery() as nursery:
        while True:
            for place in outbox.places():
                if place not in busy:
                    busy.add(place)
                    nursery.start_soon(serve, place)
            await outbox.wait_added()
