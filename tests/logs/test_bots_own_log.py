"""What the author of a bot sees when it fails: in `trioworkers logs BOT`, and on the terminal of `run`."""

from __future__ import annotations

import os
import pty
import signal
import sys
import threading

import pytest

HANDLER = """
import json
import logging
import os
import signal

log = logging.getLogger(__name__)

async def handle(update, bot):
    print("a print")
    if update.text == "fail":
        json.loads(update.text)
    if update.text == "refused":
        await bot.send_message(chat_id=1, text="nobody")
    if update.text == "log":
        log.error("an error of %s", "logging")
    if update.text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    await bot.send_message(chat_id=update.chat_id, text="done")
"""
BOT = {"handler": "shop:handle", "retry": {"attempts": 1}}


@pytest.fixture
def fleet(run_fleet):
    """A fleet with that bot."""
    return run_fleet({"bots": {"shop": BOT}, "log": {"level": "info"}}, modules={"shop": HANDLER})


def logged(fleet, *texts):
    """What `trioworkers logs shop` shows after these messages."""
    for text in texts:
        fleet.user("Alice").says(text)
        fleet.settled()
    return fleet.command("logs", "shop", "-n", "100").stdout


def test_a_failure_is_in_the_bots_log_with_its_place_and_traceback(fleet):
    """And what became of the update; nothing of what the user wrote but what the source says."""
    shown = logged(fleet, "fail")
    assert "handler failed" in shown
    assert "error='JSONDecodeError at shop.py:12 in handle'" in shown
    assert "\n    shop.py:12 in handle: json.loads(update.text)\n" in shown
    fleet.wait_for(lambda: "update.dead" in logged(fleet))


def test_a_refusal_is_there_in_telegrams_words(fleet):
    """In the bot's log and in the dead letter."""
    words = "sendMessage: 400 Bad Request: chat not found at shop.py:14 in handle"
    assert words in logged(fleet, "refused")
    assert words in fleet.command("dlq", "list", "--json").stdout


def test_what_happens_to_the_bot_is_in_its_log(fleet):
    """The end of its worker, which the worker itself cannot tell."""
    fleet.user("Alice").says("die")
    fleet.expect_events("worker.exited", 1)
    fleet.wait_for(lambda: "worker.exited" in logged(fleet))
    assert "signal 9" in logged(fleet) or "SIGKILL" in logged(fleet)


def test_logging_of_python_reaches_the_bots_log_with_the_trace_id(fleet):
    """Found by `logs --trace`, too."""
    shown = logged(fleet, "log")
    assert "[error    ] an error of logging" in shown
    assert "[shop]" in shown
    (line,) = [line for line in shown.splitlines() if "an error of logging" in line]
    trace_id = line.partition("trace_id=")[2].split()[0]
    assert "an error of logging" in fleet.command("logs", "--trace", trace_id).stdout


def test_what_happened_stands_once_in_the_way_of_an_update(fleet):
    """Though it is in two logs."""
    logged(fleet, "fail")
    (dead,) = fleet.expect_events("update.dead", 1)
    fleet.wait_for(lambda: "update.dead" in logged(fleet))
    way = fleet.command("logs", "--trace", dead["trace_id"]).stdout
    steps = [line.split()[2:3] for line in way.splitlines()]  # after a time and its unit
    assert steps.count(["dead"]) == 1, way
    assert "shop: update.dead" not in way
    assert "shop: handler failed" in way


def test_prints_are_seen_on_the_terminal_of_run(fleet):
    """Behind the bot's name; a pipe gets the daemon's lines only (as this fleet's, whose output is one)."""
    assert "a print" not in fleet.folder.log.read_text()
    fleet.stop()
    fleet.write({"bots": {"shop": BOT}, "log": {"format": "auto"}})
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update({**fleet.folder.environ, "NO_COLOR": "1"})
        os.chdir(fleet.folder.folder)
        os.execv(sys.executable, [sys.executable, "-m", "trioworkers.cli", "run"])  # noqa: S606 - no shell is meant
    output = bytearray()

    def read():
        try:
            while data := os.read(terminal, 65536):
                output.extend(data)
        except OSError:  # the end of a terminal
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        fleet.wait_for(lambda: b"daemon.ready" in output, timeout=60)
        fleet.user("Alice").says("fail")
        fleet.wait_for(lambda: b"shop | a print\r\n" in output, timeout=30)
        fleet.wait_for(lambda: b"    shop.py:12 in handle: json.loads(update.text)\r\n" in output)
    finally:
        os.kill(pid, signal.SIGTERM)
        reader.join(60)
        os.close(terminal)
        os.waitpid(pid, 0)
