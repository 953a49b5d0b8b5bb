"""`check`: it refuses what `run` would refuse, and says whose environment counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from trioworkers.cli import main

if TYPE_CHECKING:
    from pathlib import Path

BOT = """
[bots.echo]
token = "123:abcdefghijklmnopqrstuvwxyz0123456789"
handler = "trioworkers.testing.echo:handle"
"""
WEBHOOK = """
[defaults]
transport = "webhook"
[webhook]
public_url = "https://bots.example.org"
tls_cert = "absent.pem"
tls_key = "absent.key"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fleet file that can be run."""
    for name in ("TRIOWORKERS_CONFIG", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "ECHO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "fleet.toml"
    path.write_text(BOT)
    return path


@pytest.mark.parametrize("verb", [["check"], ["run", "--dry-run"]])
@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ("[plugins.nope]\nx = 1", "plugins.nope: unknown plugin"),
        (f'[fleet]\nruntime_dir = "/run/{"x" * 107}"', "fleet.runtime_dir: too long for a socket"),
        (
            '[fleet]\npreload = ["no_such_module_here.part"]',
            "fleet.preload: no_such_module_here.part: no such",
        ),
        (WEBHOOK, "webhook.tls_cert: "),
    ],
)
def test_what_a_daemon_would_refuse_is_refused(
    file: Path, verb: list[str], tables: str, problem: str
) -> None:
    """With exit code 78, and the line of the file."""
    file.write_text(BOT + tables)
    result = CliRunner().invoke(main, ["-c", str(file), *verb])
    assert result.exit_code == 78
    assert f": {problem}" in result.stderr
    assert result.stderr.startswith(f"{file}:")


@pytest.mark.parametrize(
    "tables",
    [
        '[fleet]\npreload = ["json.decoder", "sys", "httpx"]',
        "[plugins.dedup]\nwindow = 3",
        WEBHOOK.replace('"webhook"', '"poll"', 1),
    ],
)
def test_what_a_daemon_would_accept_is_good(file: Path, tables: str) -> None:
    """A certificate that no bot needs is not looked at."""
    file.write_text(BOT + tables)
    result = CliRunner().invoke(main, ["-c", str(file), "check"])
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_environment_that_counts_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal of whoever checks has another one than the daemon's unit."""
    file.write_text(BOT.replace('"123:abcdefghijklmnopqrstuvwxyz0123456789"', '{ env = "ECHO_TOKEN" }'))
    result = CliRunner().invoke(main, ["-c", str(file), "check"])
    assert result.exit_code == 78
    assert "what counts is that of the daemon" in result.stderr.splitlines()[0]
    assert "bots.echo.token: the environment variable ECHO_TOKEN is not set" in result.stderr
    monkeypatch.setenv("ECHO_TOKEN", "123:abcdefghijklmnopqrstuvwxyz0123456789")
    good = CliRunner().invoke(main, ["-c", str(file), "check"])
    assert good.exit_code == 0
    assert "  ECHO_TOKEN was taken from this environment; a daemon takes it from its own\n" in good.stdout
    assert "abcdefgh" not in good.stdout
