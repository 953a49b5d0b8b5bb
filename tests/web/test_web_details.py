"""One bot in detail, of a real daemon: its settings without secrets, its log in pages."""

from __future__ import annotations

import pytest

PRINTS = """
async def handle(update, bot):
    for number in range(int(update.text)):
        print(f"line {number}", flush=True)
"""


@pytest.fixture
def fleet(run_fleet):
    """A bot that prints as many lines as it is told."""
    settings = {"api_key": "sk-secret", "limits": {"depth": 3, "on": True}, "names": ["a"]}
    echo = {"handler": "prints:handle", "settings": settings, "concurrency": 3}
    return run_fleet({"bots": {"echo": echo}}, modules={"prints": PRINTS})


def test_a_bot_is_shown_whole_and_without_secrets(fleet) -> None:
    """What is in force and where it stands; of the handler's own settings their names and kinds."""
    answer = fleet.ask("GET", "/api/bots/echo")
    shown = answer.json()
    assert (shown["state"], shown["handler"], shown["queue"]["ready"]) == ("running", "prints:handle", 0)
    assert shown["origin"] == str(fleet.folder.file)
    assert (shown["settings"]["concurrency"], shown["settings"]["retry"]["attempts"]) == (3, 8)
    kinds = {"api_key": "a text", "limits": {"depth": "a number", "on": "true or false"}, "names": "a list"}
    assert shown["settings"]["settings"] == kinds
    assert set(shown["settings"]["token"]) == {"*"}
    assert "sk-secret" not in answer.text
    assert fleet.bots["echo"].token.partition(":")[2] not in answer.text
    printed = fleet.command("bots", "show", "echo").stdout
    assert "  retry.attempts = 8" in printed.splitlines()
    assert "sk-secret" not in printed


def test_a_log_is_read_in_pages(fleet) -> None:
    """Each begins where the one before ended; what is too much for one is counted."""
    empty = fleet.ask("GET", "/api/bots/echo/log").json()
    assert (empty["lines"], empty["skipped"], empty["missed"]) == ([], 0, False)
    say(fleet, 3)
    page = fleet.ask("GET", "/api/bots/echo/log?lines=2").json()
    assert page["lines"] == ["line 1", "line 2"]
    page = fleet.ask("GET", f"/api/bots/echo/log?after={empty['next']}").json()
    assert page["lines"] == ["line 0", "line 1", "line 2"]
    say(fleet, 5)
    page = fleet.ask("GET", f"/api/bots/echo/log?lines=2&after={page['next']}").json()
    assert (page["lines"], page["skipped"]) == (["line 3", "line 4"], 3)
    assert fleet.ask("GET", f"/api/bots/echo/log?after={page['next']}").json()["lines"] == []


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/bots/ecko", 404, "did you mean echo"),
        ("/api/bots/ecko/log", 404, "did you mean echo"),
        ("/api/bots/echo/log?lines=0", 400, "expected a number from 1 to 1000"),
        ("/api/bots/echo/log?after=../../x", 400, "expected the next of an earlier page"),
        ("/api/bots/echo/log?other=1", 400, "unknown key"),
    ],
)
def test_what_cannot_be_answered_says_why(run_fleet, path: str, status: int, words: str) -> None:
    """With the status, and words."""
    answer = run_fleet({"bots": {"echo": {}}}).ask("GET", path)
    assert answer.status == status
    assert words in answer.json()["error"]


def test_a_log_that_cannot_be_read_is_503(fleet) -> None:
    """As a link is, that a handler may have put there: it is not followed."""
    path = next(fleet.folder.folder.rglob("worker_echo.log"), None) or next(
        folder for folder in fleet.folder.folder.rglob("logs")
    ).joinpath("worker_echo.log")
    path.unlink(missing_ok=True)
    path.symlink_to("/etc/passwd")
    answer = fleet.ask("GET", "/api/bots/echo/log")
    assert answer.status == 503
    assert "root" not in answer.text


def say(fleet, count: int) -> None:
    """Let it print so many lines, and wait until all are in its log."""
    before = len(fleet.ask("GET", "/api/bots/echo/log?lines=1000").json()["lines"])
    fleet.user().says(str(count))

    def all_are_there() -> bool:
        lines = fleet.ask("GET", "/api/bots/echo/log?lines=1000").json()["lines"]
        return len(lines) == before + count

    fleet.wait_for(all_are_there)
