"""A whole fleet on a PostgreSQL server: through kills, restarts and outages of the server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from fleet_project import PATIENCE
from postgres_server import Server, own_server

from trioworkers.testing.fleet import FleetFailed, RunningFleet, running
from trioworkers.testing.folder import FleetFolder
from trioworkers.testing.threaded import TelegramThread

if TYPE_CHECKING:
    from collections.abc import Iterator


PASSWORD = "sesame-open-wide"
AWAITED = "the fleet starts when it can be used"
STORE = {"store": {"url": {"env": "DATABASE_URL"}}}


server = pytest.fixture(own_server)


@pytest.fixture
def environ(server: Server) -> dict[str, str]:
    """Where the fleet's database is, with a password, for the environment."""
    url = f"postgresql://tests:{PASSWORD}@127.0.0.1:{server.port}/{server.database()}"
    return {"DATABASE_URL": url}


def rows(environ: dict[str, str], query: str) -> list[Any]:
    with psycopg.connect(environ["DATABASE_URL"], target_session_attrs="read-write") as connection:
        connection.execute("SET search_path = trioworkers")
        return connection.execute(query).fetchall()


def counted(environ: dict[str, str], columns: str) -> tuple[int, ...]:
    """These tallies, over all bots."""
    parts = f"(SELECT {columns} FROM tally UNION ALL SELECT {columns} FROM delta) AS parts"
    sums = ", ".join(f"sum({column})::int" for column in columns.split(", "))
    return tuple(rows(environ, f"SELECT {sums} FROM {parts}")[0])


def heard(fleet: RunningFleet, texts: list[str]) -> None:
    """Each text is answered, in order, and nothing else is."""
    person = fleet.user()
    for text in texts:
        person.says(text)
    assert [person.hears(timeout=PATIENCE)["text"] for _ in texts] == texts


@contextmanager
def coming_back(server: Server, log: Path) -> Iterator[None]:
    """Meanwhile the server starts, as soon as this log says that it is waited for."""

    def start() -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until and (not log.exists() or AWAITED not in log.read_text()):
            time.sleep(0.1)
        server.start()

    starting = threading.Thread(target=start)
    starting.start()
    yield
    starting.join()


def test_a_fleet_runs_on_a_server(tmp_path: Path, environ: dict[str, str]) -> None:
    """Updates are handled, and what is not yet survives kill -9; there is no file of SQLite."""
    with running(tmp_path, STORE, environ=environ) as fleet:
        heard(fleet, ["one", "two"])
        fleet.settled()
        person = fleet.user()
        fleet.kill()
        person.says("three")
        fleet.start()
        assert person.hears()["text"] == "three"
        fleet.settled()
        backup = fleet.command("backup")
        assert backup.returncode == 1
        assert "pg_dump" in backup.stderr
        assert rows(environ, "SELECT count(*) FROM inbox") == [(0,)]
    assert counted(environ, "accepted, done") == (3, 3)
    assert list(tmp_path.rglob("inbox.db*")) == []


def test_the_password_is_shown_nowhere(tmp_path: Path, environ: dict[str, str], server: Server) -> None:
    """Not in logs, events, status, arguments or a worker's environment, also when the server goes away."""
    with running(tmp_path, STORE, environ=environ) as fleet:
        heard(fleet, ["one"])
        server.stop()
        fleet.wait_for(lambda: fleet.events("inbox.trouble"), 20)
        server.start()
        fleet.wait_for(lambda: fleet.events("inbox.recovered"), 20)
        pids = [fleet.process.pid, *(worker["pid"] for worker in fleet.status()["workers"])]
        shown = [fleet.ask("GET", "/api/workers/status").text, fleet.command("check").stdout]
        shown += [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
        shown += [Path(f"/proc/{pid}/environ").read_text() for pid in pids[1:]]
        (reason,) = {event["reason"] for event in fleet.events("inbox.trouble")[:1]}
        assert "127.0.0.1" in reason or "terminat" in reason
    shown += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in shown if PASSWORD in text]


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_server_that_goes_away_loses_nothing(
    tmp_path: Path, environ: dict[str, str], server: Server, end: str
) -> None:
    """Killed or stopped under load and started again, twice: each message is answered once, in order."""
    with running(tmp_path, STORE, environ=environ) as fleet:
        person = fleet.user()
        texts = [f"{number}" for number in range(60)]

        def talk() -> None:
            for text in texts:
                person.says(text)
                time.sleep(0.05)

        talking = threading.Thread(target=talk)
        talking.start()
        for _ in range(2):
            time.sleep(0.8)
            getattr(server, end)()
            time.sleep(0.7)
            server.start()
        talking.join()
        assert [person.hears(timeout=PATIENCE)["text"] for _ in texts] == texts
        fleet.settled()
        assert fleet.events("inbox.trouble")
        assert fleet.events("inbox.recovered")
    assert counted(environ, "accepted, done") == (60, 60)


def test_a_synchronous_standby_that_takes_over_has_everything(tmp_path: Path, server: Server) -> None:
    """The server is killed under load, and its standby promoted: each message is answered once, in order."""
    database = server.database()
    with closing(server.copy()) as standby:
        server.require_standby()
        hosts = f"127.0.0.1:{server.port},127.0.0.1:{standby.port}"
        environ = {"DATABASE_URL": f"postgresql://tests@{hosts}/{database}"}
        with running(tmp_path, STORE, environ=environ) as fleet:
            person = fleet.user()
            texts = [f"{number}" for number in range(60)]
            for text in texts[:40]:
                person.says(text)
            assert person.hears()["text"] == texts[0]
            server.kill()
            for text in texts[40:]:
                person.says(text)
            standby.promote()
            assert [person.hears(timeout=PATIENCE)["text"] for _ in texts[1:]] == texts[1:]
            fleet.settled()
            assert not [one for one in fleet.events("inbox.trouble") if "has lost" in one["reason"]]
        assert counted(environ, "accepted, done") == (60, 60)


def test_a_server_that_is_down_at_the_start_is_waited_for(
    tmp_path: Path, environ: dict[str, str], server: Server
) -> None:
    """It is reported in words; the fleet runs as soon as it is there."""
    server.stop()
    with (
        coming_back(server, tmp_path / "daemon.log"),
        running(tmp_path, STORE, environ=environ) as fleet,
    ):
        (trouble, *_) = {event["reason"] for event in fleet.events("inbox.trouble")}
        assert "the database cannot be used" in trouble
        heard(fleet, ["hello"])


def test_start_says_that_it_waits_for_the_server(
    tmp_path: Path, environ: dict[str, str], server: Server
) -> None:
    """At once, on the terminal and with what ends the waiting; it returns when the fleet runs."""
    with running(tmp_path, STORE, environ=environ) as fleet:
        fleet.stop()
        server.stop()
        with coming_back(server, tmp_path / "state" / "logs" / "master.log"):
            started = fleet.command("start")
        assert fleet.command("stop").returncode == 0
        assert started.returncode == 0, started.stderr
        assert "the database cannot be used" in started.stderr
        assert "`trioworkers stop` ends the waiting" in started.stderr
        assert "the database is there" in started.stderr


def test_a_stop_ends_the_waiting_for_a_server(
    tmp_path: Path, environ: dict[str, str], server: Server
) -> None:
    """Within seconds, with what it waited for."""
    server.stop()
    with TelegramThread() as telegram:
        fleet = RunningFleet(FleetFolder(tmp_path / "f", tmp_path / "run"), telegram)
        fleet.folder.folder.mkdir()
        fleet.folder.environ.update(environ)
        fleet.write(STORE)
        process, log = fleet.folder.start(), fleet.folder.log
        try:
            fleet.wait_for(lambda: AWAITED in log.read_text(), 20)
            process.terminate()
            assert process.wait(10) == 1
        finally:
            process.kill()
    assert "the database cannot be used" in log.read_text().splitlines()[-1]
    server.start()


def test_a_daemon_stops_while_its_server_is_down(
    tmp_path: Path, environ: dict[str, str], server: Server
) -> None:
    """Gracefully and soon, though nothing can be written; what was said meanwhile is answered later."""
    with running(tmp_path, STORE, environ=environ) as fleet:
        person = fleet.user()
        person.says("one")
        assert person.hears()["text"] == "one"
        fleet.settled()
        server.stop()
        person.says("two")
        fleet.wait_for(lambda: fleet.events("inbox.trouble"), 20)
        refused = fleet.command("bots", "pause", "echo")
        assert refused.returncode == 75
        assert "nothing was changed" in refused.stderr
        began = time.monotonic()
        fleet.stop()
        assert time.monotonic() - began < 10
        server.start()
        fleet.start()
        assert person.hears()["text"] == "two"


def test_a_second_daemon_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    """It says who has the database, and exits with 75; once the first has ended, it may have it."""
    with TelegramThread() as telegram:
        with running(tmp_path / "a", STORE, telegram=telegram, environ=environ) as fleet:
            heard(fleet, ["hello"])
            second = running(tmp_path / "b", STORE, telegram=telegram, environ=environ)
            with pytest.raises(FleetFailed, match=r"code 75(.|\n)*another daemon uses this database"), second:
                pass
        with running(tmp_path / "c", STORE, telegram=telegram, environ=environ) as fleet:
            heard(fleet, ["again"])


def test_the_fleets_state_is_the_same_on_another_machine(tmp_path: Path, environ: dict[str, str]) -> None:
    """A bot that was paused stays so where no file says it; the webhooks' secret is made once."""
    secret = "SELECT value FROM plugin_values WHERE plugin = '/fleet' AND key = 'webhook-secret'"
    with TelegramThread() as telegram:
        bots: dict[str, Any] = {"bots": {"one": {}, "two": {}}}
        with running(tmp_path / "a", STORE | bots, telegram=telegram, environ=environ) as fleet:
            tokens = {name: {"token": fleet.sim_bot(name).token} for name in ("one", "two")}
            assert fleet.command("bots", "pause", "two").returncode == 0
            first = rows(environ, secret)
        assert not [
            path for path in (tmp_path / "a").rglob("*") if path.name in ("paused.json", "webhook-secret")
        ]
        with running(tmp_path / "b", STORE | {"bots": tokens}, telegram=telegram, environ=environ) as fleet:
            assert {name: fleet.bot(name)["paused"] for name in tokens} == {"one": False, "two": True}
            assert fleet.command("bots", "resume", "two").returncode == 0
            assert rows(environ, secret) == first != []
        assert rows(environ, "SELECT FROM plugin_values WHERE key = 'paused/'") == []


def test_without_the_driver_it_says_what_to_install(tmp_path: Path) -> None:
    """Instead of a traceback: from check and from run."""
    (tmp_path / "fleet.toml").write_text(
        '[store]\nurl = "postgresql://h/d"\n[bots.echo]\ntoken = "1:a"\n'
        'handler = "trioworkers.testing.echo:handle"\n'
    )
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['psycopg'] = None\n")
    environ = os.environ | {"PYTHONPATH": str(tmp_path)}
    for verb in ("check", "run"):
        command = [sys.executable, "-m", "trioworkers.cli", "-c", str(tmp_path / "fleet.toml"), verb]
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 78
        assert 'pip install "trioworkers[postgres]"' in ended.stderr
