"""The cluster's soak: a seed makes its schedule, and its reckoning finds two pollers and late takeovers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
from soaking.cluster_reckoning import Absence, late, moved, silences, strange_calls, two_pollers
from soaking.cluster_schedule import Plan, make_cluster_schedule
from soaking.pollers import Connection, Pollers

BOT = 7


@pytest.mark.parametrize("seconds", [90, 180, 1200])
def test_a_seed_makes_one_schedule_of_rounds(seconds: float) -> None:
    """One node in each round but the last, two restarts of the server and one failover."""
    plan = Plan(7, seconds, nodes=3, bots=10, rate=1)
    steps = make_cluster_schedule(plan)
    assert steps == make_cluster_schedule(plan) == sorted(steps)
    assert steps != make_cluster_schedule(replace(plan, seed=8))
    counts = Counter(step.what for step in steps)
    assert (counts.pop("restart server"), counts.pop("fail over")) == (2, 1)
    assert counts.total() == max(3, seconds // 60) - 1
    assert all(dict(step.how)["seconds"] > 15 for step in steps if step.what == "freeze")
    jumps = make_cluster_schedule(replace(plan, seconds=1200, troubles=("jump", "cut")))
    assert {step.what for step in jumps} == {"jump", "cut"}
    assert {dict(step.how)["node"] for step in jumps if step.what == "jump"} == {0, 1, 2, 3}


def watched(*calls: tuple[str, str, float]) -> Pollers:
    """Calls by lives of nodes: `polls` and `polled` of their connections, and `calls`."""
    pollers = Pollers()
    connections: dict[str, Connection] = {}
    for what, life, at in calls:
        connection = connections.setdefault(life, Connection(life, partial(str.startswith, life, "gone")))
        if what == "polls":
            pollers.polls(BOT, connection, at)
        elif what == "polled":
            pollers.polled(BOT, connection, at)
        else:
            pollers.calls(BOT, life, at)
    return pollers


def test_pollers_one_after_the_other_are_in_order() -> None:
    """Also when the one before has closed its connection, and Telegram has not heard of it yet."""
    pollers = watched(
        *(("polls", "a/0", 1.0), ("polled", "a/0", 2.0), ("calls", "a/0", 2.5)),
        *(("polls", "gone/0", 3.0), ("polls", "a/0", 4.0), ("polls", "a/0", 9.0)),
    )
    assert (pollers.overlaps, pollers.strays) == ([], [])
    assert len(moved(pollers.turns, since=3.5)) == 1
    assert moved(pollers.turns, since=4.0) == []
    assert pollers.turns[BOT] == [
        ["a/0", 1.0, 1.0, 2.0],
        ["gone/0", 3.0, 3.0, None],
        ["a/0", 4.0, 9.0, None],
    ]


def test_two_that_poll_at_once_are_found() -> None:
    """Unless the first was frozen when the second began."""
    pollers = watched(("polls", "a/0", 1.0), ("polls", "b/0", 12.0), ("polls", "a/0", 20.0))
    absence = Absence("a/0", "freeze", 2.0, 19.0, [BOT])
    assert two_pollers(pollers.overlaps[:1], [absence]) == []
    (second,) = two_pollers(pollers.overlaps, [absence])
    assert "a/0 polled at 20.00, while b/0" in second
    assert len(two_pollers(pollers.overlaps, [])) == 2


def test_a_call_within_anothers_turn_is_found() -> None:
    """One before its end, not one after it: its next owner may handle what waited before it polls."""
    calls = [("polls", "a/0", 1.0), ("polled", "a/0", 2.0), ("polls", "b/0", 3.0), ("calls", "a/0", 4.0)]
    after = watched(*calls)
    assert strange_calls(after.strays, after.turns) == []
    within = watched(*calls, ("polls", "b/0", 5.0))
    (found,) = strange_calls(within.strays, within.turns)
    assert "a/0 called at 4.00, within the turn of b/0" in found


def test_takeovers_are_held_against_the_lease() -> None:
    """A later life of the same node counts; none is said; amid a server's absence there is no limit."""
    turns = {
        1: [["a/0", 0.0, 9.0, 20.0], ["b/0", 22.0, 30.0, None]],
        2: [["a/0", 0.0, 9.0, 20.0], ["a/1", 26.0, 30.0, None]],
        3: [["a/0", 0.0, 9.0, 20.0]],
        4: [["b/0", 0.0, 28.0, 30.0]],
    }
    absence = Absence("a/0", "kill", 10.0, 10.0, [1, 2, 3, 4])
    broken, figures = late([absence], turns, 15.0)
    assert broken == ["kill a/0: 1 bots too late: 2 after 16.0 s", "kill a/0: 1 bots never: 3"]
    assert (figures["takeover, median s"], figures["takeover, longest s"]) == (14.0, 16.0)
    cut = Absence("a/0", "cut", 10.0, 28.0, [1, 2])
    assert silences(cut, turns) == [2.0, 6.0]
    disturbed = Absence("a/0", "kill", 10.0, 10.0, [1, 2], is_disturbed=True)
    broken, figures = late([disturbed], turns, 15.0)
    assert broken == []
    assert figures["takeover amid a server's absence, longest s"] == 16.0
