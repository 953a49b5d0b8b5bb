"""A worker's life with real processes: what runs around it, its time limits, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio
from fleet_project import PATIENCE, Project, alive, children_of, until, workers_of

from trioworkers.testing import Telegram, serve_telegram

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


pytestmark = pytest.mark.parametrize("worker_start", ["fork", "spawn"], indirect=True)


def cpu_seconds(pid: int) -> float:
    """What a process has used of a processor (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
    await until(lambda: not alive(child))
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
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "attempt 1"
    (retried,) = project.events("update.retried")
    assert retried["error"].startswith("took longer than 0.3 s at slow.py:")
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
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "attempt 0"
    assert project.tally(bot)["retried"] == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_death_is_noticed_while_a_child_holds_the_channel(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A forked child keeps the worker's socket open; the worker's end is its end all the same."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("forks")
    project.module(
        "forks",
        "import os, time\n"
        "async def handle(update, bot):\n"
        "    if update.attempt == 0 and os.fork() == 0: time.sleep(300)\n"
        "    if update.attempt == 0: os.kill(os.getpid(), 9)\n"
        "    await bot.send_message(chat_id=update.chat_id, text=update.text)\n",
    )
    quick = {"restart": {"initial": "10ms"}, "retry": {"initial": "10ms"}}
    project.write(base, {"forks": {"token": bot.token, "handler": "forks:handle", **quick}})
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello"

    async def restarted() -> bool:  # the update is handled beside it, by a worker that may be the quicker one
        return bool((await daemon.bot("forks"))["restarts"])

    await until(restarted)
    row = await daemon.bot("forks")
    assert (row["restarts"], row["last_exit"]["signal"]) == (1, "SIGKILL")
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_retry_that_is_due_while_all_hands_are_full_costs_nothing(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The daemon waits for a free hand; it does not ask for one over and over."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("full")
    project.module(
        "full",
        "import trio\n"
        "async def handle(update, bot):\n"
        "    if update.text == 'fail': raise ValueError\n"
        "    await trio.sleep(3600)\n",
    )
    limits = {"concurrency": 2, "retry": {"attempts": 3, "initial": "10ms"}, "poll_timeout": 50}
    project.write(base, {"full": {"token": bot.token, "handler": "full:handle", **limits}})
    daemon = await project.start().ready()
    people = [world.add_user(f"Person{number}") for number in range(3)]
    people[0].send(bot, "wait")
    people[1].send(bot, "fail")
    people[2].send(bot, "wait")

    async def full() -> bool:
        queue = (await daemon.bot("full"))["queue"]
        return bool(queue["in_flight"] == 2 and queue["retry"] == 1)

    await until(full)
    before = cpu_seconds(daemon.process.pid)
    await trio.sleep(2)
    assert cpu_seconds(daemon.process.pid) - before < 1, "it spins"
    assert await daemon.stop(signal.SIGQUIT, 10) == 0
    nursery.cancel_scope.cancel()


async def test_a_bot_that_is_refused_while_its_worker_starts_stays_failed(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """401 comes while the second worker is in its `start`: no worker is left, and none comes back."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("twice")
    project.module(
        "twice",
        "import pathlib, trio\n"
        "async def start(bot):\n"
        "    mark = pathlib.Path('started')\n"
        "    if mark.exists(): await trio.sleep(3600)\n"
        "    mark.touch()\n"
        "async def handle(update, bot): ...\n",
    )
    limits = {"restart": {"initial": "10ms"}, "poll_timeout": 1}
    project.write(base, {"twice": {"token": bot.token, "handler": "twice:handle", **limits}})
    daemon = await project.start().ready()
    (first,) = workers_of(daemon.process.pid)
    os.kill(first, signal.SIGKILL)
    await until(lambda: workers_of(daemon.process.pid) not in ([], [first]))
    world.revoke(bot)

    async def parked() -> bool:
        row = await daemon.bot("twice")
        return row["state"] == "failed" and row["pid"] is None

    await until(parked)
    assert (await daemon.bot("twice"))["reason"] == "token refused"
    assert workers_of(daemon.process.pid) == []
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
