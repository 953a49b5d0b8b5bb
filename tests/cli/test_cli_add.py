"""`bots add`: what is asked for, how values are quoted, and errors in the words of the command line."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from trioworkers.cli.added import Given, KeyGivenError, read_keys

if TYPE_CHECKING:
    from pathlib import Path

GIVEN = Given(
    "shop",
    {},
    {"settings.greeting": "--set settings.greeting=1", "handler": "--handler a:b", "token": "the token"},
)
FILE = "/srv/state/fleet.d/shop.toml"


@pytest.mark.parametrize(
    ("problem", "cited"),
    [
        (f"{FILE}:4:11: bots.shop.handler: a:b: no module", "--handler a:b: a:b: no module"),
        (f"{FILE}:0:0: bots.shop.token: expected a token", "the token: expected a token"),
        (f"{FILE}: bots.shop.token: expected a token", f"{FILE}: bots.shop.token: expected a token"),
        (f"{FILE}:4:1: bots.shop.settings.greeting: not so", "--set settings.greeting=1: not so"),
        (f"{FILE}:4:1: bots.shop.settings.greeting.a: not so", "--set settings.greeting=1: not so"),
        (f"{FILE}:4:1: bots.shop.transport: from [defaults]", "transport: from [defaults]"),
        ('/srv/state/fleet.d: bots."sh op": expected a name', "shop: expected a name"),
        ("/srv/fleet.toml:3:1: bots.old.token: not so", "/srv/fleet.toml:3:1: bots.old.token: not so"),
        ("/srv/fleet.toml: cannot be read", "/srv/fleet.toml: cannot be read"),
    ],
)
def test_problems_cite_what_was_written(problem: str, cited: str) -> None:
    """Nobody has seen the file that the daemon would write; a problem of another file stays as it is."""
    assert GIVEN.cited(problem) == cited


def test_keys_are_read_as_toml() -> None:
    """Each is remembered as it was written."""
    table, written = read_keys(['settings.greeting="hi"', "concurrency=3", "retry.attempts = 2"])
    assert table == {"settings": {"greeting": "hi"}, "concurrency": 3, "retry": {"attempts": 2}}
    assert written["retry.attempts"] == "--set retry.attempts = 2"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("settings.greeting=hi", """expected quotes around a text: --set 'settings.greeting="hi"'"""),
        ("poll_timeout=45s", """expected quotes around a text: --set 'poll_timeout="45s"'"""),
        ("concurrency", "expected KEY=VALUE"),
        ("a b=1", "a value is as in TOML"),
    ],
)
def test_a_key_that_is_none_says_how_to_quote(given: str, message: str) -> None:
    """The shell takes quotes away, which nobody sees."""
    with pytest.raises(KeyGivenError) as raised:
        read_keys(["concurrency=1", given])
    assert str(raised.value).startswith(f"--set {given}: ")
    assert message in str(raised.value)


def test_a_key_that_is_given_twice_is_refused() -> None:
    """Which of them is meant is not to be guessed."""
    with pytest.raises(KeyGivenError, match="expected each key once"):
        read_keys(["concurrency=1", "concurrency=2"])


def test_a_terminal_is_asked_for_the_token_and_does_not_show_it(tmp_path: Path) -> None:
    """It is typed by a person, perhaps before others."""
    (tmp_path / "fleet.toml").touch()
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "trioworkers.cli", "-c", "fleet.toml", "bots", "add", "shop"]
    with subprocess.Popen(
        words, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
    ) as command:  # fmt: skip
        os.close(theirs)
        shown = _read_until(ours, "not shown")
        os.write(ours, b"123:secret-of-shop\n")
        shown += _read_until(ours, "no daemon is running")
        command.wait(60)
    os.close(ours)
    assert "token of shop, as @BotFather gave it (not shown)" in shown
    assert "secret-of-shop" not in shown


def _read_until(descriptor: int, awaited: str) -> str:
    shown, deadline = "", time.monotonic() + 60
    while awaited not in shown and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                shown += os.read(descriptor, 65536).decode(errors="replace")
            except OSError:  # it has ended
                break
    assert awaited in shown
    return shown
