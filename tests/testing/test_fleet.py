"""Fleets from a dict: what a test of a plugin or a bot is written with."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from documents import code, rows

from trioworkers.testing import FleetFailed, NothingSaid, RunningFleet, running

BUTTONS = """
async def handle(update, bot):
    if update.kind == "callback_query":
        await bot.send_message(chat_id=update.chat_id, text="pressed")
    elif update.text:
        keyboard = {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]}
        await bot.send_message(chat_id=update.chat_id, text=update.text, reply_markup=keyboard)
"""
GREETER = """
import os

async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=f"{bot.settings['greeting']} {os.environ['PLACE']}")
"""


def greeters(**greetings):
    return {
        "bots": {
            name: {"handler": "greeter:handle", "settings": {"greeting": greeting}}
            for name, greeting in greetings.items()
        }
    }


def test_without_tables_there_is_one_bot_that_repeats(run_fleet):
    """Its events can be waited for, its commands run, and it has settled once everything is handled."""
    fleet = run_fleet({})
    alice = fleet.user("Alice")
    assert fleet.user("Alice") is alice
    alice.says("hello")
    assert alice.hears()["text"] == "hello"
    fleet.settled()
    (done,) = fleet.expect_events("update.done", bot="echo")
    assert done["dialog"] == f"echo/{alice.id}"
    assert fleet.bot("echo")["messages"] == 1
    assert fleet.command("status").returncode == 0
    assert fleet.ask("GET", "/health").status == 200
    with pytest.raises(NothingSaid):
        alice.hears(timeout=0.05)


def test_a_reload_applies_new_tables(run_fleet):
    """A bot that is new gets a token; a fleet that is refused raises with its problems."""
    fleet = run_fleet(greeters(one="hi"), modules={"greeter": GREETER}, environ={"PLACE": "there"})
    alice = fleet.user()
    alice.says("x")
    assert alice.hears()["text"] == "hi there"
    assert fleet.reload(greeters(one="hello", two="hey"))["added"] == ["two"]
    for name, greeting in (("one", "hello"), ("two", "hey")):
        alice.says("x", bot=name)
        assert alice.hears(bot=name)["text"] == f"{greeting} there"
    with pytest.raises(LookupError, match="one of one, two"):
        alice.says("x")
    with pytest.raises(FleetFailed, match=r"limits\.max_workers"):
        fleet.reload({**greeters(one="hello"), "limits": {"max_workers": -1}})


def test_people_edit_and_press(run_fleet):
    """An edited message is another update, and so is a pressed button."""
    fleet = run_fleet({"bots": {"buttons": {"handler": "buttons:handle"}}}, modules={"buttons": BUTTONS})
    alice = fleet.user()
    alice.says("one")
    message = alice.hears()
    alice.edits("two")
    assert alice.hears()["text"] == "two"
    alice.presses(message, "Yes")
    assert alice.hears()["text"] == "pressed"


def test_a_crash_loses_nothing(run_fleet):
    """The daemon is killed and started again on the same state; it can also be stopped and started."""
    fleet = run_fleet({})
    alice = fleet.user()
    for text, end in (("one", fleet.kill), ("two", fleet.stop)):
        end()
        alice.says(text)
        fleet.start()
        assert alice.hears()["text"] == text


def test_a_fleet_that_does_not_start_says_why(tmp_path):
    """With the problems that the daemon printed, and no process is left."""
    with (
        pytest.raises(FleetFailed, match=r"(?s)code 78.*limits\.start_rate"),
        running(tmp_path, {"limits": {"start_rate": -1}}),
    ):
        pytest.fail("it runs")  # pragma: no cover


def test_the_folder_of_a_fleet_may_be_relative_and_new(tmp_path, monkeypatch):
    """Its daemon has another working directory."""
    monkeypatch.chdir(tmp_path)
    with running(Path("a/fleet"), {}) as fleet:
        fleet.user("Alice").says("hello")
        assert fleet.user("Alice").hears()["text"] == "hello"
    assert (tmp_path / "a/fleet/fleet.toml").exists()


def test_a_fleet_that_ends_badly_fails_its_test(tmp_path):
    """Leaving the block stops the daemon; an exit code other than 0 is an error."""
    pids = []

    def leave():
        with running(tmp_path, {}) as fleet:
            pids.append(fleet.process.pid)
            os.kill(fleet.bot("echo")["pid"], signal.SIGSTOP)  # the worker cannot end in time
            fleet.process.send_signal(signal.SIGABRT)

    leave_quietly = pytest.raises(FleetFailed, match="code -6")
    with leave_quietly:
        leave()
    assert not Path(f"/proc/{pids[0]}").exists()


def test_an_error_in_the_block_is_raised_and_the_daemon_ends(tmp_path):
    """The test's own failure is what is reported."""
    with pytest.raises(ZeroDivisionError), running(tmp_path, {}) as fleet:
        _ = 1 // 0
    assert fleet.process.returncode is not None
    assert not fleet.folder.runtime_dir.exists()


def test_what_does_not_happen_fails_with_the_log(run_fleet):
    """The failure says what was waited for, and shows what the daemon reported last."""
    fleet = run_fleet({})
    with pytest.raises(
        FleetFailed, match=r"(?s)update\.dead did not happen 1 times within 0\.05 s.*daemon\.ready"
    ):
        fleet.expect_events("update.dead", timeout=0.05)
    with pytest.raises(FleetFailed, match="condition"):
        fleet.wait_for(lambda: False, timeout=0.05)


def test_a_bot_that_says_nothing_is_told_with_what_went_wrong(run_fleet):
    """Its state with the reason, and its latest failures; nothing more when there is no daemon to ask."""
    bots = {name: {"handler": f"{name}:handle"} for name in ("broken", "raises", "silent")}
    modules = {
        "broken": "async def handle(update, bot:\n",
        "raises": "async def handle(update, bot): raise KeyError\n",
        "silent": "async def handle(update, bot): pass\n",
    }
    fleet = run_fleet({"bots": bots}, modules=modules)
    alice = fleet.user("Alice")
    for name, words in (
        (
            "broken",
            "; broken is failed: handler cannot be imported\n  bot.failed handler cannot be imported broken:",
        ),
        ("raises", "; raises is running\n  update.retried KeyError at raises.py:1 in handle"),
        ("silent", "; silent is running"),
    ):
        alice.says("hello", bot=name)
        with pytest.raises(NothingSaid, match=re.escape(words)):
            alice.hears(bot=name, timeout=0.5)
    fleet.kill()
    with pytest.raises(NothingSaid, match=r"updates are pending$"):
        alice.hears(bot="silent", timeout=0.05)


def test_the_page_lists_what_a_fleet_offers():
    """Each public name of a running fleet is in docs/testing.md, and no other."""
    public = {name for name in vars(RunningFleet) if not name.startswith("_")} | {
        "bots",
        "telegram",
        "folder",
    }
    assert {re.split(r"\(", code(row[0])[0])[0] for row in rows("testing.md", "fleet")} == public
