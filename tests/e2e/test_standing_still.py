"""A machine that is frozen or put to sleep: nobody is taken for hung, and nothing has used up its time."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import trio
from fleet_project import PATIENCE, Daemon, Project, children_of, until, workers_of, zygote_of

from trioworkers.testing import Telegram, serve_telegram

WAITS = """
import trio

async def handle(update, bot):
    open("begun", "a").close()
    await trio.sleep(1)
    await bot.send_message(chat_id=update.chat_id, text=f"{update.text} {update.attempt}")
"""
QUICK: dict[str, Any] = {
    "heartbeat_interval": "200ms",
    "hang_timeout": "2s",
    "handler_timeout": "3s",
    "restart": {"initial": 0, "per_hour": 1000},
    "retry": {"initial": "10ms", "max": "50ms", "deadline": "4s"},
}
FROZEN = 6.0  # seconds


async def freeze(daemon: Daemon, *, all_of_them: bool, daemon_first: bool = True) -> None:
    """Stop the daemon, or all of its processes as the freezer does, for longer than any time limit."""
    pid = daemon.process.pid
    pids = [pid, zygote_of(pid), *workers_of(pid)] if all_of_them else [pid]
    for one in pids:
        os.kill(one, signal.SIGSTOP)
    await trio.sleep(FROZEN)
    for one in pids if daemon_first else reversed(pids):
        os.kill(one, signal.SIGCONT)


@pytest.mark.parametrize("what", ["daemon first", "workers first", "the daemon alone"])
async def test_nothing_is_killed_or_late_when_all_stand_still(
    project: Project, world: Telegram, nursery: trio.Nursery, what: str
) -> None:
    """The update in flight is answered at its first attempt, by the worker that had it."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("one", WAITS)
    project.write(base, {"one": {"token": bot.token, "handler": "one:handle", **QUICK}})
    daemon = await project.start().ready()
    pid = daemon.process.pid
    before = children_of(pid), workers_of(pid)
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    await until((project.folder / "begun").exists)
    await freeze(daemon, all_of_them=what != "the daemon alone", daemon_first=what != "workers first")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello 0"
    away = await until(lambda: project.events("daemon.away"))
    assert away[-1]["seconds"] > FROZEN / 2
    await alice.say(bot, "again")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "again 0"
    assert (children_of(pid), workers_of(pid)) == before
    names = {event["event"] for event in project.own.events()}
    assert not names & {"worker.hung", "worker.exited", "zygote.exited", "update.retried", "update.dead"}
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
