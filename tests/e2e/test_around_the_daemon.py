"""What the daemon's surroundings mean for its bots: umask, a mark at the beginning of a file."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys

import pytest
import trio
from fleet_project import PATIENCE, Project, alive, until

from trioworkers.testing import Telegram, serve_telegram

WRITES = """
async def handle(update, bot):
    open("made", "w").close()
    await bot.send_message(chat_id=update.chat_id, text="made")
"""


@pytest.mark.parametrize("verb", ["run", "start"])
@pytest.mark.parametrize("worker_start", ["fork", "spawn"], indirect=True)
async def test_bots_have_the_umask_of_the_start(
    project: Project, world: Telegram, nursery: trio.Nursery, verb: str
) -> None:
    """What a bot writes can be read by whom its user lets; the daemon's own files by nobody else."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("writes")
    project.module("writes", WRITES)
    project.write(base, {"writes": {"token": bot.token, "handler": "writes:handle"}})
    project.environ["TRIOWORKERS_UMASK"] = "077"  # of a daemon around this one
    command = [sys.executable, "-m", "trioworkers.cli", "-c", str(project.file), verb]
    process = await trio.lowlevel.open_process(
        ["/bin/sh", "-c", 'umask 027; exec "$@"', "sh", *command], cwd=project.folder, env=project.environ
    )
    pid = process.pid
    try:
        await until(project.control.exists)
        alice = world.add_user("Alice")
        await alice.say(bot, "hello")
        assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "made"
        if verb == "start":
            await process.wait()
            status = await trio.to_thread.run_sync(project.run, "status", "--json")
            pid = json.loads(status.stdout)["fleet"]["pid"]
        assert stat.S_IMODE((project.folder / "made").stat().st_mode) == 0o640
        own = [project.database, *(project.folder / "state" / "logs").iterdir()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in own} == {0o600}
        os.kill(pid, signal.SIGTERM)
        await until(lambda: not alive(pid))
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
        await process.wait()
    nursery.cancel_scope.cancel()


async def test_files_of_an_editor_on_windows_are_read(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A byte-order mark before the fleet file, a file of `fleet.d`, a token and a handler."""
    base = await nursery.start(serve_telegram, world)
    bots = [world.add_bot(name) for name in ("one", "two")]
    project.write(base, {"one": {"token": {"file": "token"}, "handler": "echo:handle"}})
    (project.folder / "token").write_text(f"{bots[0].token}\r\n")
    (project.folder / "fleet.d").mkdir()
    (project.folder / "fleet.d" / "two.toml").write_text(
        f'[bots.two]\r\ntoken = "{bots[1].token}"\r\nhandler = "echo:handle"\r\n'
    )
    for name in ("fleet.toml", "token", "fleet.d/two.toml", "echo.py"):
        path = project.folder / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        path.chmod(0o600)
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    for bot in bots:
        await alice.say(bot, "hello")
        assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
