"""What a PostgreSQL server refuses a fleet that runs: told in words, nothing lost, gone on from by itself."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
from fleet_project import PATIENCE
from postgres_server import OF_SMALL_DISK, Server, fill, needs_postgres, small_disk

from trioworkers.testing.fleet import running

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.testing.fleet import RunningFleet

END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bots'"


def told(fleet: RunningFleet, event: str, reason: str) -> None:
    fleet.wait_for(lambda: [one for one in fleet.events(event) if re.search(reason, one["reason"])], 20)


def test_what_a_server_refuses_is_told_and_gone_on_from(tmp_path: Path) -> None:
    """A full disk, no connection left, no right to write, no writes at all: each said, each waited out."""
    needs_postgres()
    with small_disk() as disk, closing(Server(disk, **OF_SMALL_DISK)) as server:
        server.start()
        database = server.database()
        with (
            psycopg.connect(server.admin(), autocommit=True) as admin,
            psycopg.connect(server.admin(database), autocommit=True) as owner,
        ):
            owner.execute("CREATE ROLE bots LOGIN; CREATE SCHEMA trioworkers AUTHORIZATION bots")
            url = f"postgresql://bots@127.0.0.1:{server.port}/{database}"
            with running(tmp_path, {"store": {"url": url}}) as fleet:
                person = fleet.user()
                said: list[str] = []

                def says(count: int = 3, size: int = 0) -> None:
                    for _ in range(count):
                        said.append(f"{len(said)}{'x' * size}")
                        person.says(said[-1])

                def goes_on() -> None:
                    assert [person.hears(timeout=PATIENCE)["text"] for _ in said] == said
                    said.clear()
                    fleet.settled()

                says()
                goes_on()
                ballast = fill(disk)
                says(400, size=4000)  # more than what the log has room for already
                told(fleet, "inbox.full", "No space left on device")
                ballast.unlink()
                goes_on()
                admin.execute("ALTER ROLE bots CONNECTION LIMIT 0")
                admin.execute(END)
                says()
                told(fleet, "inbox.trouble", "too many connections for role")
                admin.execute("ALTER ROLE bots CONNECTION LIMIT -1")
                goes_on()
                owner.execute("ALTER TABLE trioworkers.seen OWNER TO tests")
                says()
                told(fleet, "inbox.trouble", "permission denied for table seen")
                owner.execute("ALTER TABLE trioworkers.seen OWNER TO bots")
                goes_on()
                admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
                admin.execute(END)
                says()
                told(fleet, "inbox.trouble", "session is read-only")
                admin.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
                goes_on()
                assert fleet.wait_for(lambda: len(fleet.events("inbox.recovered")) >= 4)
