"""What befalls a cluster when, decided by the seed alone."""

from __future__ import annotations

from random import Random
from typing import Any

from soaking.schedule import Step

SERVER_AT = 0.75  # the share of a round after which the server's turn comes
LONGEST_ABSENCE = 25.0  # seconds until a killed node is started again


def make_cluster_schedule(
    seed: int, seconds: float, nodes: int, *, lease: float, every: float = 60.0, cuts: bool = False
) -> list[Step]:
    """All steps in their order; the same arguments give the same ones.

    In each round of `every` seconds one node is killed, frozen until its lease is over, or (`cuts`) cut off
    from the database. Between rounds the server is restarted, twice in all, and once its standby takes over.
    The last round is quiet.
    """
    dice = Random(seed)
    rounds = max(3, int(seconds / every))
    kinds = ["kill", "freeze", *(["cut"] if cuts else [])]
    left: list[str] = []
    steps = []
    for number in range(rounds - 1):
        left = left or dice.sample(kinds, len(kinds))
        what = left.pop()
        how: dict[str, Any] = {"node": dice.randrange(nodes)}
        if what == "kill":
            how["seconds"] = round(dice.uniform(0.1, LONGEST_ABSENCE), 1)
        else:
            how["seconds"] = round(lease + dice.uniform(2, 8), 1)
        if what == "freeze":
            how["whole"] = dice.random() < 0.5  # with its workers, as a machine that stands still
        at = number * every + dice.uniform(0.05, 0.2) * every
        steps.append(Step(round(at, 2), what, tuple(how.items())))
    for share, what in ((0.25, "restart server"), (0.5, "fail over"), (0.75, "restart server")):
        number = min(rounds - 2, int(share * (rounds - 1)))
        at = (number + SERVER_AT) * every + dice.uniform(0, 0.1) * every
        steps.append(Step(round(at, 2), what, (("down", round(dice.uniform(0, 3), 1)),)))
    return sorted(steps)
