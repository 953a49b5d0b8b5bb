"""`trioworkers migrate-store`: what is copied, what is refused, and in which words."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from postgres_server import needs_postgres, postgres_server

from trioworkers.cli import main
from trioworkers.folders import DAEMON_LOCK, locked
from trioworkers.inbox.postgres.alone import Alone
from trioworkers.inbox.postgres.store import postgres_store
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import Accept
from trioworkers.inbox.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

BOT = 7_000_000_001


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fleet with an inbox of two updates, and with the files of its state."""
    for name in ("TRIOWORKERS_CONFIG", "RUNTIME_DIRECTORY", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    state = tmp_path / "state"
    state.mkdir(0o700)
    with closing(open_sqlite(state / "inbox.db")) as store:
        store.commit([Accept(BOT, number, "a", b"{}", 1.0) for number in (1, 2)])
    (state / "paused.json").write_text(f"[{BOT}]")
    (state / "webhooks.json").write_text('{"7": "digest"}')
    (state / "webhook-secret").write_text("s" * 43)
    for path in state.iterdir():
        path.chmod(0o600)
    return tmp_path


def migrate(folder: Path, to: str, store: str = '"sqlite"', state: str = "state") -> Result:
    path = folder / "fleet.toml"
    path.write_text(f'[fleet]\nstate_dir = "{state}"\n[store]\nurl = {store}\n')
    return CliRunner().invoke(main, ["-c", str(path), "migrate-store", to])


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty database, also in the variable DATABASE_URL."""
    needs_postgres()
    url = postgres_server().admin(postgres_server().database())
    monkeypatch.setenv("DATABASE_URL", url)
    return url


def test_everything_goes_there_and_back(folder: Path, url: str) -> None:
    """Updates and the state beside them; the command may be repeated."""
    for _ in range(2):
        result = migrate(folder, "env:DATABASE_URL")
        assert result.exit_code == 0, result.output
        assert "inbox: 2 rows" in result.output
        assert "set store.url" in result.output
    with closing(postgres_store(url, Alone())) as store:
        store.open()
        assert store.tallies() == {BOT: Tally(accepted=2, pending=2)}
        values = dict(store.values("/fleet", "", "", 9, 1.0))
        assert values == {f"paused/{BOT}": b"", "webhook/7": b"digest", "webhook-secret": b"s" * 43}
    (folder / "address").write_text(f"{url}\n")
    result = migrate(folder, "sqlite", '{ file = "address" }', "other")
    assert result.exit_code == 0, result.output
    for name in ("paused.json", "webhooks.json"):
        before, after = (json.loads((folder / state / name).read_bytes()) for state in ("state", "other"))
        assert before == after
    assert (folder / "other" / "webhook-secret").read_text() == "s" * 43
    with closing(open_sqlite(folder / "other" / "inbox.db")) as again:
        assert again.tallies() == {BOT: Tally(accepted=2, pending=2)}


def test_a_fleet_that_runs_is_refused(folder: Path, url: str) -> None:
    """By the lock of its state directory, or by that of its database; with 75."""
    with locked(folder / "state" / DAEMON_LOCK, f"runs on {folder / 'state'}"):
        result = migrate(folder, "env:DATABASE_URL")
    assert (result.exit_code, "runs on" in result.output) == (75, True)
    with closing(postgres_store(url, Alone())) as store:
        store.open()
        result = migrate(folder, "env:DATABASE_URL")
        assert (result.exit_code, "another daemon uses this database" in result.output) == (75, True)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("postgresql://u:secret@h/d", "TO: the address has a password, which others see"),
        ("mysql://h/d", "TO: it is not sqlite or an address that begins with postgresql://"),
        ("env:NOT_SET_ANYWHERE", "TO: env:NOT_SET_ANYWHERE is not sqlite or an address"),
        ("file:/nowhere/at/all", "TO: /nowhere/at/all cannot be read"),
        ("sqlite", "store.url: names this store already"),
    ],
)
def test_a_target_that_is_wrong_is_said_to_be(folder: Path, to: str, said: str) -> None:
    """With 78, and without what may be a password."""
    result = migrate(folder, to)
    assert result.exit_code == 78
    assert said in result.output
    assert "secret" not in result.output


def test_a_server_that_cannot_be_reached_is_told(folder: Path) -> None:
    """With 1, and nothing has changed."""
    result = migrate(folder, "postgresql://u@127.0.0.1:1/d")
    assert result.exit_code == 1
    assert "the database cannot be used: connection" in result.output
