"""`dlq` and `backup` on the command line: what is asked of the daemon, what is shown, how it ends."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from trioworkers.cli import control, main

if TYPE_CHECKING:
    from click.testing import Result

TRACE = "0123456789abcdef" * 2
LETTER = {
    "id": 12, "bot": "echo", "bot_id": 11, "chat_id": 7, "update_id": 500, "kind": "message",
    "trace_id": TRACE,
    "reason": "failed 8 times", "attempts": 8, "died_at": 1_000_000.0,
}  # fmt: skip
DETAILS = {
    **LETTER,
    "accepted_at": 999_000.0,
    "damaged": False,
    "history": [
        {"at": 999_500.0, "error": "ValueError in echo.py:3", "unknown": ["sendMessage 7"]},
        {"at": 999_600.0, "error": "worker died", "unknown": []},
    ],
    "calls": [
        {"method": "sendMessage", "chat_id": "7", "at": 999_500.0, "state": "maybe twice"},
        {"method": "setMyName", "chat_id": None, "at": 999_500.0, "state": "made"},
    ],
}


class Daemon:
    """Answers as a daemon with so many dead letters; notes what it was asked."""

    def __init__(self, count: int = 1, **changed: Any) -> None:
        self.count, self.changed = count, changed
        self.asked: list[tuple[str, Any]] = []

    def __call__(
        self, _: Path, path: str, body: Any = None, *, timeout: float | None, method: str | None = None
    ) -> Any:
        self.asked.append((path, body))
        url = urlsplit(path)
        if url.path == "/api/dlq":
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            first = int(query["after"]) + 1
            last = min(self.count, first + int(query["limit"]) - 1)
            letters = [{**LETTER, "id": id_, **self.changed} for id_ in range(first, last + 1)]
            return {"letters": letters, "next": last if last < self.count else None}
        if body is None:
            return {**DETAILS, **self.changed}
        assert timeout is None, "it takes as long as it takes"
        answers = {
            "replay": {"replayed": 1},
            "purge": {"purged": 12_000},
            "backup": {"bytes": 5, "path": "/b"},
        }
        return answers[url.path.rpartition("/")[2]]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """A daemon with one dead letter, behind the fleet file of the current folder."""
    daemon = Daemon()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIOWORKERS_CONFIG", raising=False)
    monkeypatch.setattr(control, "ask", daemon)
    (tmp_path / "fleet.toml").write_text("")
    return daemon


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_list_is_a_table(daemon: Daemon) -> None:
    """A head, and a line for each, whose columns stand under it; no chat and no bot are dashes."""
    lines = call("dlq", "list").stdout.splitlines()
    assert lines[0].split() == ["id", "bot", "chat", "update", "attempts", "died", "reason"]
    assert lines[1].index("failed 8 times") == lines[0].index("reason")
    daemon.changed = {"bot": None, "chat_id": None}
    assert call("dlq", "list").stdout.splitlines()[1].split()[:5] == ["1", "-", "(11)", "-", "500"]


def test_no_dead_letters_are_said_to_be_none(daemon: Daemon) -> None:
    """In words, or as an empty list."""
    daemon.count = 0
    assert call("dlq", "list").stdout == "no dead letters\n"
    assert json.loads(call("dlq", "list", "--json").stdout) == []


@pytest.mark.parametrize("count", [1, 2, 500, 501, 1200])
def test_json_is_one_list_over_all_pages(daemon: Daemon, count: int) -> None:
    """However many pages it takes."""
    daemon.count = count
    result = call("dlq", "list", "--json")
    assert result.exit_code == 0
    assert [letter["id"] for letter in json.loads(result.stdout)] == list(range(1, count + 1))
    assert len(daemon.asked) == -(-count // 500)


@pytest.mark.parametrize(("limit", "shown"), [(1, 1), (500, 500), (501, 501), (700, 700), (5000, 1200)])
def test_a_limit_is_kept_over_pages(daemon: Daemon, limit: int, shown: int) -> None:
    """And nothing beyond it is asked for."""
    daemon.count = 1200
    result = call("dlq", "list", "--limit", limit)
    assert len(result.stdout.splitlines()) == 1 + shown
    assert len(daemon.asked) == -(-shown // 500)


def test_a_list_of_one_bot_is_asked_of_the_daemon(daemon: Daemon) -> None:
    """By its name, whatever that is."""
    call("dlq", "list", "--bot", "a b&c")
    assert daemon.asked == [("/api/dlq?after=0&limit=500&bot=a+b%26c", None)]


def test_one_letter_is_shown_with_its_attempts_and_calls(daemon: Daemon) -> None:
    """Times, errors, what is not known to have been made; the payload only when it is asked for."""
    result = call("dlq", "show", "12")
    assert result.exit_code == 0
    assert daemon.asked == [("/api/dlq/12?payload=0", None)]
    for words in (
        "dead letter 12 of echo (11)",
        "reason    failed 8 times",
        f"trace     {TRACE}\n",
        "ValueError in echo.py:3; not known whether made: sendMessage 7",
        "worker died\n",
        "maybe twice  sendMessage 7",
        "made         setMyName\n",
    ):
        assert words in result.stdout
    daemon.changed = {
        "payload": {"message": {"text": "hello"}},
        "bot": None,
        "chat_id": None,
        "damaged": True,
    }
    result = call("dlq", "show", "12", "--payload")
    assert daemon.asked[-1] == ("/api/dlq/12?payload=1", None)
    assert '"text": "hello"' in result.stdout
    assert "not what was written" in result.stdout
    assert json.loads(call("dlq", "show", "12", "--json").stdout) == {**DETAILS, **daemon.changed}


def test_texts_of_others_steer_no_terminal(daemon: Daemon) -> None:
    """A reason is a handler's word, a payload a user's."""
    daemon.changed = {"reason": "\x1b[2J", "payload": "\x1b[2J"}
    for words in (["list"], ["show", "1", "--payload"]):
        result = call("dlq", *words)
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("words", "asked", "said"),
    [
        (["replay", "3", "4"], {"ids": [3, 4]}, "replayed 1 dead letter"),
        (["replay", "--bot", "echo"], {"bot": "echo"}, "replayed 1 dead letter"),
        (["replay", "--all"], {"all": True}, "replayed 1 dead letter"),
        (["purge", "3"], {"ids": [3]}, "purged 12,000 dead letters"),
        (["purge", "--all"], {"all": True}, "purged 12,000 dead letters"),
        (["purge", "--older-than", "30d"], {"older_than": 2592000.0}, "purged 12,000 dead letters"),
        (["purge", "--bot", "b", "--older-than", "5"], {"bot": "b", "older_than": 5.0}, "purged 12,000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_chosen_is_asked_of_the_daemon(
    daemon: Daemon, words: list[str], asked: dict[str, Any], said: str
) -> None:
    """And how many it were is said; without a terminal nobody is asked."""
    result = call("dlq", *words)
    assert result.exit_code == 0
    assert daemon.asked == [(f"/api/dlq/{words[0]}", asked)]
    assert result.stdout.startswith(said)


@pytest.mark.parametrize(
    "words",
    [
        ["replay"], ["replay", "1", "--all"], ["replay", "--bot", "a", "--all"], ["replay", "x"],
        ["replay", "0"], ["replay", str(2**63)], ["purge"], ["purge", "1", "--bot", "a"],
        ["purge", "--older-than", "soon"], ["purge", "--older-than", "-1"], ["show"], ["show", "x"],
        ["list", "--limit", "0"], ["list", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_2(daemon: Daemon, words: list[str]) -> None:
    """And the daemon is not asked."""
    result = call("dlq", *words)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert daemon.asked == []


@pytest.mark.parametrize("verb", ["list", "show", "replay", "purge"])
def test_help_has_examples(verb: str) -> None:
    """Each verb explains itself with a command that can be copied."""
    assert f"  trioworkers dlq {verb}" in call("dlq", verb, "--help").output


@pytest.mark.parametrize(("status", "code"), [(404, 1), (409, 1), (400, 1), (500, 1), (403, 77), (503, 75)])
def test_what_the_daemon_refuses_is_told_in_its_words(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    """One line, and the code that tells a script whether to try again."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise control.DaemonRefusedError(status, "no dead letter 7")

    monkeypatch.setattr(control, "ask", refuse)
    for words in (["dlq", "replay", "7"], ["dlq", "list", "--json"], ["dlq", "show", "7"], ["backup"]):
        result = call(*words)
        assert result.exit_code == code
        assert result.stderr == "trioworkers: no dead letter 7\n"


def test_a_backups_path_is_where_the_command_stands(daemon: Daemon) -> None:
    """The daemon may stand elsewhere."""
    assert call("backup").stdout == "/b: 0.0 MB\n"
    call("backup", "copies/today.db")
    assert daemon.asked == [
        ("/api/backup", {}),
        ("/api/backup", {"path": str(Path.cwd() / "copies/today.db")}),
    ]


@pytest.mark.parametrize("words", [["dlq", "list"], ["dlq", "replay", "--all"], ["backup"]], ids=" ".join)
def test_no_daemon_is_69(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """Only `status` has a code of its own for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.toml").write_text("")
    result = call("-c", "fleet.toml", *words)
    assert result.exit_code == 69
    assert result.stderr.startswith("trioworkers: no daemon is running")


@pytest.mark.parametrize(
    ("words", "asks"),
    [(["--all"], True), (["--all", "--yes"], False), (["--older-than", "1d"], False)],
    ids=["--all", "--yes", "--older-than"],
)
def test_purge_all_asks_on_a_terminal(tmp_path: Path, words: list[str], asks: bool) -> None:
    """Whoever does not say yes has nothing purged; without a daemon, 69 shows that it would have been."""
    (tmp_path / "fleet.toml").write_text("")
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"n\n")
        result = subprocess.run(
            [sys.executable, "-m", "trioworkers.cli", "-c", "fleet.toml", "dlq", "purge", *words],
            stdin=theirs, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)
    assert result.returncode == (1 if asks else 69), result.stderr
    assert ("forget all dead letters of all bots for good?" in result.stdout) == asks
