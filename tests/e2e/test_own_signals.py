"""A signal that goes to all processes of a fleet is the daemon's to hear."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from fleet_project import PATIENCE, Project, until, workers_of, zygote_of

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import trio

WAITS = """
import trio

async def handle(update, bot):
    open("begun", "w").close()
    await trio.sleep(1)
    await bot.send_message(chat_id=update.chat_id, text=f"{update.text} {update.attempt}")

async def stop(bot):
    open("stopped", "w").close()
"""

pytestmark = pytest.mark.parametrize("worker_start", ["fork", "spawn"], indirect=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_that_is_sent_to_all_processes_is_a_graceful_one(
    project: Project, world: Telegram, nursery: trio.Nursery, number: signal.Signals
) -> None:
    """As systemd does without KillMode=mixed: the handler ends its work, `stop` runs, the exit code is 0."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("one", WAITS)
    project.write(base, {"one": {"token": bot.token, "handler": "one:handle"}})
    daemon = await project.start().ready()
    pid = daemon.process.pid
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    await until((project.folder / "begun").exists)
    for one in (*workers_of(pid), zygote_of(pid), pid):
        os.kill(one, number)
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello 0"
    assert await daemon.wait() == 0
    assert (project.folder / "stopped").exists()
    (exited,) = project.events("worker.exited")
    assert exited["how"] == "exit code 0"
    nursery.cancel_scope.cancel()


async def test_a_request_that_is_sent_to_all_processes_ends_none(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A reload by HUP, reopened logs by USR1: as `systemctl kill -s HUP` does it."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("one", WAITS)
    project.write(base, {"one": {"token": bot.token, "handler": "one:handle"}})
    daemon = await project.start().ready()
    pid = daemon.process.pid
    before = zygote_of(pid), workers_of(pid)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        for one in (*workers_of(pid), zygote_of(pid), pid):
            os.kill(one, number)
    await until(lambda: project.events("log.reopened"))
    await world.add_user("Alice").say(bot, "hello")
    await until((project.folder / "begun").exists)
    assert (zygote_of(pid), workers_of(pid)) == before
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
