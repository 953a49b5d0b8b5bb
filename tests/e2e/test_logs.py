"""The logs of a whole fleet: what stands in which file, rotated, moved away, and read with `logs`."""

from __future__ import annotations

import json
import signal
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fleet_project import Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import trio

CHATTY = """
async def handle(update, bot):
    for number in range(400):
        print("line", update.text, number)
    bot.log.warning("done", update=update.update_id)
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""


async def test_the_daemons_log_is_a_file_too_and_can_be_moved_away(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """As JSON, the same lines as on standard error; USR1 is answered in the new file; the end is in it."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.write(
        base, {"one": {"token": bot.token, "handler": "echo:handle"}}, log={"summary_interval": "1s"}
    )
    daemon = await project.start().ready()
    user = world.add_user("U")
    user.send(bot, "hi")
    await until(lambda: sum(line["done"] for line in project.events("daemon.summary")))
    master = project.folder / "state" / "logs" / "master.log"
    assert stat.S_IMODE(master.stat().st_mode) == 0o600
    moved = master.with_name("yesterday")
    master.rename(moved)
    daemon.process.send_signal(signal.SIGUSR1)
    await until(lambda: project.events("log.reopened"))
    assert await daemon.stop() == 0
    lines = [*moved.read_text().splitlines(), *master.read_text().splitlines()]
    assert lines == [line for line in project.log.read_text().splitlines() if line.startswith("{")]
    events = [json.loads(line)["event"] for line in master.read_text().splitlines()]
    assert "log.reopened" in events
    assert events[-1] == "daemon.stopped"
    summaries = project.events("daemon.summary")
    assert sum(line["accepted"] for line in summaries) == 1
    assert sum(line["done"] for line in summaries) == 1
    shown = project.run("logs", "-n", "1")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "daemon.stopped" in shown.stdout
    nursery.cancel_scope.cancel()


async def test_a_bots_log_is_rotated_without_loss_and_its_file_is_closed(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Whatever it prints can be read with `logs BOT`, in order; the daemon holds none of the files open."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("chatty", CHATTY)
    project.write(
        base,
        {"one": {"token": bot.token, "handler": "chatty:handle"}},
        log={"max_size": "4KB", "keep": 100},
    )
    daemon = await project.start().ready()
    user = world.add_user("U")
    texts = [str(number) for number in range(5)]
    for text in texts:
        user.send(bot, text)
    await until(lambda: len(project.run("logs", "one", "-n", "5000", "--json").stdout.splitlines()) >= 2005)
    folder = project.folder / "state" / "logs"
    assert len(list(folder.glob("worker_one.log.*"))) > 1
    assert [path for path in _held(daemon.process.pid) if path.startswith(str(folder))] == []
    assert await daemon.stop() == 0
    lines = project.run("logs", "one", "-n", "5000", "--json").stdout.splitlines()
    printed = [line for line in lines if line.startswith("line ")]
    assert printed == [f"line {text} {number}" for text in texts for number in range(400)]
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    assert [line["level"] for line in logged if line["event"] == "done"] == ["warn"] * 5
    nursery.cancel_scope.cancel()


def _held(pid: int) -> list[str]:
    """What a process has open; what it closes meanwhile is left out."""
    held = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            held.append(str(link.readlink()))
    return held
