"""What a PostgreSQL server, the way to it and other people may do to the store: nothing is lost."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import closing, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from postgres_server import OF_SMALL_DISK, Server, fill, needs_postgres, postgres_server, small_disk

from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.postgres import session as session_module
from trioworkers.inbox.postgres.alone import Alone
from trioworkers.inbox.postgres.schema import OLDEST, SCHEMA_VERSION, STEPS
from trioworkers.inbox.postgres.store import PostgresStore, postgres_store
from trioworkers.inbox.store import (
    DUPLICATE,
    Accept,
    Finish,
    Kept,
    StoreError,
    StoreFencedError,
    StoreForbiddenError,
    StoreFullError,
    StoreRefusedError,
    StoreRejectedError,
    StoreTakenError,
    StoreUnknownError,
    StoreUnreachableError,
)
from trioworkers.inbox.tally import Tally
from trioworkers.records import Once

if TYPE_CHECKING:
    from collections.abc import Iterator

BOT = 7_000_000_001
SYNC = b"S\0\0\0\4"  # of the protocol: the end of a pipeline


@pytest.fixture(autouse=True)
def _server_is_there(monkeypatch):
    needs_postgres()
    monkeypatch.setattr(session_module, "PAUSE", 0.0)


@pytest.fixture
def database():
    """The name of an empty database of the shared server."""
    return postgres_server().database()


@pytest.fixture
def store(database):
    with opened(postgres_server().admin(database)) as store:
        yield store


@contextmanager
def opened(url: str, **how: Any) -> Iterator[PostgresStore]:
    with closing(postgres_store(url, Alone(), **how)) as store:
        store.open()
        yield store


@contextmanager
def admin(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_server().admin(database), autocommit=True) as connection:
        connection.execute("SET search_path = trioworkers")
        yield connection


def new(number, body=b"{}", **more):
    return Accept(BOT, number, "k", body, 1.0, **more)


def update_ids(store):
    return [update.update_id for update in store.waiting(BOT, Fetch(0, 100_000)).updates]


class Relay:
    """Between a store and its server; cuts the connection at the end of a pipeline.

    `cut`: before or after the server got that end, or both at random; None: not at all.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.cut: str | None = None
        self.delay = 0.0
        self.half_open = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(("127.0.0.1", self._server.port))
            is_cut = threading.Event()
            for ends in ((client, upstream, True), (upstream, client, False)):
                threading.Thread(target=self._pass_on, args=(*ends, is_cut), daemon=True).start()

    def _pass_on(
        self, source: socket.socket, target: socket.socket, to_server: bool, is_cut: threading.Event
    ) -> None:
        end = b""
        try:
            while data := source.recv(65536):
                end = (end + data)[-2 * len(SYNC) :]  # a flush may follow
                if to_server and self.cut and SYNC in end:
                    cut, self.cut = self.cut, None
                    is_cut.set()
                    if cut == "after":
                        target.sendall(data)
                        time.sleep(self.delay)
                    source.shutdown(socket.SHUT_RDWR)
                    if self.half_open:  # the server does not hear of it
                        time.sleep(1)
                    break
                if to_server or not is_cut.is_set():
                    target.sendall(data)
        except OSError:
            pass
        source.close()
        target.close()


@pytest.fixture
def relay():
    relay = Relay(postgres_server())
    yield relay
    relay.close()


def through(relay, database):
    return f"postgresql://tests@127.0.0.1:{relay.port}/{database}?sslmode=disable&gssencmode=disable"


def test_a_commit_whose_answer_is_lost_is_known_in_the_end(relay, database):
    """Cut before or after the server has it: it is made again, or said to be unknown; never twice."""
    rng = random.Random(3)
    accepted, unknown = set(), 0
    with opened(through(relay, database)) as store:
        for number in count(0, 10):
            if number == 600:
                break
            updates = [new(number + place, b"x" * 20_000) for place in range(5)]
            relay.delay = rng.choice([0, 0, 0.0005, 0.002])
            relay.cut = rng.choice(["before", "after"])
            try:
                results = store.commit(updates)
            except StoreUnknownError:
                unknown += 1
                results = store.commit(updates)
                assert set(results) == {DUPLICATE}
            else:
                assert [type(one) for one in results] == [Kept] * 5
            accepted |= {one.update_id for one in updates}
            assert relay.cut is None
        assert sorted(update_ids(store)) == sorted(accepted)
        tally = store.tallies()[BOT]
        assert (tally.accepted, tally.duplicates) == (300, 5 * unknown)
    assert 5 < unknown < 60


def test_a_former_connection_that_still_holds_its_commit_is_ended(relay, database):
    """The server has not heard that it is cut, and waits in the midst of the commit: its process is ended."""
    with opened(through(relay, database)) as store, admin(database) as other:
        store.commit([new(1)])
        other.execute("CREATE SEQUENCE tries")
        other.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN IF nextval(''tries'') = 1 THEN PERFORM pg_sleep(20); END IF; RETURN NEW; END'"
        )
        other.execute(
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON inbox DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION slow()"
        )
        relay.cut, relay.half_open, relay.delay = "after", True, 0.5
        began = time.monotonic()
        results = store.commit([new(2)])
        assert [type(one) for one in results] == [Kept]
        assert time.monotonic() - began < 15
        assert update_ids(store) == [1, 2]


def test_a_connection_that_was_ended_while_idle_is_no_trouble(store, database):
    """Reads and commits open another, and the caller hears nothing of it."""
    store.commit([new(1)])
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'trioworkers%%'"
    with admin(database) as other:
        other.execute(f"{end} AND datname = %s", (database,))
        assert update_ids(store) == [1]
        other.execute(f"{end} AND datname = %s", (database,))
        assert [type(one) for one in store.commit([new(2), Finish(1, BOT, "done")])] == [Kept, type(None)]
        other.execute(f"{end} AND datname = %s", (database,))
        store.tend(prove=True)
        assert store.tallies()[BOT] == Tally(accepted=2, done=1, pending=1)


def test_a_connection_that_is_cut_between_statements_changes_nothing(store, database, monkeypatch):
    """At each statement of a commit in turn: it is made once, with a new connection."""
    execute, life = psycopg.Cursor.execute, store._session.lease.life
    number, late = 100, 0
    for step in range(1, 40):
        steps = count(1)

        def cut(self, *args, steps=steps, step=step, **kwargs):
            if self.connection.info.dbname == database and next(steps) == step:
                with admin("postgres") as other:
                    other.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
                        (f"trioworkers {life}",),
                    )
            return execute(self, *args, **kwargs)

        store.commit([new(number), new(number + 1)])
        ids = [update.id for update in store.waiting(BOT, Fetch(0, 9)).updates]
        monkeypatch.setattr(psycopg.Cursor, "execute", cut)
        # a duplicate: it is done step by step, and waits for answers in between
        batch = [new(number), new(number + 2), *(Finish(one, BOT, "done") for one in ids)]
        try:
            results = store.commit(batch)
        except StoreUnknownError:  # the server was quicker with the COMMIT than with its end
            late += 1
            results = store.commit(batch)
            assert results[1] is DUPLICATE
        else:
            assert [type(one) for one in results] == [type(DUPLICATE), Kept, *[type(None)] * len(ids)]
        monkeypatch.setattr(psycopg.Cursor, "execute", execute)
        assert update_ids(store) == [number + 2]
        number += 10
        if next(steps) <= step:
            break
    assert step > 8
    assert late <= 2


def test_kill_9_of_the_server_under_load_loses_nothing(tmp_path):
    """Killed and restarted again and again: what was confirmed is there, and no id is given twice."""
    server = Server(fsync="on")
    with closing(server):
        server.start()
        url = server.admin(server.database())
        stop = threading.Event()

        def crash() -> None:
            while not stop.wait(0.4):
                server.kill()
                server.start()

        confirmed, given = [], set()
        with closing(postgres_store(url, Alone())) as store:
            store.open()
            crashing = threading.Thread(target=crash)
            crashing.start()
            number, failures, until = 0, 0, time.monotonic() + 6
            while time.monotonic() < until:
                number += 1
                for _ in range(200):
                    try:
                        (result,) = store.commit([new(number)])
                    except (StoreUnreachableError, StoreUnknownError):
                        failures += 1
                        time.sleep(0.02)
                    else:
                        break
                if isinstance(result, Kept):
                    assert result.id not in given
                    given.add(result.id)
                confirmed.append(number)
            stop.set()
            crashing.join()
            store._session.lose()
            assert update_ids(store) == confirmed
            assert store.tallies()[BOT].accepted == len(confirmed)
        assert failures > 3


def test_a_life_that_was_ended_writes_nothing_more(store, database):
    """Neither in a commit nor by upkeep; the error says who did it."""
    store.commit([new(1)])
    with admin(database) as other:
        other.execute("DELETE FROM node")
    with pytest.raises(StoreFencedError, match="another daemon has taken over"):
        store.commit([new(2)])
    with pytest.raises(StoreFencedError):
        store.tend(prove=True)
    assert update_ids(store) == [1]


def test_a_daemon_that_lost_its_connection_to_another_is_fenced(database, monkeypatch):
    """The other took over meanwhile; this one finds out with its next commit."""
    url = postgres_server().admin(database)
    with opened(url) as first:
        first.commit([new(1)])
        first._session.lose()
        with opened(url) as second:
            second.commit([new(2)])
            monkeypatch.setattr("trioworkers.inbox.postgres.alone.PATIENCE", 0.0)
            with pytest.raises(StoreFencedError):
                first.commit([new(3)])
            assert update_ids(second) == [1, 2]


def test_a_second_daemon_is_refused_while_the_first_lives(store, database, monkeypatch):
    """By name and time; an end gives the database free."""
    monkeypatch.setattr("trioworkers.inbox.postgres.alone.PATIENCE", 0.1)
    url = postgres_server().admin(database)
    with pytest.raises(StoreTakenError, match=f"that of {socket.gethostname()}, since 2"), opened(url):
        pass
    store.close()
    with opened(url) as second:
        assert update_ids(second) == []


def test_a_server_that_lost_commits_is_found_out(store, database):
    """As after a failover to a standby that was behind: it is said how many, and no id is given again."""
    for number in range(1, 4):
        ((last,),) = [store.commit([new(number)])]
    with admin(database) as other:
        other.execute("DELETE FROM mark WHERE batch > 1")
        other.execute("DELETE FROM inbox WHERE update_id > 1; DELETE FROM seen WHERE update_id > 1")
        other.execute("SELECT setval('inbox_id', 1)")
    store._session.lose()
    with pytest.raises(StoreUnknownError, match="has lost 2 commits"):
        store.commit([new(4)])
    ((kept,),) = [store.commit([new(3)])]
    assert kept.id > last.id


def test_a_wait_for_a_standby_that_was_cancelled_is_no_success():
    """The server says that it is one. An update is confirmed only after a later commit was waited for."""
    with closing(Server()) as server:
        server.start()
        with (
            opened(server.admin(server.database())) as store,
            psycopg.connect(server.admin(), autocommit=True) as other,
        ):
            store.commit([new(1)])
            other.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            other.execute("SELECT pg_reload_conf()")
            cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            stop = threading.Event()

            def cancel_waits() -> None:
                while not stop.wait(0.1):
                    other.execute(cancel)

            cancelling = threading.Thread(target=cancel_waits)
            cancelling.start()

            def commit() -> None:
                while True:  # the server reads its settings some time
                    store.commit([new(2)])

            with pytest.raises(StoreUnknownError, match="gave up waiting for a synchronous standby"):
                commit()
            stop.set()
            cancelling.join()
            other.execute("ALTER SYSTEM RESET synchronous_standby_names")
            other.execute("SELECT pg_reload_conf()")
            assert store.commit([new(2)]) == [DUPLICATE]
            assert update_ids(store) == [1, 2]


# -- what the server refuses ----------------------------------------------------------------------


@pytest.fixture
def role(database):
    """A role that may nothing yet, and the address for it."""
    name = f"role_{database}"
    with admin("postgres") as other:
        other.execute(f"CREATE ROLE {name} LOGIN")
    return name, postgres_server().admin(database).replace("tests@", f"{name}@")


def test_the_least_that_a_role_needs_is_a_schema(role, database):
    """Without it the error says what to run; with it the role makes its tables, and owns nothing else."""
    name, url = role
    with (
        pytest.raises(StoreForbiddenError, match=f"CREATE SCHEMA trioworkers AUTHORIZATION {name}"),
        opened(url),
    ):
        pass
    with admin(database) as other:
        other.execute(f"CREATE SCHEMA trioworkers AUTHORIZATION {name}")
    with opened(url) as store:
        assert store.commit([new(1)]) == [Kept(1)]


def test_a_role_that_may_not_write_any_more(role, database):
    """It is said in words; with the right back, it goes on."""
    name, url = role
    with admin(database) as other:
        other.execute(f"CREATE SCHEMA trioworkers AUTHORIZATION {name}")
        with opened(url) as store:
            store.commit([new(1)])
            other.execute(f"ALTER TABLE seen OWNER TO tests; REVOKE ALL ON seen FROM {name}")
            with pytest.raises(
                StoreForbiddenError, match=r"permission denied for table seen .*expected a role that owns"
            ):
                store.commit([new(2)])
            other.execute(f"GRANT ALL ON seen TO {name}")
            assert [type(one) for one in store.commit([new(2)])] == [Kept]


def test_a_server_without_a_connection_left(role, database):
    """Its limit is told, and it goes on once there is one."""
    name, url = role
    with admin(database) as other:
        other.execute(f"CREATE SCHEMA trioworkers AUTHORIZATION {name}; ALTER ROLE {name} CONNECTION LIMIT 1")
        with (
            psycopg.connect(url),
            pytest.raises(StoreUnreachableError, match="too many connections"),
            opened(url),
        ):
            pass
        with opened(url) as store:
            assert store.commit([new(1)]) == [Kept(1)]


def test_a_server_that_takes_no_writes(store, database):
    """As a standby, or one that was set so: told, and gone on with when it does."""
    store.commit([new(1)])
    with admin("postgres") as other:
        other.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        store._session.lose()
        with pytest.raises(StoreUnreachableError, match="session is read-only"):
            store.commit([new(2)])
        other.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    assert [type(one) for one in store.commit([new(2)])] == [Kept]


def test_what_cannot_be_stored_is_rejected(store):
    """A number of 65 bits, and what a constraint of somebody's refuses; texts with NUL are stored without."""
    with pytest.raises(StoreRejectedError, match="a number in it cannot be stored"):
        store.commit([new(1), new(2**70)])
    odd = Accept(BOT, 1, "k\0y\ud800", b"\0", 1.0, "ki\0nd", once=(Once("o\0nce", 9.0),))
    assert [type(one) for one in store.commit([odd])] == [Kept]
    assert [(one.key, one.body, one.kind) for one in store.waiting(BOT, Fetch(0, 9)).updates] == [
        ("k\ufffdy?", b"\0", "ki\ufffdnd")
    ]
    assert len(store.waiting(BOT, Fetch(0, 9, key="k\0y\ud800")).updates) == 1


def test_errors_show_nothing_of_what_is_stored(store, database):
    """A constraint's error quotes the row in PostgreSQL's own words; ours do not."""
    with admin(database) as other:
        other.execute("ALTER TABLE inbox ADD CONSTRAINT no CHECK (kind <> 'secret-kind')")
    with pytest.raises(StoreRejectedError) as raised:
        store.commit([new(1, b"secret-body", kind="secret-kind")])
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:se%zzcret@h/d", "postgresql://u:secret@h/d?nope=secret", "postgresql://u:secret@h:x/d"],
)
def test_an_address_that_is_wrong_is_not_quoted(url):
    """The password may be in any part of it."""
    with pytest.raises(StoreError) as raised, opened(url):
        pass
    assert "secret" not in str(raised.value)
    assert "se%zz" not in str(raised.value)


def test_the_schema_of_a_newer_version_is_refused(database):
    """With both numbers; an earlier one is migrated, by one of those who start at once."""
    url = postgres_server().admin(database)
    with opened(url), admin(database) as other:
        other.execute("UPDATE version SET number = 99, oldest = 98")
    with (
        pytest.raises(
            StoreRefusedError,
            match=f"schema 99 of a newer trioworkers, .* knows {SCHEMA_VERSION}: install the newer one",
        ),
        opened(url),
    ):
        pass


def test_the_schema_of_a_newer_version_that_only_adds_to_it_can_be_used(database):
    """By a node that is upgraded later than others; it leaves the schema as it is."""
    url = postgres_server().admin(database)
    with opened(url), admin(database) as other:
        other.execute("UPDATE version SET number = 99")
        other.execute("ALTER TABLE seen ADD later int")
    with opened(url) as store, admin(database) as other:
        assert store.commit([Accept(1, 1, "k", b"{}", 1.0)]) == [Kept(1)]
        assert other.execute("SELECT number, oldest FROM version").fetchone() == (99, OLDEST)


def test_a_schema_of_before_is_brought_up_to_date(database):
    """It names the oldest version that can use it from then on."""
    url = postgres_server().admin(database)
    with admin(database) as other:
        other.execute("CREATE SCHEMA trioworkers")
        other.execute("CREATE TABLE version (number int NOT NULL)")
        other.execute("INSERT INTO version VALUES (1)")
        other.execute(STEPS[0], prepare=False)
    with opened(url), admin(database) as other:
        assert other.execute("SELECT number, oldest FROM version").fetchone() == (SCHEMA_VERSION, OLDEST)


def test_many_that_start_at_once_make_the_tables_once(database):
    """They wait for each other; all find what the first has made."""
    url = postgres_server().admin(database)
    ended: list[object] = []

    def start() -> None:
        try:
            with opened(url):
                ended.append("opened")
        except StoreError as error:
            ended.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one for one in ended if one != "opened" and not isinstance(one, StoreTakenError)] == []
    assert "opened" in ended


def test_several_hosts_are_tried_until_one_takes_writes(database):
    """The first has no server, the second is a standby, so to speak."""
    server = postgres_server()
    read_only = server.database()
    with admin("postgres") as other:
        other.execute(f"ALTER DATABASE {read_only} SET default_transaction_read_only = on")
    url = f"postgresql://tests@127.0.0.1:1,127.0.0.1:{server.port}/{database}"
    with opened(url) as store:
        assert store.commit([new(1)]) == [Kept(1)]
    url = url.replace(database, read_only)
    with pytest.raises(StoreUnreachableError, match="session is read-only"), opened(url):
        pass


def test_durability_is_the_servers_or_less(database):
    """`normal` does not wait for the disk, `full` does, also where the server is set not to."""
    url = postgres_server().admin(database)

    def synchronous(**how: Any) -> str:
        with opened(url, **how) as store:
            ((value,),) = store._rows("SHOW synchronous_commit", ())
        return str(value)

    assert (synchronous(), synchronous(durability="normal")) == ("on", "off")
    with admin("postgres") as other:
        other.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    assert synchronous() == "on"
    with admin("postgres") as other:
        other.execute(f"ALTER DATABASE {database} SET synchronous_commit = remote_apply")
    assert synchronous() == "remote_apply"


def test_tallies_survive_their_folding(store, database):
    """Before it, after it, and after the end of the life that counted."""
    store.commit([new(1), new(2)])
    store.commit([Finish(1, BOT, "done")])
    expected = {BOT: Tally(accepted=2, done=1, pending=1)}
    assert store.tallies() == expected
    store.tend()
    assert store.tallies() == store.tallies([BOT]) == expected
    store.commit([new(3)])
    store.close()
    with opened(postgres_server().admin(database)) as again:
        again.tend()
        assert again.tallies() == {BOT: Tally(accepted=3, done=1, pending=2)}
        with admin(database) as other:
            assert other.execute("SELECT count(*) FROM delta").fetchall() == [(0,)]
            assert other.execute("SELECT count(*) FROM mark").fetchall() == [(0,)]


@pytest.fixture
def disk():
    with small_disk() as folder:
        yield folder


def test_a_servers_full_disk_refuses_what_comes_in(disk):
    """It is told as that; nothing of a refused commit is there, and it goes on once there is room."""
    with closing(Server(disk, **OF_SMALL_DISK)) as server:
        server.start()
        with opened(server.admin(server.database())) as store:
            store.commit([new(1)])
            ballast = fill(disk)
            kept = [1]

            def write() -> None:
                for number in count(2):
                    store.commit([new(number, b"x" * 50_000)])
                    kept.append(number)

            with pytest.raises(StoreFullError, match="No space left on device"):
                write()
            assert update_ids(store) == kept
            ballast.unlink()
            assert [type(one) for one in store.commit([new(10_000)])] == [Kept]
            assert update_ids(store) == [*kept, 10_000]
