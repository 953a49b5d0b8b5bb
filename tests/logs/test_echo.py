"""What bots print, as a terminal shows it."""

from __future__ import annotations

import io
import json

from trioworkers.logs import open_log
from trioworkers.logs.echo import echoed
from trioworkers.logs.render import rendering

RENDER = rendering("text")


class Terminal(io.StringIO):
    """A terminal without a descriptor."""

    def isatty(self):
        return True


def test_prints_stand_behind_the_name_of_their_bot():
    """Also the last one without an end; nothing steers the terminal."""
    lines = echoed("shop", b"one\n\x1b[2Jtwo\n{three", RENDER)
    assert lines == ["shop | one\n", "shop | ?[2Jtwo\n", "shop | {three\n"]


def test_lines_of_the_bots_log_look_as_the_daemons():
    """With a traceback in lines of its own, indented; what only looks like one of them is a print."""
    told = {"at": "2026-01-01T00:00:00Z", "level": "error", "event": "handler failed", "error": "ValueError"}
    line = json.dumps(told | {"traceback": "shop.py:3 in handle: int(text)\nshop.py:9 in price"})
    (shown,) = echoed("shop", line.encode() + b"\n", RENDER)
    first, *others = shown.splitlines()
    assert first.startswith("2026-01-01T00:00:00Z [error    ] handler failed")
    assert others == ["    shop.py:3 in handle: int(text)", "    shop.py:9 in price"]
    for strange in (b'{"event": 1}', b'{"level": "info"}', b"[1]", b'{"event"', b"{" * 100_000):
        (shown,) = echoed("shop", strange, RENDER)
        assert shown == f"shop | {strange.decode()}\n"


def test_a_log_shows_them_on_a_terminal_only(monkeypatch):
    """A service's journal and a file have the daemon's lines only."""
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    echo = open_log(stream=terminal).echo
    assert echo is not None
    echo("shop", b"hello\n")
    assert terminal.getvalue() == "shop | hello\n"
    assert open_log(stream=io.StringIO()).echo is None
