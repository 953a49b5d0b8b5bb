"""`trioworkers unit`, and how commands find a daemon that a unit runs."""

from __future__ import annotations

import importlib
import pwd
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from trioworkers.cli import main
from trioworkers.cli.control import find_socket
from trioworkers.service import places
from trioworkers.service.unit import User
from trioworkers.web.sockets import UnixSocket

unit_module = importlib.import_module("trioworkers.cli.unit")  # the package has the command under that name
FLEET = """
[fleet]
shutdown_timeout = "40s"
[webhook]
secret = { credential = "hook" }
[bots.one]
token = { credential = "one" }
handler = "echo:handle"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "RUNTIME", tmp_path / "run")
    monkeypatch.delenv("TRIOWORKERS_CONFIG", raising=False)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    file = tmp_path / "fleet.toml"
    file.write_text(FLEET)
    return file


def call(file: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["-c", str(file), *words], prog_name="trioworkers")


def test_it_needs_none_of_the_secrets(file: Path) -> None:
    """Credentials exist in the service only; those of fleet.d count, too."""
    (file.parent / "fleet.d").mkdir()
    (file.parent / "fleet.d" / "two.toml").write_text('[bots.two]\ntoken = { credential = "two" }\n')
    result = call(file, "unit")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"# /etc/systemd/system/{places.service_name(file)}.service"
    assert "TimeoutStopSec=55s" in lines
    loaded = [line.split("=")[1].split(":")[0] for line in lines if line.startswith("LoadCredential=")]
    assert loaded == ["hook", "one", "two"]
    assert f"-c {file} run" in next(line for line in lines if line.startswith("ExecStart="))


def test_a_file_that_is_no_toml_is_78(file: Path) -> None:
    """With its place, as everywhere."""
    file.write_text("[fleet\n")
    result = call(file, "unit")
    assert (result.exit_code, result.stdout) == (78, "")
    assert f"{file}:1" in result.stderr


def test_the_socket_of_the_service_is_found_where_the_files_is_not(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one at which somebody listens; the file's own first. What a crash left there is no daemon."""
    monkeypatch.setattr(places, "service_name", lambda _: "t")
    own = file.parent / "state" / "run" / "control.sock"
    assert find_socket(file) == own
    of_service = places.service_socket(file)
    for path in (own, of_service):
        path.parent.mkdir(parents=True)
    own.touch()
    assert find_socket(file) == own
    with closing(UnixSocket(of_service, key="k")):
        assert find_socket(file) == of_service
        with closing(UnixSocket(own, key="k")):
            assert find_socket(file) == own


def test_quiet_goes_with_neither_plan(file: Path) -> None:
    """A plan that is not printed is no plan."""
    assert call(file, "reload", "--quiet", "--json").exit_code == 2
    assert call(file, "reload", "--quiet", "--dry-run").exit_code == 2


def test_a_folder_that_the_service_cannot_write_to_is_reported(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd's sandbox would end the daemon at its start; the unit is printed all the same."""
    monkeypatch.setattr(unit_module, "_owner", lambda _: None)
    own = places.RUNTIME / places.service_name(file)
    file.write_text(
        FLEET.replace(
            "[webhook]", f'log_dir = "logs"\n[api]\nbind = "unix:{own}/a"\n[webhook]\nbind = "unix:w"'
        )
    )
    result = call(file, "unit")
    assert result.exit_code == 0, result.output
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == ["fleet.log_dir", "webhook.bind"]


def test_a_users_sockets_can_be_made(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a unix socket is among those that the daemon may write to; a user needs no name."""
    monkeypatch.setattr(unit_module, "_owner", lambda _: User("54321", 54321, is_named=False))
    file.write_text(f'[api]\nbind = "unix:proxy/api.sock"\n{FLEET}')
    result = call(file, "unit")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    for folder in ("proxy", "state"):
        assert f"ReadWritePaths=-{file.parent / folder}" in lines


def test_a_path_that_no_unit_can_have_is_78(file: Path) -> None:
    """With what is wrong about it."""
    folder = file.parent / "a\nExecStartPre=x"
    folder.mkdir()
    result = call(file.rename(folder / "fleet.toml"), "unit")
    assert (result.exit_code, result.stdout) == (78, "")
    assert "printable" in result.stderr


def test_the_owner_of_the_file_runs_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, or by number where the system knows no name; root runs no bots."""
    assert unit_module._owner(Path("/")) is None
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    monkeypatch.setattr(Path, "stat", lambda *_, **__: SimpleNamespace(st_uid=54321, st_gid=7))
    assert unit_module._owner(file) == User("54321", 7, is_named=False)
