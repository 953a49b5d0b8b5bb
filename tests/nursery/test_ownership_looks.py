"""What a look at a cluster's store tells a node: who is silent, what is lost, which leases may be given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from trioworkers.nursery.ownership import Decision, Lease, Node, Ownership, Terms, View

if TYPE_CHECKING:
    from collections.abc import Mapping

TERMS = Terms()
BOTS = (1, 2, 3)
FREE = {bot: Lease(None, 5, pinned="a") for bot in BOTS}
SOON = 0.5  # seconds from one look to the next


def node(life: str = "me", name: str = "a", beat: int = 1, **more: Any) -> Node:
    return Node(life, name, beat, more.pop("ttl", TERMS.ttl), "bots", **more)


class One:
    """One node, whose lease never ends; it looks and decides."""

    def __init__(self) -> None:
        self.ownership = Ownership("me", "a", BOTS, TERMS)
        self.ownership.renewed(1e6)

    def look(
        self,
        now: float,
        leases: Mapping[int, Lease],
        *others: Node,
        me: Node | None = None,
        timeline: str = "",
    ) -> Decision:
        return self.ownership.look(View([me or node(), *others], leases, timeline=timeline), now)


def test_a_node_is_silent_since_its_beat_was_first_seen() -> None:
    """Strangers and the node itself are not, as far as it knows."""
    one = One()
    one.look(0.0, FREE, node("it", "b"))
    assert one.ownership.silent_for("it", 0.0) == 0.0
    for now in (SOON, 2 * SOON):
        one.look(now, FREE, node("it", "b"))
    assert one.ownership.silent_for("it", 3 * SOON) == 3 * SOON
    assert one.ownership.silent_for("it", -1.0) == 0.0
    assert one.ownership.silent_for("me", 3 * SOON) == 0.0
    assert one.ownership.silent_for("stranger", 3 * SOON) == 0.0
    one.look(4 * SOON, FREE, node("it", "b", beat=2))
    assert one.ownership.silent_for("it", 5 * SOON) == SOON


@pytest.mark.parametrize(("more", "since"), [(0.0, 0.0), (0.01, TERMS.gap + 0.01)])
def test_what_was_seen_before_a_gap_does_not_count(more: float, since: float) -> None:
    """Those that seem silent may just not have reached the store either."""
    one = One()
    one.look(0.0, FREE, node("it", "b"))
    now = TERMS.gap + more
    one.look(now, FREE, node("it", "b"))
    assert one.ownership.silent_for("it", now) == now - since


def test_a_node_is_evicted_when_its_own_time_has_passed() -> None:
    """It says itself how long that is; a moment earlier it lives."""
    one = One()
    silent = node("it", "b", ttl=3 * SOON)
    decisions = [one.look(number * SOON, FREE, silent) for number in range(4)]
    assert [decision.evict for decision in decisions] == [(), (), (), (silent,)]


@pytest.mark.parametrize(
    ("lease", "lost"),
    [
        (Lease("it", 8), True),
        (Lease(None, 7), True),
        (Lease(None, 6), False),
        (Lease("it", 6), False),
        (Lease("me", 7), False),
    ],
    ids=["claimed by another", "released by another", "older: free", "older: another's", "its own"],
)
def test_a_bot_is_lost_when_its_row_says_so(lease: Lease, lost: bool) -> None:
    """A view that is older than the claim says nothing of it. What is lost is not given back any more."""
    one = One()
    one.ownership.claimed({1: 7, 2: 5})
    one.ownership.giving.add(1)
    rows = {1: lease, 2: Lease("me", 5), 3: Lease("it", 5)}
    assert one.look(0.0, rows, node("it", "b")).lost == ((1,) if lost else ())
    assert (1 in one.ownership.owned, 1 in one.ownership.giving) == (not lost, not lost)
    assert one.ownership.owned[2] == 5


def test_a_claim_whose_answer_was_lost_is_found_in_its_row() -> None:
    """Also the first of all epochs; the row of before a release is not such a claim."""
    one = One()
    one.look(0.0, {1: Lease("me", 0), 2: Lease("me", 5), 3: Lease("it", 5)}, node("it", "b"))
    assert one.ownership.owned == {1: 0, 2: 5}
    one.ownership.released([2])
    one.look(SOON, {1: Lease("me", 0), 2: Lease("me", 5), 3: Lease("it", 5)}, node("it", "b"))
    assert one.ownership.owned == {1: 0}
    one.look(2 * SOON, {1: Lease("me", 0), 2: Lease("me", 6), 3: Lease("it", 5)}, node("it", "b"))
    assert one.ownership.owned == {1: 0, 2: 6}


def test_a_release_of_what_it_has_not_is_none() -> None:
    """Its row may be claimed under the same epoch."""
    one = One()
    one.ownership.released([1])
    one.look(0.0, {1: Lease("me", 0)})
    assert one.ownership.owned == {1: 0}


def test_leases_are_given_under_a_new_timeline_once_all_old_ones_have_ended() -> None:
    """The longest of all nodes that live; another failover begins anew."""
    one = One()
    longest = TERMS.ttl + 2.0
    assert one.look(0.0, FREE, node("it", "b", ttl=longest)).claim
    beats = 1

    def at(now: float, timeline: str) -> Decision:
        nonlocal beats
        beats += 1
        return one.look(now, FREE, node("it", "b", beat=beats, ttl=longest), timeline=timeline)

    for now in (1.0, 1.0 + SOON, 1.0 + longest - 0.01):
        decision = at(now, "2")
        assert (decision.claim, decision.grant) == ((), False)
    decision = at(1.0 + longest, "2")
    assert decision.claim
    assert decision.grant
    again = at(2.0 + longest, "3")
    assert (again.claim, again.grant) == ((), False)
    assert at(2.0 + 2 * longest, "3").grant
    assert not at(3.0 + 2 * longest, "").grant


def test_a_node_that_is_drained_from_outside_claims_nothing_and_gives_back() -> None:
    """As one that leaves by itself, but where others can take its bots only."""
    one = One()
    one.ownership.claimed({1: 5})
    rows = {1: Lease("me", 5), 2: Lease(None, 5), 3: Lease(None, 5)}
    drained = node(drains=True)
    assert one.look(0.0, rows, me=drained).claim == ()
    decision = one.look(100.0, rows, node("it", "b"), me=drained)
    assert (decision.claim, decision.give_back) == ((), ())
    decision = one.look(100.0 + TERMS.settling, rows, node("it", "b", beat=2), me=drained)
    assert (decision.claim, decision.give_back) == ((), (1,))


def test_past_its_deadline_it_decides_nothing_and_still_hears_what_is_lost() -> None:
    """Others may have evicted it."""
    one = One()
    one.ownership.claimed({1: 5})
    one.ownership.deadline = 10.0
    decision = one.look(10.0, {1: Lease("it", 6), 2: Lease(None, 5)}, node("it", "b"))
    assert decision == Decision(lost=(1,))


def test_a_node_that_leaves_claims_nothing_before_its_row_says_so() -> None:
    """It was told first, and writes it then."""
    one = One()
    assert one.look(0.0, FREE).claim == BOTS
    one.ownership.leaves = True
    assert one.look(SOON, FREE).claim == ()
