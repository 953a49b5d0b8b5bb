"""Several daemons on one PostgreSQL database run one fleet: each bot runs on one of them."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from cluster_scene import HANDLER, LEASE, Cluster, cluster_of
from postgres_server import Server, own_server

from trioworkers.testing.fleet import FleetFailed, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


server = pytest.fixture(scope="module")(own_server)


@pytest.fixture
def cluster(tmp_path: Path, server: Server) -> Iterator[Cluster]:
    """Six bots, and no daemon yet."""
    with cluster_of(tmp_path, server, 6) as cluster:
        yield cluster
        for fleet in cluster.nodes.values():
            fleet.end()


def test_a_killed_nodes_bots_run_elsewhere(cluster: Cluster) -> None:
    """Within the lease, with what was said meanwhile; the others never stop, and each bot has one poller."""
    cluster.start("a", "b", "c")
    cluster.settle("a", "b", "c")
    owners, epochs = cluster.owners(), cluster.epochs()
    for name in cluster.bots:
        cluster.say(name, "one")
        assert cluster.hear(name) == [(owners[name], "one")]
    cluster.all_done()
    killed = Counter(owners.values()).most_common(1)[0][0]
    assert killed is not None
    left = [name for name in "abc" if name != killed]
    cluster.nodes[killed].kill()
    began = time.monotonic()
    for name in cluster.bots:
        cluster.say(name, "two")
    heard = {name: cluster.hear(name)[0] for name in cluster.bots}
    assert time.monotonic() - began < LEASE + 6  # a busy machine
    wanted = cluster.preferred(*left)
    assert heard == {name: (wanted[name], "two") for name in cluster.bots}
    names = {bot.id: name for name, bot in cluster.bots.items()}
    moved = {names[bot] for bot, epoch in cluster.epochs().items() if epoch != epochs[bot]}
    assert moved == {name for name, owner in owners.items() if owner == killed}
    assert cluster.events("transport.conflict") == []
    assert [event["node"] for event in cluster.events("node.evicted")] == [killed]


def test_a_frozen_node_does_nothing_more_when_it_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    """It was silent for longer than its lease: it calls nothing, changes nothing, and begins another life.

    Nor does a worker of its, which was not frozen, and was about to call when another node had its bot.
    """
    cluster.start("a", "b")
    cluster.settle("a", "b")
    wanted = cluster.preferred("a", "b")
    held = next(name for name, owner in wanted.items() if owner == "a")
    gate = tmp_path / "gate"
    cluster.say(held, str(gate))
    frozen = cluster.nodes["a"]
    cluster.until(lambda: cluster.handles("a", held))
    (life,) = cluster.rows("SELECT id FROM node WHERE name = 'a'")[0]
    frozen.process.send_signal(signal.SIGSTOP)
    for name in cluster.bots:
        cluster.say(name, "one")
    cluster.until(lambda: set(cluster.owners().values()) == {"b"})
    cluster.until(lambda: cluster.handles("b", held))
    gate.touch()
    assert cluster.hear(held) == [("b", str(gate))]
    for name in cluster.bots:
        assert cluster.hear(name) == [("b", "one")]
    cluster.all_done()
    epochs, seen = cluster.epochs(), len(frozen.events())
    frozen.process.send_signal(signal.SIGCONT)
    cluster.until(lambda: frozen.events("node.evicted"))
    cluster.settle("a", "b")
    for name in cluster.bots:
        cluster.say(name, "two")
        assert cluster.hear(name) == [(wanted[name], "two")]
    after = frozen.events()[seen:]
    begun_anew = next(n for n, event in enumerate(after) if event["event"] == "lease.acquired")
    told = Counter(event["event"] for event in after[:begun_anew])
    assert told["lease.lost"] == sum(owner == "a" for owner in wanted.values())
    assert told["update.returned"] == 1  # the one that was held; what it was about to call is not known
    assert {name for name in told if name.startswith(("update.", "tr"))} <= {"update.returned", "update.call"}
    assert {event["result"] for event in after[:begun_anew] if event["event"] == "update.call"} <= {"unknown"}
    assert cluster.events("transport.conflict") == []
    assert cluster.rows("SELECT id FROM node WHERE name = 'a'")[0] != (life,)
    moved = {bot for bot, epoch in cluster.epochs().items() if epoch != epochs[bot]}
    assert moved == {bot.id for name, bot in cluster.bots.items() if wanted[name] == "a"}


def test_a_stop_hands_the_bots_over(cluster: Cluster) -> None:
    """While people talk: each message is answered once, in order; no bot is without a node for a second."""
    cluster.start("a", "b")
    cluster.settle("a", "b")
    texts = [str(number) for number in range(60)]
    stopped = False
    for text in texts:
        for name in cluster.bots:
            cluster.say(name, text)
        if text == "20":
            cluster.nodes["a"].process.send_signal(signal.SIGTERM)
            stopped = True
        time.sleep(0.03)
    assert stopped
    for name in cluster.bots:
        assert [text for _, text in cluster.hear(name, len(texts))] == texts
    cluster.until(lambda: cluster.nodes["a"].process.poll() == 0)
    assert set(cluster.owners().values()) == {"b"}
    assert cluster.events("lease.lost", "update.repeated", "update.retried", "transport.conflict") == []
    gone = cluster.times("lease.released", "a")
    came = cluster.times("lease.acquired", "b")
    assert gone
    assert max(came[bot] - at for bot, at in gone.items()) < 1.0


def test_a_node_that_starts_again_has_its_bots_at_once(cluster: Cluster) -> None:
    """It was killed; nobody waits for its lease, as it knows itself that its former life has ended."""
    cluster.lease = 120
    cluster.start("a")
    cluster.settle("a")
    epochs = cluster.epochs()
    cluster.nodes["a"].kill()
    cluster.nodes["a"].start()
    cluster.settle("a")
    assert cluster.epochs() == {bot: epoch + 1 for bot, epoch in epochs.items()}
    assert len(cluster.rows("SELECT id FROM node")) == 1


def test_a_server_that_goes_away_moves_nothing(cluster: Cluster) -> None:
    """In a restart of it nothing stops; in an outage beyond the lease all are silent, and go on then."""
    cluster.lease = 6  # a busy machine takes its time to restart a server
    cluster.start("a", "b")
    cluster.settle("a", "b")
    wanted = cluster.preferred("a", "b")
    epochs, lives = cluster.epochs(), cluster.rows("SELECT id FROM node ORDER BY id")
    cluster.server.stop()
    cluster.server.start()
    for name in cluster.bots:
        cluster.say(name, "one")
        assert cluster.hear(name) == [(wanted[name], "one")]
    assert cluster.events("lease.lost") == []
    cluster.server.stop()
    cluster.until(lambda: len(cluster.events("lease.lost")) == len(cluster.bots))
    for name in cluster.bots:
        cluster.say(name, "two")
    cluster.server.start()
    for name in cluster.bots:
        assert cluster.hear(name) == [(wanted[name], "two")]
    assert (cluster.epochs(), cluster.rows("SELECT id FROM node ORDER BY id")) == (epochs, lives)
    assert cluster.events("node.evicted") == []


def test_a_reload_adds_and_removes_bots(cluster: Cluster) -> None:
    """A new bot runs where it prefers as soon as all nodes know it; one that is removed is released.

    The status has a node's name and life, for how long it may work, and the epochs of its bots.
    """
    cluster.start("a", "b")
    cluster.settle("a", "b")
    status = cluster.nodes["a"].status()
    node = status["fleet"]["node"]
    rows = [row for row in status["workers"] if cluster.preferred("a", "b")[row["bot"]] == "a"]
    assert (node["name"], node["bots"]) == ("a", len(rows))
    assert 0 < node["lease_left_ms"] <= LEASE * 1000
    assert (node["life"],) in [(str(life),) for (life,) in cluster.rows("SELECT id FROM node")]
    assert {row["bot_id"]: row["epoch"] for row in rows}.items() <= cluster.epochs().items()
    cluster.add_bots("late0", "late1", "late2")
    for node, fleet in cluster.nodes.items():
        fleet.reload(cluster.tables(node))
    cluster.settle("a", "b")
    cluster.say("late0", "hello")
    assert cluster.hear("late0") == [(cluster.preferred("a", "b")["late0"], "hello")]
    removed = cluster.bots.pop("late1")
    for node, fleet in cluster.nodes.items():
        fleet.reload(cluster.tables(node))
    cluster.until(lambda: cluster.rows(f"SELECT owner FROM bot WHERE bot_id = {removed.id}") == [(None,)])
    assert cluster.events("transport.conflict") == []


def test_a_daemon_in_no_cluster_is_refused_beside_a_node_and_the_other_way_round(
    cluster: Cluster, tmp_path: Path
) -> None:
    """With the reason; it is not waited for."""
    alone = {key: table for key, table in cluster.tables("x").items() if key != "cluster"}
    environ = {"DATABASE_URL": cluster.url}

    def start(folder: str, tables: dict[str, Any]) -> Any:
        return running(
            tmp_path / folder,
            tables,
            telegram=cluster.telegram,
            modules={"replies": HANDLER},
            environ=environ,
        )

    with start("alone", alone), pytest.raises(FleetFailed, match="uses this database, and is in no"):
        start("node", cluster.tables("a")).__enter__()
    with (
        start("node2", cluster.tables("a")),
        pytest.raises(FleetFailed, match="another daemon uses this"),
    ):
        start("alone2", alone).__enter__()
