"""A worker's life with real processes: what runs around it, its time limits, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from fleet_project import Project, alive, until, workers_of

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import trio

PARENT = """
import subprocess, sys

async def start(bot):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    bot.log.info("child", pid=child.pid)

async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""
AROUND = """
async def start(bot):
    await bot.call("setMyCommands", commands=[{"command": "start", "description": bot.settings["about"]}])

async def stop(bot):
    await bot.call("setMyCommands", commands=[])

async def handle(update, bot):
    pass
"""
SLOW = """
import trio

async def handle(update, bot):
    if update.attempt == 0:
        await trio.sleep(60)
    await bot.send_message(chat_id=update.chat_id, text=f"attempt {update.attempt}")
"""
PATIENT = """
async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=f"attempt {update.attempt}")
"""


def children_of(worker: int) -> list[int]:
    """What a worker has started."""
    return workers_of(worker)


@pytest.mark.parametrize("way", ["crash", "stop", "daemon killed"])
async def test_what_a_worker_started_ends_with_it(
    project: Project, world: Telegram, nursery: trio.Nursery, way: str
) -> None:
    """A child in the worker's group is gone after a crash, after a stop, and after the daemon's own end."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("parent")
    project.module("parent", PARENT)
    slow = {"initial": "20s", "max": "30s"}
    project.write(base, {"parent": {"token": bot.token, "handler": "parent:handle", "restart": slow}})
    daemon = await project.start().ready()
    (worker,) = workers_of(daemon.process.pid)
    (child,) = children_of(worker)
    if way == "crash":
        os.kill(worker, signal.SIGKILL)
    elif way == "stop":
        assert await daemon.stop() == 0
    else:
        daemon.process.kill()
        await daemon.wait()
    await until(lambda: not alive(child), 3)
    if way == "crash":
        assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_start_runs_before_and_stop_after_all_handling(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Both may call the Bot API and see the settings."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("around")
    project.module("around", AROUND)
    settings = {"about": "says hello"}
    project.write(base, {"around": {"token": bot.token, "handler": "around:handle", "settings": settings}})
    daemon = await project.start().ready()
    (call,) = world.calls_of("setMyCommands")
    assert call.params["commands"][0]["description"] == "says hello"
    assert await daemon.stop() == 0
    assert [len(call.params["commands"]) for call in world.calls_of("setMyCommands")] == [1, 0]
    nursery.cancel_scope.cancel()


async def test_a_handler_that_takes_too_long_is_cancelled_and_retried(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """`handler_timeout` ends the first attempt; the second one answers."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("slow")
    project.module("slow", SLOW)
    limits = {"handler_timeout": "300ms", "retry": {"initial": "10ms"}}
    project.write(base, {"slow": {"token": bot.token, "handler": "slow:handle", **limits}})
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    assert (await alice.expect(bot, timeout=20))["text"] == "attempt 1"
    (retried,) = project.events("update.retried")
    assert retried["error"] == "took longer than 0.3 s"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_wait_that_telegram_asks_for_is_no_attempt(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """429 for longer than the handling has: the update comes again after it, still as its first attempt."""
    from trioworkers.testing import faults

    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("patient")
    project.module("patient", PATIENT)
    project.write(
        base, {"patient": {"token": bot.token, "handler": "patient:handle", "handler_timeout": "500ms"}}
    )
    world.faults.add(respond=faults.too_many_requests(1), method="sendMessage", times=1)
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    assert (await alice.expect(bot, timeout=20))["text"] == "attempt 0"
    assert project.tally(bot)["retried"] == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
