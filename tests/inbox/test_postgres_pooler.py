"""PgBouncer between a store and its server: where it can work it does, where it cannot that is said."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from postgres_server import needs_postgres, postgres_server

from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.postgres.alone import Alone
from trioworkers.inbox.postgres.store import postgres_store
from trioworkers.inbox.store import DUPLICATE, Accept, Kept, StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path("/usr/sbin/pgbouncer")  # Debian's
BOT = 7_000_000_001


@contextmanager
def pooled(mode: str) -> Iterator[str]:
    """The address of an empty database behind a pooler in this mode."""
    needs_postgres()
    if not PROGRAM.exists():
        assert "CI" not in os.environ, "PgBouncer is missing"
        pytest.skip("needs PgBouncer")
    server = postgres_server()
    database = server.database()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="trioworkers-pgb-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "ini").write_text(
            f"[databases]\n{database} = host=127.0.0.1 port={server.port} user=tests\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = {mode}\n"
            "unix_socket_dir =\n"
        )
        with subprocess.Popen([PROGRAM, "-q", folder / "ini"], **server.as_user()) as process:
            url = f"postgresql://tests@127.0.0.1:{port}/{database}"
            try:
                _wait(url)
                yield url
            finally:
                process.kill()


def _wait(url: str) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(url, prepare_threshold=None).close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def new(number: int) -> Accept:
    return Accept(BOT, number, "k", b"{}", 1.0)


def test_a_pooler_that_leaves_a_connection_to_its_client_works() -> None:
    """Also after the connection was lost, when the pooler gives out the same process of the server again."""
    with pooled("session") as url, closing(postgres_store(url, Alone())) as store:
        store.open()
        assert store.commit([new(1)]) == [Kept(1)]
        assert store.commit([new(1), new(2)]) == [DUPLICATE, Kept(2)]
        for number in (3, 4):
            store._session.lose()
            assert store.commit([new(number)]) == [Kept(number)]
        assert [one.update_id for one in store.waiting(BOT, Fetch(0, 9)).updates] == [1, 2, 3, 4]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_gives_connections_away_is_refused(mode: str) -> None:
    """Before anything is made in the database; the error names the setting."""
    with pooled(mode) as url, closing(postgres_store(url, Alone())) as store:
        with pytest.raises(StoreRefusedError, match="expected pool_mode = session"):
            store.open()
        with psycopg.connect(url, prepare_threshold=None, autocommit=True) as connection:
            query = "SELECT FROM pg_namespace WHERE nspname = 'trioworkers'"
            assert connection.execute(query).fetchall() == []
