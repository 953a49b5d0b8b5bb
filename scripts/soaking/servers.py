"""The database of a cluster's soak: a PostgreSQL server, and a synchronous standby that may take over."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "postgres"))

from postgres_server import Server, program

from soaking.dump import slow_dump

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SETTINGS: dict[str, Any] = {
    "listen_addresses": "*",
    "autovacuum": "on",
    "autovacuum_naptime": "5s",
    "max_connections": "100",
    "max_wal_size": "512MB",
    "shared_buffers": "128MB",
}
PATIENCE = 20.0  # seconds


def is_installed() -> bool:
    """Whether there is a server to start."""
    return program("initdb") is not None


class Servers:
    """Both servers. Its methods block.

    Args:
        environ: variables of the servers, beside this process's.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._primary = Server(**SETTINGS, environ=environ)
        with (self._primary.data / "pg_hba.conf").open("a") as rules:  # nodes in networks of their own
            rules.write("host all all 10.79.0.0/16 trust\n")
        self._primary.start()
        self._database = self._primary.database()
        self._standby: Server | None = Server(copied=self._primary, **SETTINGS, environ=environ)
        self._standby.start()
        self._primary.require_standby()
        self._ports = self._primary.port, self._standby.port
        self._closed: list[Server] = []

    def url(self, host: str = "127.0.0.1") -> str:
        """The address of the database, on whichever server takes writes, for clients that find both there."""
        return f"postgresql://tests@{','.join(f'{host}:{port}' for port in self._ports)}/{self._database}"

    def restart(self, down: float) -> None:
        """Stop the server, and start it again after `down` seconds."""
        self._primary.stop()
        time.sleep(down)
        self._primary.start()

    def fail_over(self, down: float) -> None:
        """Kill the server; after `down` seconds its standby takes over, for good."""
        if self._standby is None:
            raise ValueError("there is no standby any more")
        self._primary.kill()
        self._closed.append(self._primary)
        time.sleep(down)
        self._standby.promote()
        self._primary, self._standby = self._standby, None

    def dump(self, seconds: float) -> int:
        """Dump the database, so slowly that it takes so many seconds; return the exit code of pg_dump."""
        return slow_dump(program("pg_dump") or "pg_dump", self.url(), seconds)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """What a query gives, once a server answers it.

        Raises:
            psycopg.Error: none does for too long.
        """
        until = time.monotonic() + PATIENCE
        while True:
            try:
                with psycopg.connect(self.url(), target_session_attrs="read-write") as connection:
                    connection.execute("SET search_path = trioworkers")
                    return connection.execute(query, values).fetchall()
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def close(self) -> None:
        """Kill both, and remove their folders."""
        for server in (self._primary, self._standby, *self._closed):
            if server is not None:
                server.close()
