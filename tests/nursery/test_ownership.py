"""Which bots a node runs: what one decides, and what becomes of several of them whatever happens."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from cluster import DRIFT, Cluster  # type: ignore[import-not-found] # it lies beside
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from trioworkers.nursery.ownership import (
    FALLBACK,
    LEAVING,
    MOVES,
    TAKEOVERS,
    Lease,
    Node,
    Ownership,
    Terms,
    View,
    fleet_digest,
    prefer,
)

TERMS = Terms()
BOTS = range(1, 31)


def _started(*names: str, bots: range = BOTS) -> Cluster:
    cluster = Cluster(bots)
    for name in names:
        cluster.add(name)
    cluster.run(15.0)
    return cluster


def _preferred(bots: range, *names: str) -> dict[int, str]:
    return {bot: prefer(bot, names) for bot in bots}


def test_the_times_of_a_lease_fit_into_it():
    """To notice a death, wait and claim takes less than the setting says; a renewal may fail several times
    before the node has to be silent."""
    for lease in (5.0, 15.0, 60.0):
        terms = Terms(lease)
        assert terms.ttl + 3 * terms.scan <= lease
        assert terms.ttl - terms.margin >= 5 * terms.beat
        assert terms.scan < terms.gap < terms.ttl


def test_each_bot_runs_on_the_node_that_it_prefers():
    """Nodes that know the same bots agree without a word, and each has its part."""
    cluster = _started("a", "b", "c")
    assert cluster.owners() == _preferred(BOTS, "a", "b", "c")
    assert min(Counter(cluster.owners().values()).values()) >= 4


def test_bots_of_a_killed_node_alone_move_and_within_the_lease():
    """Nobody else's bots have a new epoch; those of the dead node are claimed before the lease has passed."""
    cluster = _started("a", "b", "c")
    before, leases = cluster.owners(), dict(cluster.store.leases)
    cluster.nodes[1].kill()
    cluster.run(TERMS.lease - 1.0)
    assert cluster.owners() == _preferred(BOTS, "a", "c")
    moved = {bot for bot in BOTS if cluster.store.leases[bot] != leases[bot]}
    assert moved == {bot for bot in BOTS if before[bot] == "b"}


def test_bots_move_to_a_node_that_joins_alone_and_without_a_pause():
    """Those that prefer it are given back once it has settled, at most ten at a time, and claimed at once."""
    cluster = _started("a", "b")
    leases = dict(cluster.store.leases)
    cluster.add("c")
    cluster.run(TERMS.settling - 1.0)
    assert cluster.store.leases == leases
    free = 0
    for _ in range(60):
        cluster.run(0.25)
        free = max(free, sum(lease.owner is None for lease in cluster.store.leases.values()))
    assert cluster.owners() == _preferred(BOTS, "a", "b", "c")
    moved = {bot for bot in BOTS if cluster.store.leases[bot].epoch != leases[bot].epoch}
    assert moved == {bot for bot in BOTS if prefer(bot, "abc") == "c"}
    assert free <= 2 * MOVES


def test_a_node_that_leaves_gives_all_back_and_nothing_waits_for_its_lease():
    """Its bots run elsewhere within two seconds."""
    cluster = _started("a", "b", "c")
    ownership = cluster.nodes[0].ownership
    assert ownership is not None
    cluster.nodes[0].leave()
    cluster.run(2.0)
    assert not ownership.owned
    assert cluster.owners() == _preferred(BOTS, "b", "c")


def test_a_node_that_leaves_gives_back_what_others_can_take():
    """Not all at once: claims have a rate, and a bot that waits for its turn would run nowhere."""
    ownership = Ownership("me", "a", range(1000), TERMS)
    ownership.renewed(0.0)
    ownership.claimed(dict.fromkeys(range(1000), 1))
    ownership.leaves = True
    nodes = [Node("me", "a", 1, TERMS.ttl, "", drains=True), Node("it", "b", 1, TERMS.ttl, "")]
    leases = {bot: Lease("me", 1) for bot in range(1000)}
    first = ownership.look(View(nodes, dict(leases)), 0.0).give_back
    assert len(first) == LEAVING
    assert ownership.look(View(nodes, dict(leases)), 0.5).give_back == ()
    ownership.released(first)
    leases.update({bot: Lease(None, 1) for bot in first})
    assert ownership.look(View(nodes, dict(leases)), 1.0).give_back == ()
    leases.update({bot: Lease("it", 2) for bot in first})
    assert len(set(ownership.look(View(nodes, dict(leases)), 1.5).give_back) - set(first)) == LEAVING
    assert len(ownership.look(View(nodes[:1], dict(leases)), 2.0).give_back) == 800  # nobody is left to claim


def test_a_node_that_drains_gives_all_back_but_only_to_others():
    """It stays, and claims nothing; where there is nobody else, it goes on."""
    cluster = _started("a", "b")
    for node in cluster.nodes:
        cluster.store.drain(node.life)
        cluster.run(10.0)
        assert set(cluster.owners().values()) == {"b"}


def test_a_pinned_bot_is_where_it_was_moved_to_while_that_node_lives():
    """It moves there and back again, and elsewhere when the node dies."""
    cluster = _started("a", "b", "c")
    bot = next(bot for bot in BOTS if prefer(bot, "abc") == "a")
    lease = cluster.store.leases[bot]
    cluster.store.leases[bot] = Lease(lease.owner, lease.epoch, "c")
    cluster.run(2.0)
    assert cluster.owners()[bot] == "c"
    cluster.nodes[2].kill()
    cluster.run(TERMS.lease)
    assert cluster.owners()[bot] == "a"
    cluster.nodes[2].start()
    cluster.run(TERMS.lease)
    assert cluster.owners()[bot] == "c"


def test_bots_that_one_node_does_not_know_run_on_another():
    """While nodes know different bots, as amid a change of the fleet, none gives bots to the other."""
    cluster = Cluster(BOTS)
    cluster.add("a").bots = set(BOTS)
    cluster.add("b").bots = set(BOTS[:-1])
    cluster.run(15.0)
    owners = cluster.owners()
    assert owners[BOTS[-1]] == "a"
    assert None not in owners.values()
    epochs = dict(cluster.store.leases)
    cluster.run(30.0)
    assert cluster.store.leases == epochs


def test_bots_that_leave_the_fleet_are_given_back():
    """Nobody claims them then."""
    cluster = _started("a", "b")
    for node in cluster.nodes:
        assert node.ownership is not None
        node.ownership.change_bots(BOTS[5:])
    cluster.run(10.0)
    owners = cluster.owners()
    assert [bot for bot in BOTS if owners[bot] is None] == [*BOTS[:5]]


def test_takeovers_have_a_rate():
    """A node that inherits a thousand bots claims a part of them each second, and those it prefers first."""
    ownership = Ownership("me", "a", range(1000), TERMS)
    ownership.renewed(0.0)
    nodes = [Node("me", "a", 1, TERMS.ttl, fleet_digest(range(1000)))]
    leases = {bot: Lease(None, 0) for bot in range(1000)}
    claimed: list[int] = []
    seconds = 0.0
    while len(claimed) < 1000:
        got = ownership.look(View(nodes, leases), seconds).claim
        leases.update({bot: Lease("me", 1) for bot in got})
        ownership.claimed(dict.fromkeys(got, 1))
        claimed += got
        again = ownership.look(
            View(nodes, leases), seconds
        ).claim  # a look that follows at once gives no more
        leases.update({bot: Lease("me", 1) for bot in again})
        ownership.claimed(dict.fromkeys(again, 1))
        claimed += again
        seconds += TERMS.scan
        ownership.renewed(seconds)
        assert len(claimed) <= TAKEOVERS * (seconds + 1.0)
    assert seconds <= 1000 / TAKEOVERS


def test_a_bot_whose_preferred_node_claims_nothing_is_claimed_by_any():
    """Three seconds later; as long as that node claims others, it is waited for."""
    digest = fleet_digest(BOTS)
    nodes = [Node("me", "a", 1, 60.0, digest), Node("it", "b", 1, 60.0, digest)]
    mine = Ownership("me", "a", BOTS, TERMS)
    mine.renewed(0.0)
    its = [bot for bot in BOTS if prefer(bot, "ab") == "b"]
    leases = {bot: Lease("me", 1) for bot in BOTS} | {bot: Lease(None, 0) for bot in its}
    assert mine.look(View(nodes, dict(leases)), 0.0).claim == ()
    leases[its[0]] = Lease("it", 1)
    assert mine.look(View(nodes, dict(leases)), 1.0).claim == ()
    assert mine.look(View(nodes, dict(leases)), FALLBACK).claim == ()
    assert mine.look(View(nodes, dict(leases)), 1.0 + FALLBACK).claim == tuple(its[1:])


@pytest.mark.parametrize("seconds", [TERMS.gap + 0.1, 3600.0])
def test_nobody_is_evicted_after_a_gap(seconds):
    """Whoever did not look for a while watches a whole lease again: the store may have been away for all."""
    nodes = [Node("me", "a", 1, TERMS.ttl, ""), Node("it", "b", 1, TERMS.ttl, "")]
    mine = Ownership("me", "a", BOTS, TERMS)
    now = 0.0
    while now < TERMS.ttl - 1.0:
        mine.renewed(now)
        assert mine.look(View(nodes, {}), now).evict == ()
        now += TERMS.scan
    now += seconds
    mine.renewed(now)
    assert mine.look(View(nodes, {}), now).evict == ()
    evicted = now
    while not mine.look(View(nodes, {}), evicted).evict:
        evicted += TERMS.scan
        mine.renewed(evicted)
    assert TERMS.ttl <= evicted - now <= TERMS.ttl + TERMS.scan


def test_a_view_from_before_a_release_gives_nothing_back_to_its_former_owner():
    """The writer releases on a connection of its own, so a look may begin before and end after a release."""
    digest = fleet_digest([1])
    nodes = [Node("me", "a", 1, 60.0, digest)]
    mine = Ownership("me", "a", [1], TERMS)
    mine.renewed(0.0)
    mine.claimed({1: 7})
    mine.released([1])
    mine.look(View(nodes, {1: Lease("me", 7)}), 1.0)
    assert mine.owned == {}
    mine.look(View(nodes, {1: Lease("me", 8)}), 2.0)
    assert mine.owned == {1: 8}
    mine.look(View(nodes, {1: Lease(None, 7)}), 3.0)  # and one from before the claim takes nothing
    assert mine.owned == {1: 8}


def test_an_evicted_life_never_works_again():
    """Also not when a renewal's answer is late."""
    mine = Ownership("me", "a", [1], TERMS)
    mine.renewed(0.0)
    assert mine.look(View([], {}), 1.0).is_over
    mine.renewed(2.0)
    assert not mine.may_work(2.0)
    assert mine.look(View([Node("me", "a", 1, 60.0, "")], {}), 3.0).is_over


def test_a_late_answer_does_not_extend_the_lease():
    """What counts is when the renewal was sent."""
    mine = Ownership("me", "a", [1], TERMS)
    mine.renewed(10.0)
    end = 10.0 + TERMS.ttl - TERMS.margin
    assert mine.may_work(end - 0.001)
    assert not mine.may_work(end)
    mine.renewed(9.0)
    assert mine.deadline == end


def test_an_outage_of_the_store_moves_nothing():
    """All are silent when their leases end, and go on when it is back."""
    cluster = _started("a", "b", "c")
    leases = dict(cluster.store.leases)
    cluster.now += 3600.0
    assert not any(node.may_call(bot) for node in cluster.nodes for bot in BOTS)
    cluster.run(30.0)
    assert cluster.store.leases == leases
    assert all(sum(node.may_call(bot) for node in cluster.nodes) == 1 for bot in BOTS)


MODES = ("well", "well", "slow", "frozen", "cut off", "deaf")
"""How a node does for a while. Cut off: its requests do not arrive. Deaf: they do, and the answers do not."""

EVENTS = ("", "fail over", "replicate", "break", "orphan", "kill or start", "move", "move", "drain", "write")

phase = st.tuples(
    st.sampled_from([0.5, 2.0, 5.0, TERMS.ttl - TERMS.margin, TERMS.ttl, 15.0]),
    st.tuples(*[st.sampled_from(MODES)] * 3),
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 2)), max_size=3),
)


@settings(max_examples=200, deadline=None, phases=(Phase.generate,))  # a smaller play of dice says no more
@given(
    clocks=st.tuples(*[st.tuples(st.floats(-1e6, 1e6), st.floats(1 - DRIFT, 1 + DRIFT))] * 3),
    phases=st.lists(phase, min_size=1, max_size=12),
    seed=st.integers(0, 2**32),
)
def test_whatever_happens(clocks, phases, seed):
    """Nodes and server freeze, are cut off, answer late, fail over and lose commits: never do two nodes work
    for one bot, nothing is written under an old life, and afterwards each bot runs where it should."""
    rng = Random(seed)
    cluster = Cluster(range(1, 7))
    for name, (offset, rate) in zip("abc", clocks, strict=True):
        cluster.add(name, offset=offset, rate=rate)
    cluster.run(10.0)
    cluster.replicate()
    for seconds, modes, events in phases:
        for event, which in events:
            _happens(cluster, event, which, rng)
        _play(cluster, seconds, modes, rng)
    _has_converged(cluster)


def _happens(cluster: Cluster, event: str, which: int, rng: Random) -> None:
    node = cluster.nodes[which]
    bot = rng.choice(cluster.bots)
    if event == "fail over":
        cluster.fail_over()
    elif event == "replicate":
        cluster.replicate()
    elif event == "break":
        node.lose_connection()
    elif event == "orphan":
        cluster.serve_orphan()
    elif event == "kill or start":
        node.kill() if node.on else node.start()
    elif event == "move" and bot in cluster.store.leases:
        lease = cluster.store.leases[bot]
        cluster.store.leases[bot] = Lease(lease.owner, lease.epoch, node.name)
    elif event == "drain":
        cluster.store.drain(node.life)
    elif event == "write":
        for bot in cluster.bots:
            node.write(bot)


def _play(cluster: Cluster, seconds: float, modes: tuple[str, ...], rng: Random) -> None:
    """Let time pass, in steps in which requests and answers are on their way for longer or shorter."""
    end = cluster.now + seconds
    while cluster.now < end:
        cluster.now += rng.choice([0.05, 0.25, 0.4])
        for node, mode in zip(cluster.nodes, modes, strict=True):
            node.frozen = mode == "frozen"
            pace = 0.3 if mode == "slow" else 0.9
            node.step()
            for bot in node.giving():
                if rng.random() < pace:
                    node.release(bot)
            if rng.random() < 0.3:
                node.write(rng.choice(cluster.bots))
            for connection in (node.lease, node.writer):
                for _ in range(3):
                    if mode != "cut off" and rng.random() < pace:
                        connection.serve(cluster.store)
                    if mode not in ("cut off", "deaf") and node.runs and rng.random() < pace:
                        connection.hear()
                        cluster.check()
            if rng.random() < 0.002:
                node.lose_connection()
        if rng.random() < 0.05:
            cluster.serve_orphan()
        if rng.random() < 0.2:
            cluster.replicate()
        cluster.check()


def _has_converged(cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.frozen = False
        if not node.on:
            node.start()
    while cluster.orphans:
        cluster.serve_orphan()
    cluster.run(3 * TERMS.lease)
    names = [node.name for node in cluster.nodes if not cluster.store.nodes[node.life].drains]
    owners = cluster.owners()
    assert set(owners) == set(cluster.bots)
    for bot, owner in owners.items():
        pinned = cluster.store.leases[bot].pinned
        if names:
            assert owner == (pinned if pinned in names else prefer(bot, names))
        working = [node.name for node in cluster.nodes if node.may_call(bot)]
        assert working == [owner] if owner else not working
