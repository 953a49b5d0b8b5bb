"""The documents' examples, as they are shown, in a fresh environment with our wheel."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from documents import README, blocks, file_block, page

from trioworkers.testing import TelegramThread

TOKEN = "123456:the-token-from-BotFather"
FILES = {
    "hello.py": README.read_text(),
    "test_handle.py": page("testing.md"),
    "test_hello.py": page("testing.md"),
    "short.py": page("testing.md"),
    "test_short.py": page("testing.md"),
    "test_pays.py": page("testing.md"),
    "reminder.py": page("handlers.md"),
    "test_reminder.py": page("testing.md"),
    "albums.py": page("handlers.md"),
    "news.py": page("handlers.md"),
}

ALBUM = """
def test_an_album_is_answered_once(run_fleet):
    fleet = run_fleet({"bots": {"albums": {"handler": "albums:handle", "albums": "300ms"}}})
    alice = fleet.user("Alice")
    parts = [{"photo": [], "caption": "one"}, {"photo": [], "caption": "two"}, {"photo": []}]
    fleet.telegram.do(alice.sim.send_album, fleet.sim_bot(), parts)
    assert alice.hears()["text"] == "3 files: one, two"
"""
BROADCAST = """
from trioworkers.testing import TelegramThread, running

READERS = 45

def test_a_broadcast_is_as_fast_as_telegram_allows(tmp_path):
    with TelegramThread(rate_limits=True) as telegram:
        owner, gone, *readers = [telegram.add_user(f"Reader {number}") for number in range(READERS + 2)]
        settings = {"owner": owner.id, "readers": [reader.id for reader in (gone, *readers)]}
        bot = {"handler": "news:handle", "rate_limit": "telegram", "settings": settings}
        folder = tmp_path / "fleet"
        folder.mkdir()
        with running(folder, {"bots": {"news": bot}}, telegram=telegram) as fleet:
            sim = fleet.sim_bot()
            for reader in readers:
                telegram.do(reader.start, sim)
            telegram.do(gone.start, sim)
            telegram.do(gone.block, sim)
            fleet.settled()
            telegram.say(owner, sim, "News!")
            for reader in readers:
                assert telegram.expect(reader, sim, 30.0)["text"] == "News!"
            fleet.settled()
            calls = telegram.do(telegram.world.calls_of, "sendMessage")
            assert sorted({call.error_code or 0 for call in calls}) == [0, 403]
            assert len(calls) == READERS + 1
            assert fleet.command("dlq", "list", "--json").stdout.strip() == "[]"
"""
OURS = {"test_album.py": ALBUM, "test_broadcast.py": BROADCAST}


@pytest.fixture
def folder(tmp_path):
    """A folder with the files that the documents show."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(file_block(text, "python", name))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "passed"),
    [
        ("test_handle.py", 1),
        ("test_reminder.py", 1),
        ("test_hello.py", 1),
        ("test_short.py", 3),
        ("test_pays.py", 1),
        *((name, 1) for name in OURS),
    ],
)
def test_an_example_works_as_it_is_shown(fresh, folder, name, passed):
    """The tests of the page, and tests of the bots that the pages show."""
    if name in OURS:
        (folder / name).write_text(OURS[name])
    command = [fresh, "-m", "pytest", "-q", "-p", "no:cacheprovider", name]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{passed} passed" in result.stdout


def test_a_test_of_a_handler_has_ten_lines():
    """Lines with code: who tests a handler writes no more."""
    lines = file_block(page("testing.md"), "python", "test_handle.py").splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) <= 10


def test_the_bot_of_the_readme_runs_by_the_commands_of_the_readme(fresh, folder):
    """Its two files and its three commands, typed as they stand; only the way to the simulator is added."""
    (commands,) = [block for block in blocks(README.read_text(), "sh") if "trioworkers run" in block]
    assert commands.startswith(f"export HELLO_TOKEN={TOKEN}\n")
    fleet = file_block(README.read_text(), "toml", "fleet.toml")
    with TelegramThread() as telegram:
        ways = (
            f'[fleet]\napi_base = "{telegram.base_url}"\nruntime_dir = "run"\n[api]\nbind = "127.0.0.1:0"\n'
        )
        (folder / "fleet.toml").write_text(ways + fleet)
        bot, alice = telegram.add_bot("hello", token=TOKEN), telegram.add_user("Alice")
        environ = {"PATH": f"{fresh.parent}:{os.environ['PATH']}"}
        with open(folder / "output", "wb") as output:
            process = subprocess.Popen(
                ["bash", "-e", "-c", commands.replace("trioworkers run", "exec trioworkers run")],  # noqa: S607
                cwd=folder,
                env=environ,
                stdout=output,
                stderr=output,
            )
        try:
            telegram.say(alice, bot, "there")
            assert telegram.expect(alice, bot, 60.0)["text"] == "hi there"
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
    assert "fleet.toml: good, 1 bot" in (folder / "output").read_text()
