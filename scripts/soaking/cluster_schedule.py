"""What befalls a cluster when, decided by the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from soaking.schedule import Step

SERVER_AT = 0.75  # the share of a round after which the server's turn comes
LONGEST_ABSENCE = 25.0  # seconds until a killed node is started again
DUMP = 0.1, 0.8  # when a dump begins, and how long it takes, as shares of a soak

TROUBLES = "kill", "freeze", "cut", "jump", "server", "dump"
USUAL = "kill", "freeze", "server"
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of a soak: `rate` in updates a second, times in seconds, `troubles` of `TROUBLES`."""

    seed: int
    seconds: float
    nodes: int
    bots: int
    rate: float
    lease: float = 15.0
    every: float = 60.0
    troubles: tuple[str, ...] = USUAL


def make_cluster_schedule(plan: Plan) -> list[Step]:
    """All steps in their order; the same plan gives the same ones.

    In each round of `every` seconds one node is killed, frozen until its lease is over, or cut off from the
    database for as long, or a clock jumps by an hour: a node's or the server's. Between rounds the server
    is restarted, twice in all, and once its standby takes over. The last round is quiet. A dump of the whole
    database takes most of the soak.
    """
    dice = Random(plan.seed)
    every = plan.every
    rounds = max(3, int(plan.seconds / every))
    kinds = [what for what in plan.troubles if what not in ("server", "dump")]
    left: list[str] = []
    steps = []
    for number in range(rounds - 1 if kinds else 0):
        left = left or dice.sample(kinds, len(kinds))
        what = left.pop()
        how: dict[str, Any] = {"node": dice.randrange(plan.nodes)}
        if what == "kill":
            how["seconds"] = round(dice.uniform(0.1, LONGEST_ABSENCE), 1)
        elif what == "jump":  # beyond the last node: the server's
            how = {"node": dice.randrange(plan.nodes + 1), "seconds": dice.choice((-HOUR, HOUR))}
        else:
            how["seconds"] = round(plan.lease + dice.uniform(2, 8), 1)
        if what == "freeze":
            how["whole"] = dice.random() < 0.5  # with its workers, as a machine that stands still
        at = number * every + dice.uniform(0.05, 0.2) * every
        steps.append(Step(round(at, 2), what, tuple(how.items())))
    befall = ((0.25, "restart server"), (0.5, "fail over"), (0.75, "restart server"))
    for share, what in befall if "server" in plan.troubles else ():
        number = min(rounds - 2, int(share * (rounds - 1)))
        at = (number + SERVER_AT) * every + dice.uniform(0, 0.1) * every
        steps.append(Step(round(at, 2), what, (("down", round(dice.uniform(0, 3), 1)),)))
    if "dump" in plan.troubles:
        begins, takes = (share * plan.seconds for share in DUMP)
        steps.append(Step(round(begins, 2), "dump", (("seconds", round(takes, 1)),)))
    return sorted(steps)
