"""What goes wrong when: decided before anything runs, by the seed alone.

Daemons are killed in the first part only (`LAST_LIFE`); the rest is one life of the daemon, long enough to
see whether it grows. Everything else goes on to the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

LAST_LIFE = 0.5  # the share of the time after which the daemon is ended no more
FAULTS = {  # by method: what its answers suffer
    "getUpdates": ("500", "502 page", "429", "broken", "truncated", "closed", "slow", "late"),
    "sendMessage": (
        *("500", "502 page", "429", "broken", "truncated", "closed", "slow", "late", "forbidden"),
        *("made, then broken", "made, then truncated", "made, then closed"),
    ),
    "setWebhook": ("500", "429", "closed"),
    "getWebhookInfo": ("500", "broken", "closed"),
}
INVALID = ("not toml", "unknown key", "one token twice", "wrong type", "nothing")


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """Something that is done to the fleet, `at` seconds after the load began."""

    at: float
    what: str
    how: tuple[tuple[str, Any], ...] = ()


def make_schedule(seed: int, seconds: float, bots: int, programs: int = 0) -> list[Step]:
    """All steps in their order; the same arguments give the same ones.

    Which worker a kill meets is a share (0 to 1) of those that run then; bots are numbers.
    """
    dice = Random(seed)
    steps: list[Step] = []

    def at_random(what: str, every: float, how: Any = dict, *, start: float = 2.0, end: float = 1.0) -> None:
        """About every so many seconds, at least once."""
        last = seconds * end - 2.0
        times = []
        now = start + dice.expovariate(1 / every)
        while now < last:
            times.append(now)
            now += dice.expovariate(1 / every)
        times = times or [dice.uniform(start, last)]
        steps.extend(Step(round(at, 2), what, tuple(how().items())) for at in times)

    def bot() -> dict[str, Any]:
        return {"bot": dice.randrange(bots)}

    def fault() -> dict[str, Any]:
        method = dice.choices(list(FAULTS), weights=(4, 6, 1, 1))[0]
        kind = dice.choice(FAULTS[method])
        share = 0.03 if kind == "forbidden" else dice.choice((0.05, 0.2, 0.5))
        return {"method": method, "kind": kind, "share": share, "seconds": round(dice.uniform(1, 6), 1)}

    at_random("kill worker", 200 / max(bots, 60), lambda: {"share": dice.random()})
    at_random("kill zygote", 120)
    at_random("kill daemon", 75, end=LAST_LIFE)
    at_random("stop daemon", 300, end=LAST_LIFE)
    at_random("fault", 4, fault)
    at_random("greeting", 8, bot)
    at_random("remove", 20, lambda: bot() | {"seconds": round(dice.uniform(1, 10), 1)})
    at_random("transport", 12, lambda: bot() | {"to": dice.choice(("poll", "webhook", "auto"))})
    at_random("token", 45, bot)
    at_random("pause", 30, lambda: bot() | {"seconds": round(dice.uniform(1, 5), 1)})
    at_random("invalid", 45, lambda: {"kind": dice.choice(INVALID)})
    at_random("new code", 400)
    if programs:
        at_random("kill program", 100 / programs, lambda: {"share": dice.random()})
    return sorted(steps)
