"""`bots` and `restart` on the command line: what is asked of the daemon, what is shown, how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from top_fleets import bot

from trioworkers.cli import control, main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

ROW = {
    "bot": "echo", "bot_id": 11, "handler": "echo:handle", "enabled": True, "worker": "always",
    "state": "running", "reason": None, "paused": False, "pid": 5, "code": "c0de", "transport": "poll",
}  # fmt: skip
EXIT = {"at": 1_000_000.0, "code": None, "signal": "SIGKILL", "oom": True, "stderr": ["last \x1b[31mwords"]}


class Daemon:
    """Answers as a daemon with one bot; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answer: Any = {
            **bot("echo", queue={"ready": 3, "in_flight": 0, "retry": 0, "dead": 2}, last_exit=EXIT),
            **ROW,
            "origin": "/srv/fleet.toml",
            "settings": {"poll_timeout": 50.0},
        }
        self.refused: control.DaemonRefusedError | None = None

    def __call__(
        self, _: Path, path: str, body: Any = None, *, timeout: float | None, method: str | None = None
    ) -> Any:
        self.asked.append((path, body))
        assert body is None or timeout is None, "it takes as long as it takes"
        if self.refused is not None:
            raise self.refused
        return self.answer


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """A daemon behind the fleet file of the current folder."""
    daemon = Daemon()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIOWORKERS_CONFIG", raising=False)
    monkeypatch.setattr(control, "ask", daemon)
    (tmp_path / "fleet.toml").write_text("")
    return daemon


def call(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_a_list_is_a_table_or_json(daemon: Daemon) -> None:
    """A head and a line for each; a reason stands last."""
    daemon.answer = {"bots": [{**ROW, "state": "failed", "reason": "no\x1b such module", "pid": None}]}
    lines = call("bots", "list").stdout.splitlines()
    assert lines[0].split() == ["bot", "id", "state", "handler", "code", "pid", "reason"]
    assert lines[1].split() == ["echo", "11", "failed", "echo:handle", "c0de", "-", "no?", "such", "module"]
    assert json.loads(call("bots", "list", "--json").stdout) == daemon.answer["bots"]
    daemon.answer = {"bots": []}
    assert call("bots", "list").stdout == "no bots\n"
    assert call("bots", "list", "--json").stdout == "[]\n"


def test_one_bot_is_shown_with_its_last_exit(daemon: Daemon) -> None:
    """A line for each field, and what the last worker said; no character of it steers the terminal."""
    shown = call("bots", "show", "echo").stdout
    assert daemon.asked == [("/api/bots/echo", None)]
    for line in ("echo: it runs", "  dead letters  2", "    | last ?[31mwords"):
        assert line in shown.splitlines()
    assert "  last exit     killed, since memory ran out, at 1970-01-12T13:46:40Z" in shown
    assert '  poll_timeout = "50s"' in shown
    daemon.answer["last_exit"] = None
    assert "last exit" not in call("bots", "show", "echo").stdout
    assert json.loads(call("bots", "show", "echo", "--json").stdout) == daemon.answer


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("pause", "echo is paused: updates are accepted, none is handled\n"),
        ("resume", "echo is running\n"),
        ("restart", "echo is running, pid 5, code c0de\n"),
    ],
)
def test_actions_are_asked_of_the_daemon(daemon: Daemon, action: str, said: str) -> None:
    """For the bot that is named, whatever its name is."""
    result = call("bots", action, "echo")
    assert (result.exit_code, result.stdout) == (0, said)
    call("bots", action, "a/b?c")
    assert [path for path, _ in daemon.asked] == [f"/api/bots/echo/{action}", f"/api/bots/a%2Fb%3Fc/{action}"]


@pytest.mark.parametrize(("status", "code"), [(404, 2), (409, 1), (503, 75), (403, 77)])
def test_refusals_are_told_with_their_exit_code(daemon: Daemon, status: int, code: int) -> None:
    """An unknown bot is wrong usage."""
    daemon.refused = control.DaemonRefusedError(status, "because")
    for words in (["show"], ["pause"], ["resume"], ["restart"]):
        result = call("bots", *words, "echo")
        assert (result.exit_code, result.stderr) == (code, "trioworkers: because\n")


def test_a_rolling_restart_is_1_unless_all_are_ready(daemon: Daemon) -> None:
    """Each bot that is not is told, with the reason."""
    daemon.answer = {"replaced": 3, "failed": {}}
    result = call("restart")
    assert (result.exit_code, result.stdout, daemon.asked) == (
        0,
        "replaced 3 workers\n",
        [("/api/restart", {})],
    )
    daemon.answer = {"replaced": 1, "failed": {"echo": "restart budget\x1b spent"}}
    result = call("restart")
    assert (result.exit_code, result.stdout) == (1, "replaced 1 worker\n")
    assert result.stderr == "trioworkers: echo has no ready worker: restart budget? spent\n"
    daemon.refused = control.DaemonRefusedError(409, "echo: not ready; nothing was replaced")
    assert call("restart").exit_code == 1
