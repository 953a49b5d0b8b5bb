"""What a PostgreSQL server refuses all nodes of a cluster: each says so, nothing is lost or moves."""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from cluster_scene import Cluster, cluster_of
from postgres_server import OF_SMALL_DISK, Server, fill, needs_postgres, small_disk

from trioworkers.cluster.member import LATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Admin = psycopg.Connection[tuple[object, ...]]

END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bots'"
AWAITED = "the fleet starts when it can be used"


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk() as folder:
        yield folder


@pytest.fixture
def server(disk: Path) -> Iterator[Server]:
    """On a small disk of its own."""
    needs_postgres()
    with closing(Server(disk, **OF_SMALL_DISK)) as server:
        server.start()
        yield server


@pytest.fixture
def cluster(tmp_path: Path, server: Server, owner: Admin) -> Iterator[Cluster]:
    """Four bots; no daemon yet. Its nodes connect as the role `bots`."""
    with cluster_of(tmp_path, server, 4) as cluster:
        cluster.url = f"postgresql://bots@127.0.0.1:{server.port}/{owner.info.dbname}"
        cluster.lease = 6  # on a busy machine nobody is late without a reason
        yield cluster


@pytest.fixture
def owner(server: Server) -> Iterator[Admin]:
    """Connected to the database as its owner."""
    with psycopg.connect(server.admin(server.database()), autocommit=True) as connection:
        connection.execute("CREATE ROLE bots LOGIN; CREATE SCHEMA trioworkers AUTHORIZATION bots")
        yield connection


def told(cluster: Cluster, event: str, reason: str, times: int) -> None:
    """Wait until an event was told so many times, for a reason that has these words."""
    until = time.monotonic() + 40
    while sum(reason in one["reason"] for one in cluster.events(event)) < times:
        heard = [(one["at"], one.get("bot"), one["reason"]) for one in cluster.events(event)]
        assert time.monotonic() < until, f"not told {times} times: {reason}\n" + "\n".join(map(str, heard))
        time.sleep(0.1)


class Runs:
    """The bots run where they ran at first, in the same epochs, and answer each message once, in order."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._owners, self._epochs = cluster.owners(), cluster.epochs()
        self._said: list[str] = []

    def say(self, count: int = 3, size: int = 0) -> None:
        for _ in range(count):
            self._said.append(f"{len(self._said)}{'x' * size}")
            for name in self._cluster.bots:
                self._cluster.say(name, self._said[-1])

    def go_on(self) -> None:
        for name in self._cluster.bots:
            wanted = [(self._owners[name], text) for text in self._said]
            assert self._cluster.hear(name, len(self._said), 40) == wanted
        self._said.clear()
        self._cluster.all_done()
        assert (self._cluster.owners(), self._cluster.epochs()) == (self._owners, self._epochs)


def test_what_a_server_refuses_a_cluster_moves_nothing(cluster: Cluster, disk: Path, owner: Admin) -> None:
    """A full disk, no connection left, no right to write, no writes at all: each is said and waited out.

    All but the first last longer than a lease. Then no node works, and none can evict another.
    """
    cluster.start("a", "b")
    cluster.settle("a", "b")
    bots = len(cluster.bots)
    database = owner.info.dbname
    run = Runs(cluster)
    run.say()
    run.go_on()

    ballast = fill(disk)
    run.say(100, size=4000)  # more than what the log has room for already
    told(cluster, "inbox.full", "No space left on device", 2)
    ballast.unlink()
    run.go_on()

    owner.execute("ALTER ROLE bots CONNECTION LIMIT 0")
    owner.execute(END)
    run.say()
    told(cluster, "inbox.trouble", "too many connections for role", 2)
    told(cluster, "lease.lost", "too many connections for role", bots)
    run.say()  # no bot runs now
    owner.execute("ALTER ROLE bots CONNECTION LIMIT -1")
    run.go_on()

    owner.execute("ALTER TABLE trioworkers.node OWNER TO tests")
    run.say()
    told(cluster, "lease.lost", "permission denied for table node", bots)
    run.say()  # no bot runs now
    owner.execute("ALTER TABLE trioworkers.node OWNER TO bots")
    run.go_on()

    owner.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    owner.execute(END)
    run.say()
    told(cluster, "inbox.trouble", "session is read-only", 2)
    told(cluster, "lease.lost", LATE, 3 * bots)
    run.say()  # no bot runs now
    owner.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    run.go_on()
    assert cluster.events("node.evicted") == []
    assert {event["reason"].split(":")[0] for event in cluster.events("lease.lost")} == {LATE}


def test_nodes_wait_for_a_server_that_is_down_at_their_start(cluster: Cluster, server: Server) -> None:
    """Each says so in words, and they divide the bots as soon as it is there."""
    server.stop()
    with coming_back(cluster, "a", "b"):
        cluster.start("a", "b")
    for node in "ab":
        (trouble, *_) = cluster.events("inbox.trouble", node=node)
        assert "Connection refused" in trouble["reason"]
    cluster.settle("a", "b")
    run = Runs(cluster)
    run.say()
    run.go_on()


@contextmanager
def coming_back(cluster: Cluster, *nodes: str) -> Iterator[None]:
    """Meanwhile the server starts, as soon as the logs of all these say that it is waited for."""
    logs = [cluster.folder / node / "daemon.log" for node in nodes]

    def start() -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until and not all(
            log.exists() and AWAITED in log.read_text() for log in logs
        ):
            time.sleep(0.1)
        cluster.server.start()

    starting = threading.Thread(target=start)
    starting.start()
    yield
    starting.join()
