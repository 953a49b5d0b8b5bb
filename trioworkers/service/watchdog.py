"""What proves that the fleet is in good health: each part has to answer before systemd's watchdog is fed.

That the task that feeds it runs proves the loop. Two parts have threads or processes of their own, and could
stand still while the loop turns: the inbox's writer and the zygote. Each is asked a question again and again.
A part may be silent for a while, since there are silences that a restart does not cure: a disk that takes no
write for a minute, a zygote that is being replaced. Only a longer silence withholds the watchdog's message.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the daemon that has to answer.

    Attributes:
        name: what it is called in events.
        answers: returns once the part has answered a question that was asked now.
        patience: seconds for which it may be silent before the watchdog is not fed any more.
    """

    name: str
    answers: Callable[[], Awaitable[object]]
    patience: float


def watchdog_period(environ: Mapping[str, str], pid: int | None = None) -> float | None:
    """Seconds between two messages: half of WatchdogSec= (sd_watchdog_enabled(3)); None without it."""
    usec, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or not int(usec):
        return None
    if whose and whose != str(os.getpid() if pid is None else pid):
        return None
    return int(usec) / 2_000_000


async def serve_watchdog(
    period: float, parts: Sequence[Part], feed: Callable[[], None], report: Callable[[str, float], None]
) -> None:
    """Call `feed` each `period` seconds as long as no part has been silent for longer than its patience.

    Runs until cancelled. `report` hears once of each silence that makes it withhold the call: the part's name
    and the seconds.
    """
    heard = dict.fromkeys((part.name for part in parts), trio.current_time())

    async def ask(part: Part) -> None:
        while True:
            await part.answers()
            heard[part.name] = trio.current_time()
            await trio.sleep(period)

    async with trio.open_nursery() as nursery:
        for part in parts:
            nursery.start_soon(ask, part)
        reported: set[str] = set()
        while True:
            now = trio.current_time()
            # a part that answers at once is heard of once in a period
            silent = {
                part.name: now - heard[part.name]
                for part in parts
                if now - heard[part.name] > period + part.patience
            }
            for name in silent.keys() - reported:
                report(name, silent[name])
            reported = set(silent)
            if not silent:
                feed()
            await trio.sleep(period)
