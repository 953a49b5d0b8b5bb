"""Fleets whose folder has modules with the names of Python's, and whose code is saved twice in a second."""

from __future__ import annotations

import json
import os
import signal

import pytest
import trio
from fleet_project import PATIENCE, Project, alive, until

from trioworkers.testing import Telegram, serve_telegram

NAMES = (
    "secrets",
    "calendar",
    "queue",
    "logging",
    "email",
    "json",
    "random",
    "ssl",
    "uuid",
    "inspect",
    "trio",
)
BOT = """
from datetime import datetime

async def handle(update, bot):
    datetime.strptime("1", "%d")  # imports `calendar`
    await bot.send_message(chat_id=update.chat_id, text=WORD)
"""


@pytest.mark.parametrize("worker_start", ["fork", "spawn"], indirect=True)
async def test_modules_beside_the_fleet_file_hide_none_of_ours(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """`start`, called in the folder, begins the fleet, and the handler answers."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("echo")
    for name in NAMES:
        project.module(name, "raise RuntimeError('hidden')\n")
    project.module("bot", BOT + "WORD = 'one'\n")
    project.write(base, {"echo": {"token": bot.token, "handler": "bot:handle"}})
    started = await trio.to_thread.run_sync(project.run, "start")
    assert (started.returncode, started.stderr) == (0, "")
    status = await trio.to_thread.run_sync(project.run, "status", "--json")
    pid = json.loads(status.stdout)["fleet"]["pid"]
    try:
        alice = world.add_user("Alice")
        await alice.say(bot, "hello")
        assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "one"
        stopped = await trio.to_thread.run_sync(project.run, "stop")
        assert stopped.returncode == 0
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("worker_start", ["fork", "spawn"], indirect=True)
async def test_a_restart_runs_the_code_that_was_saved_last(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Also when both versions have one length and one time, as after `rsync -t`; preloaded modules, too."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("echo")
    project.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    project.write(base, {"echo": {"token": bot.token, "handler": "bot:handle"}}, fleet={"preload": ["words"]})

    def save(word: str) -> None:
        project.module("words", f"FIRST = {word[0]!r}\n")
        project.module("bot", f"from words import FIRST\nLAST = {word[1:]!r}\nWORD = FIRST + LAST\n{BOT}")
        for name in ("words", "bot"):
            os.utime(project.folder / f"{name}.py", (1_700_000_000, 1_700_000_000))

    save("one")
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    for word in ("one", "two", "six"):
        if word != "one":
            save(word)
            code = (await daemon.bot("echo"))["code"]
            restarted = await trio.to_thread.run_sync(project.run, "restart")
            assert restarted.returncode == 0, restarted.stderr
            assert (await daemon.bot("echo"))["code"] != code
        await alice.say(bot, "hello")
        assert (await alice.expect(bot, timeout=PATIENCE))["text"] == word
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_handler_with_a_name_of_pythons_is_told_so(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """In the status of its bot, and by `check`, with the file that was imported in its place."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("echo")
    project.module("queue", BOT)
    project.write(base, {"echo": {"token": bot.token, "handler": "queue:handle"}})
    dry = await trio.to_thread.run_sync(project.run, "run", "--dry-run")
    assert dry.returncode == 78
    assert f"hides {project.folder}/queue.py" in dry.stderr
    daemon = await project.start().ready()

    async def failed() -> bool:
        return str((await daemon.bot("echo"))["state"]) == "failed"

    await until(failed)
    assert f"hides {project.folder}/queue.py" in project.log.read_text()
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
