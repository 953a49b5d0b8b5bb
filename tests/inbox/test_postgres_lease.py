"""Leases in a real PostgreSQL: nodes that die, freeze, leave; a server that restarts, or is replaced."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest
import trio
from postgres_server import Server, needs_postgres, own_server

from trioworkers.cluster.nodes import Nodes as Commands
from trioworkers.inbox.postgres.alone import Alone
from trioworkers.inbox.postgres.lease import NodeLease
from trioworkers.inbox.postgres.lease_statements import JOIN, RENEW, told_to
from trioworkers.inbox.postgres.schema import STEPS
from trioworkers.inbox.postgres.store import postgres_store
from trioworkers.inbox.store import Accept, Kept, StoreFencedError, StoreTakenError, StoreUnreachableError
from trioworkers.nursery.ownership import Terms, prefer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trioworkers.inbox.postgres.lease_change import Change
    from trioworkers.inbox.store import Store

TERMS = Terms()
BOTS = range(1, 21)


server = pytest.fixture(scope="module")(own_server)


class Nodes:
    """Nodes on one database, and a clock for all of them that stands still but in `run`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now = 1000.0
        self.leases: dict[str, NodeLease] = {}
        self.changes: dict[str, list[Change]] = {}
        self.admin = self._connected()

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url, autocommit=True, options="-c search_path=trioworkers")

    def server_is_back(self) -> None:
        """Let this test look at the database again."""
        self.admin.close()
        self.admin = self._connected()

    def add(self, name: str, url: str | None = None) -> NodeLease:
        lease = NodeLease(url or self.url, name, BOTS, TERMS, clock=lambda: self.now)
        self.leases[name], self.changes[name] = lease, []
        return lease

    def run(self, seconds: float, *names: str) -> None:
        """Let these nodes, or all, do what is due; what they give back is drained at once."""
        end = self.now + seconds
        while self.now < end:
            self.now += TERMS.scan
            for name in names or self.leases:
                lease = self.leases[name]
                change = lease.step()
                lease.release(change.give_back)
                self.changes[name].append(change)

    def owners(self) -> dict[int, str | None]:
        query = "SELECT bot_id, name FROM bot LEFT JOIN node ON id = owner ORDER BY bot_id"
        return dict(self.admin.execute(query).fetchall())

    def epochs(self) -> dict[int, int]:
        return dict(self.admin.execute("SELECT bot_id, epoch FROM bot").fetchall())

    def check(self) -> None:
        """What nodes that may work own is theirs in the database."""
        owners = self.owners()
        for name, lease in self.leases.items():
            if lease.may_work():
                assert {bot for bot, owner in owners.items() if owner == name} == set(lease.owned)

    def close(self) -> None:
        for lease in self.leases.values():
            lease.close()
        self.admin.close()


@pytest.fixture
def nodes(server: Server) -> Iterator[Nodes]:
    """An empty database with nodes that a test adds."""
    nodes = Nodes(server.admin(server.database()))
    yield nodes
    nodes.close()


def _started(nodes: Nodes, *names: str) -> None:
    for name in names:
        nodes.add(name)
    nodes.run(8.0)
    assert nodes.owners() == {bot: prefer(bot, names) for bot in BOTS}
    nodes.check()


def _store(lease: NodeLease, url: str) -> Store:
    store = postgres_store(url, lease)
    store.open()
    return store


def _kept(store: Store, bot: int, number: int) -> Kept:
    (kept,) = store.commit([Accept(bot, number, "k", b"{}", 1.0)])
    assert isinstance(kept, Kept)
    return kept


def test_nodes_share_the_bots_and_a_dead_ones_are_taken_over(nodes):
    """Only its bots have new epochs, and they run elsewhere before the lease has passed."""
    _started(nodes, "a", "b", "c")
    before, owners = nodes.epochs(), nodes.owners()
    nodes.run(TERMS.lease, "a", "c")
    assert nodes.owners() == {bot: prefer(bot, "ac") for bot in BOTS}
    moved = {bot for bot, epoch in nodes.epochs().items() if epoch != before[bot]}
    assert moved == {bot for bot in BOTS if owners[bot] == "b"}
    assert sum(change.evicted == ("b",) for name in "ac" for change in nodes.changes[name]) == 1


def test_a_node_that_was_frozen_is_silent_before_it_is_evicted_and_can_write_nothing_after(nodes):
    """It learns of its end with its next step; its writer is refused already before."""
    _started(nodes, "a", "b")
    frozen = nodes.leases["b"]
    bot = next(iter(frozen.owned))
    store = _store(frozen, nodes.url)
    store.commit([Accept(bot, 1, "k", b"{}", 1.0)])
    while "b" in nodes.owners().values():
        nodes.run(TERMS.scan, "a")
        assert not (frozen.may_work() and "b" not in nodes.owners().values())
    assert nodes.now > frozen.deadline + TERMS.margin
    nodes.run(1.0, "a")
    epochs = nodes.epochs()
    with pytest.raises(StoreFencedError):
        store.commit([Accept(bot, 2, "k", b"{}", 1.0)])
    assert frozen.step().is_over
    assert (frozen.owned, frozen.may_work()) == ({}, False)
    assert frozen.step().is_over  # until it begins anew
    assert nodes.epochs() == epochs
    assert nodes.admin.execute("SELECT count(*) FROM inbox").fetchone() == (1,)
    frozen.begin()
    nodes.run(10.0)
    assert nodes.owners() == {bot: prefer(bot, "ab") for bot in BOTS}
    store.commit([Accept(bot, 2, "k", b"{}", 1.0)])
    store.close()


def test_a_node_that_froze_within_a_transaction_is_evicted_all_the_same(nodes):
    """Its open transaction holds its row; the server's process of it is ended."""
    _started(nodes, "a", "b")
    life = nodes.leases["b"].life
    options = "-c search_path=trioworkers"
    held = psycopg.connect(nodes.url, application_name=f"trioworkers {life}", options=options)
    held.execute("INSERT INTO mark VALUES (%s, 1)", (life,))
    nodes.run(TERMS.lease + 1.0, "a")
    assert set(nodes.owners().values()) == {"a"}
    with pytest.raises(psycopg.Error):
        held.execute("SELECT 1")
    held.close()


def test_no_commit_of_an_evicted_node_takes_effect(nodes):
    """Whatever its writer does at the moment of the eviction, nothing of it is there that was not before."""
    nodes.add("a")
    for round_ in range(5):
        lease = nodes.add(f"victim{round_}")
        lease.step()
        store = _store(lease, nodes.url)
        refused: list[StoreFencedError] = []

        def write(
            store: Store = store, refused: list[StoreFencedError] = refused, first: int = round_
        ) -> None:
            for number in range(10_000):
                try:
                    store.commit([Accept(1, 100_000 * first + number, "k", b"{}", 1.0)])
                except StoreFencedError as error:
                    refused.append(error)
                    return

        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(0.1)
        nodes.admin.execute("DELETE FROM node WHERE id = %s", (lease.life,))
        count = nodes.admin.execute("SELECT count(*) FROM inbox").fetchone()
        thread.join(20)
        assert len(refused) == 1
        assert nodes.admin.execute("SELECT count(*) FROM inbox").fetchone() == count
        store.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_of_the_server_moves_nothing(nodes, server, how):
    """Nodes say that it is away, and go on when it is back; all epochs are as they were."""
    _started(nodes, "a", "b")
    epochs = nodes.epochs()
    getattr(server, how)()
    nodes.run(2.0)
    assert all(isinstance(nodes.changes[name][-1].trouble, StoreUnreachableError) for name in "ab")
    server.start()
    nodes.server_is_back()
    nodes.run(2 * TERMS.lease)
    assert nodes.epochs() == epochs
    nodes.check()
    assert all(lease.may_work() for lease in nodes.leases.values())


def test_an_outage_of_the_server_silences_all_and_moves_nothing(nodes, server):
    """It is longer than the lease, so nobody may work at its end; nobody is evicted for it."""
    _started(nodes, "a", "b")
    epochs = nodes.epochs()
    server.stop()
    nodes.run(2.0)
    nodes.now += 100.0
    nodes.run(1.0)
    assert not any(lease.may_work() for lease in nodes.leases.values())
    server.start()
    nodes.server_is_back()
    nodes.run(2 * TERMS.lease)
    assert nodes.epochs() == epochs
    assert all(lease.may_work() for lease in nodes.leases.values())


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_clocks_that_jump_move_nothing(nodes, monkeypatch, seconds):
    """Neither that of a node nor that of the server is read; times in the table are for people only."""
    _started(nodes, "a", "b")
    epochs = nodes.epochs()
    monkeypatch.setattr(time, "time", lambda real=time.time: real() + seconds)
    for _ in range(30):
        nodes.admin.execute("UPDATE node SET seen = now() + make_interval(secs => %s)", (seconds,))
        nodes.run(1.0)
    assert nodes.epochs() == epochs
    nodes.check()


def test_nothing_is_renewed_while_the_daemon_does_not_run(nodes):
    """A thread that lives on beside a loop that hangs must not keep the bots."""
    alive = True
    nodes.leases["a"] = NodeLease(
        nodes.url, "a", BOTS, TERMS, clock=lambda: nodes.now, is_alive=lambda: alive
    )
    nodes.changes["a"] = []
    nodes.add("b")
    nodes.run(8.0)
    alive = False
    nodes.run(TERMS.lease)
    assert set(nodes.owners().values()) == {"b"}


def test_a_node_that_leaves_is_followed_at_once(nodes):
    """Its bots are free as soon as they are released, and the others are woken."""
    _started(nodes, "a", "b")
    nodes.leases["a"].leave()
    nodes.run(1.0)
    nodes.leases["b"].step()
    woken = threading.Thread(target=nodes.leases["b"].wait, args=(20.0,))
    woken.start()
    began = time.monotonic()
    nodes.leases["a"].close()
    woken.join(20)
    assert time.monotonic() - began < 5.0
    assert nodes.leases["a"].owned == {}
    nodes.run(1.0, "b")
    assert set(nodes.owners().values()) == {"b"}
    assert nodes.changes["b"][-1].left == ("a",) or any("a" in one.left for one in nodes.changes["b"])


def test_a_daemon_in_no_cluster_and_a_node_exclude_each_other(nodes):
    """Whichever comes second is refused, with the reason."""
    alone = postgres_store(nodes.url, Alone())
    alone.open()
    change = nodes.add("a").step()
    assert isinstance(change.trouble, StoreTakenError)
    alone.close()
    nodes.run(3.0)
    assert set(nodes.owners().values()) == {"a"}
    late = postgres_store(nodes.url, Alone())
    with pytest.raises(StoreTakenError):
        late.open()
    late.close()


def test_a_migration_may_take_longer_than_a_statement_of_a_lease(nodes):
    """A large table gets its index, although the first node waits for no other statement so long."""
    nodes.admin.execute("CREATE SCHEMA trioworkers; CREATE TABLE version (number int NOT NULL)")
    nodes.admin.execute("INSERT INTO version VALUES (4)")
    for step in STEPS[:4]:
        nodes.admin.execute(step)
    nodes.admin.execute(
        "CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(1.1); END $$"
    )
    nodes.admin.execute("CREATE EVENT TRIGGER slow ON ddl_command_start EXECUTE FUNCTION wait()")
    lease = NodeLease(nodes.url, "a", BOTS, Terms(3.0), clock=lambda: nodes.now)
    nodes.leases["a"] = lease
    assert lease.step().trouble is None
    assert lease.has_joined


def test_a_renewal_that_is_on_no_standby_does_not_count(nodes, server):
    """The server would wait for ever; cut short, it reports a success, with a warning."""
    lease = NodeLease(nodes.url, "a", BOTS, Terms(3.0), clock=lambda: nodes.now)
    nodes.leases["a"] = lease
    assert lease.step().trouble is None
    deadline = lease.deadline
    server.require_standby()
    try:
        _wait_until(nodes, "SHOW synchronous_standby_names", "*")
        nodes.now += 1.0
        assert "its standby has the last commit" in str(lease.step().trouble)
        assert lease.deadline == deadline
    finally:
        nodes.admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
        nodes.admin.execute("SELECT pg_reload_conf()")
    _wait_until(nodes, "SHOW synchronous_standby_names", "")
    assert lease.step().trouble is None
    assert lease.deadline > deadline


def test_a_lease_counts_from_when_its_renewal_was_sent(nodes, monkeypatch):
    """Its answer may be late by any time: others count from what they saw, which may be earlier."""
    lease = nodes.add("a")
    run, sent = lease._run, {}

    def late(statement, values=()):
        sent[statement] = nodes.now
        nodes.now += 2.0
        return run(statement, values)

    monkeypatch.setattr(lease, "_run", late)
    deadlines: list[float] = []
    lease.renewed = deadlines.append
    lease.step()
    assert deadlines == [sent[statement] + TERMS.ttl - TERMS.margin for statement in (JOIN, RENEW)]


def test_others_hear_at_once_of_a_bot_that_was_released(nodes):
    """Long before their next look is due."""
    _started(nodes, "a", "b")
    bot = min(nodes.leases["a"].owned)
    nodes.leases["a"].release([bot])
    assert nodes.leases["a"].step().released
    other = nodes.leases["b"]
    until = time.monotonic() + 10.0
    while other.view.leases[bot].owner is not None:  # what was told before this may be heard first
        assert time.monotonic() < until
        other.wait(until - time.monotonic())
        other.step()


@pytest.mark.parametrize("weaker", ["off", "local"])
def test_renewals_wait_for_what_the_server_waits_for(nodes, weaker):
    """The address or the role may ask for less: a failover could lose such a renewal."""
    lease = nodes.add("a", f"{nodes.url}&options=-csynchronous_commit%3D{weaker}")
    lease.step()
    assert lease.run("SHOW synchronous_commit") == [("on",)]


def _wait_until(nodes, query, value):
    until = time.monotonic() + 10
    while nodes.admin.execute(query).fetchone() != (value,):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_what_a_look_shows_of_nodes(nodes):
    """Which of them knows other bots, and for how long each has renewed nothing, this one included."""
    _started(nodes, "a", "b", "c")
    commands = Commands(nodes.leases["a"], cast("Any", None))
    assert not any(node.other_bots for node in commands.nodes())
    nodes.leases["b"].change_bots([1, 2])
    nodes.run(2 * TERMS.scan)
    assert {node.name: node.other_bots for node in commands.nodes()} == {"a": False, "b": True, "c": False}
    nodes.now += 20.0
    assert all(node.silent_for >= 20.0 for node in commands.nodes())


@pytest.mark.parametrize(("is_over", "said"), [(False, "has not joined"), (True, "taken over")])
def test_without_a_life_no_connection_is_opened(is_over: bool, said: str) -> None:
    """Deliveries come all the time, and each would open one in vain: here nobody listens."""
    lease = NodeLease("postgresql://tests@127.0.0.1:1/nowhere", "a", BOTS, TERMS)
    if is_over:
        lease.end(lease.life)
    with (
        closing(postgres_store("postgresql://tests@127.0.0.1:1/nowhere", lease)) as store,
        pytest.raises(StoreFencedError if is_over else StoreUnreachableError, match=said),
    ):
        store.commit([Accept(1, 1, "k", b"{}", 1.0)])
    lease.close()


def test_a_server_that_refuses_at_the_start_is_told(nodes):
    """It says that the cluster cannot be joined; there is no lease yet that could be kept."""
    trouble = nodes.add("a", nodes.url.replace("@/", "@/nowhere")).step().trouble
    assert str(trouble).startswith("the cluster cannot be joined: ")
    assert 'database "nowhere' in str(trouble)


async def test_a_node_that_renews_its_lease_is_not_evicted_by_command(nodes):
    """Not even if it was silent at the last look; one that is still silent is, also within a transaction."""

    class Thread:
        async def call(self, work):
            await trio.lowlevel.checkpoint()
            return work(nodes.leases["a"])

    _started(nodes, "a", "b")
    commands = Commands(nodes.leases["a"], cast("Any", Thread()))
    life = nodes.leases["b"].life
    nodes.run(TERMS.beat, "b")
    assert not await commands.evict("b")
    assert "b" in nodes.owners().values()
    nodes.run(TERMS.scan, "a")
    options = "-c search_path=trioworkers"
    with psycopg.connect(nodes.url, application_name=f"trioworkers {life}", options=options) as held:
        held.execute("INSERT INTO mark VALUES (%s, 1)", (life,))
        assert await commands.evict("b")
        with pytest.raises(psycopg.Error):
            held.execute("SELECT 1")
    assert not await commands.evict("b")
    assert "b" not in nodes.owners().values()


def test_a_late_release_frees_nothing_of_a_later_epoch(nodes):
    """Only the epoch is released that was drained."""
    _started(nodes, "a")
    nodes.admin.execute("UPDATE bot SET epoch = epoch + 1 WHERE bot_id = 1")
    nodes.leases["a"].release([1, 2])
    nodes.leases["a"].step()
    owners = nodes.owners()
    assert (owners[1], owners[2]) == ("a", None)


def test_the_end_of_a_former_life_is_not_the_end_of_the_next(nodes):
    """A commit of the former one may be refused late."""
    _started(nodes, "a")
    lease, former = nodes.leases["a"], nodes.leases["a"].life
    lease.end(former)
    assert lease.step().is_over
    lease.begin()
    lease.step()
    lease.end(former)
    nodes.now += TERMS.beat
    assert not lease.step().is_over
    assert lease.may_work()


def test_another_life_hears_what_it_is_told(nodes, server):
    """Also where somebody used the connection between the end of the former life and its beginning."""
    _started(nodes, "a", "b")
    lease = nodes.leases["b"]
    nodes.admin.execute("DELETE FROM node WHERE id = %s", (lease.life,))
    lease.end(lease.life)  # as its writer has found
    assert lease.step().is_over
    lease.run("SELECT 1")  # as a request of this node does, or a look for those of others
    lease.begin()
    lease.step()
    nodes.admin.execute("SELECT pg_notify(%s, 'words')", (told_to(lease.life),))
    nodes.now += TERMS.beat
    assert (told_to(lease.life), "words") in lease.step().told
    names = "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE %s"
    assert nodes.admin.execute(names, (f"trioworkers {lease.life}%",)).fetchall() != []


def test_after_a_failover_that_lost_commits_nothing_is_passed_over():
    """No id is given twice, and a node makes the rows anew by which ids of a bot become visible in order."""
    needs_postgres()
    primary = Server()
    primary.start()
    standby = primary.copy()
    url = f"postgresql://tests@/{primary.database()}?host={primary.folder},{standby.folder}"
    nodes = Nodes(f"{url}&port={primary.port},{standby.port}&target_session_attrs=read-write")
    _started(nodes, "a", "b")
    stores = {name: _store(nodes.leases[name], nodes.url) for name in "ab"}
    _kept(stores["a"], 1, 1)
    standby.cut_off()
    lost = [_kept(stores["a"], 3, number).id for number in range(99)][-1]
    primary.kill()
    standby.promote()
    nodes.server_is_back()
    nodes.run(3 * TERMS.scan)
    for lease in nodes.leases.values():
        lease.begin()
    nodes.run(TERMS.scan)
    assert _kept(stores["b"], 2, 500).id > lost
    assert _kept(stores["a"], 2, 501).behind  # of what b has accepted
    _kept(stores["a"], 3, 502)
    assert nodes.admin.execute("SELECT bot_id FROM head ORDER BY 1").fetchall() == [(1,), (2,), (3,)]
    for store in stores.values():
        store.close()
    nodes.close()
    standby.close()
    primary.close()


@pytest.mark.parametrize("is_synchronous", [False, True])
def test_after_a_failover_nobody_claims_for_a_lease(is_synchronous):
    """Nodes begin new lives, and the old ones can write nothing: claims of theirs may have been lost."""
    needs_postgres()
    primary = Server()
    primary.start()
    standby = primary.copy()
    database = primary.database()
    if is_synchronous:
        with psycopg.connect(primary.admin(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
    url = f"postgresql://tests@/{database}?host={primary.folder},{standby.folder}"
    nodes = Nodes(f"{url}&port={primary.port},{standby.port}&target_session_attrs=read-write")
    _started(nodes, "a", "b")
    store = _store(nodes.leases["a"], nodes.url)
    primary.kill()
    standby.promote()
    nodes.server_is_back()
    lives = {lease.life for lease in nodes.leases.values()}
    with pytest.raises(StoreFencedError):
        store.commit([Accept(1, 1, "k", b"{}", 1.0)])
    nodes.run(2 * TERMS.scan)  # they notice that the connection is gone, and then that the server is another
    assert all(nodes.changes[name][-1].is_over for name in "ab")
    epochs = nodes.epochs()
    for lease in nodes.leases.values():
        lease.begin()
    nodes.run(TERMS.ttl - 1.0)
    assert nodes.epochs() == epochs
    assert not any(lease.owned for lease in nodes.leases.values())
    nodes.run(6.0)
    assert nodes.owners() == {bot: prefer(bot, "ab") for bot in BOTS}
    assert lives.isdisjoint(lease.life for lease in nodes.leases.values())
    store.commit([Accept(1, 1, "k", b"{}", 1.0)])
    store.close()
    nodes.close()
    standby.close()
    primary.close()
