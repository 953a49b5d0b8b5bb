"""A token that Telegram refused, tried again from time to time.

A token that was revoked is refused for ever, but a passing trouble at Telegram looks the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from trioworkers.nursery.intake import FIRST_LOOK, LONGEST_LOOK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random


class RefusedToken:
    """Waits for the end of a refusal.

    Args:
        is_known: asks Telegram whether it knows the token.
        rng: where jitter comes from.

    Attributes:
        looks_at: when the token is tried again, Unix seconds; None while it is not refused.
    """

    def __init__(self, is_known: Callable[[], Awaitable[bool]], rng: Random) -> None:
        self.looks_at: float | None = None
        self._is_known = is_known
        self._rng = rng
        self._asked_again = trio.Event()

    def ask_again(self) -> None:
        """Somebody wants the bot to run: the wait ends."""
        self._asked_again.set()

    async def wait(self, pause: float) -> tuple[float, bool]:
        """Return once the bot is asked for again, or its token is known again.

        The token is tried after `pause` seconds, then after doubled times, with jitter. Returns the next
        pause, and whether the token is known.
        """
        self._asked_again = trio.Event()
        while not self._asked_again.is_set():
            wait = self._rng.uniform(pause / 2, pause)
            self.looks_at = time.time() + wait
            with trio.move_on_after(wait):
                await self._asked_again.wait()
                break
            pause = min(2 * pause, LONGEST_LOOK)
            is_known = await self._is_known()
            if is_known and not self._asked_again.is_set():
                self.looks_at = None
                return pause, True
        self.looks_at = None
        return FIRST_LOOK, False
