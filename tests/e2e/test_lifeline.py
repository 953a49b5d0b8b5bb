"""The daemon's violent end: nothing of it runs a second later, or at the latest once it is started again."""

from __future__ import annotations

import os
import signal

import pytest
import trio
from fleet_project import PATIENCE, Project, alive, until, workers_of, zygote_of

from trioworkers.testing import Telegram, serve_telegram

BLOCKS = """
import subprocess, sys

CHILD = (
    "import os, time; os.fork() and os._exit(0); os.setsid();"
    "print(os.getpid(), file=open('orphan', 'w'), flush=True); time.sleep(300)"
)

async def start(bot):
    subprocess.run([sys.executable, "-c", CHILD], check=True)

async def handle(update, bot):
    open("blocked", "w").close()
    while True: pass
"""

pytestmark = pytest.mark.parametrize("worker_start", ["fork", "spawn"], indirect=True)


async def start_blocked(project: Project, world: Telegram, base: str) -> tuple[int, int, int]:
    """A fleet whose worker holds up its loop and has a daemonised grandchild: zygote, worker, grandchild."""
    bot = world.add_bot("blocks")
    project.module("blocks", BLOCKS)
    project.write(base, {"blocks": {"token": bot.token, "handler": "blocks:handle"}})
    daemon = await project.start().ready()
    (worker,) = workers_of(daemon.process.pid)
    orphan = project.folder / "orphan"
    await until(lambda: orphan.exists() and orphan.read_text().strip())
    world.add_user("Alice").send(bot, "hello")
    await until((project.folder / "blocked").exists)
    return zygote_of(daemon.process.pid), worker, int(orphan.read_text())


async def test_nothing_outlives_a_killed_daemon(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Neither a worker whose loop is blocked nor a grandchild in a session of its own."""
    base = await nursery.start(serve_telegram, world)
    processes = await start_blocked(project, world, base)
    (daemon,) = project.daemons
    daemon.process.kill()
    await daemon.wait()
    await until(lambda: not any(map(alive, processes)))
    nursery.cancel_scope.cancel()


async def test_what_is_left_of_a_former_run_is_ended_at_the_start(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The zygote was killed, too, so nobody ended them; a process of somebody else is not touched."""
    base = await nursery.start(serve_telegram, world)
    zygote, *left = await start_blocked(project, world, base)
    (daemon,) = project.daemons
    os.kill(daemon.process.pid, signal.SIGSTOP)  # it would start another
    os.kill(zygote, signal.SIGKILL)
    daemon.process.kill()
    await daemon.wait()
    assert all(map(alive, left))
    project.write(base, {})
    another = await project.start().ready()
    assert not any(map(alive, left))
    assert await another.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_fleet_goes_on_when_its_zygote_dies(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The running worker answers, and so does the one that is started after it."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("echo")
    quick = {"restart": {"initial": "10ms"}, "retry": {"initial": "10ms"}}
    project.write(base, {"echo": {"token": bot.token, "handler": "echo:handle", **quick}})
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    (worker,) = workers_of(daemon.process.pid)
    os.kill(zygote_of(daemon.process.pid), signal.SIGKILL)
    await alice.say(bot, "one")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "one"
    assert workers_of(daemon.process.pid) == [worker]
    await until(lambda: project.tally(bot)["done"] == 1)  # before, it might be said again
    os.kill(worker, signal.SIGKILL)
    await alice.say(bot, "two")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "two"
    assert (await daemon.bot("echo"))["last_exit"]["signal"] == "SIGKILL"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


def test_a_fleet_that_cannot_be_forked_is_refused(project: Project, worker_start: str) -> None:
    """A module to preload that starts a thread: exit code 78 and its name. Spawned workers take none."""
    project.module("bad", "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n")
    project.write("http://127.0.0.1:1", {}, fleet={"preload": ["bad"]})
    if worker_start == "spawn":
        daemon = project.start()
        trio.run(daemon.ready)
        daemon.process.terminate()
        assert daemon.process.wait(20) == 0
        return
    done = project.run("run")
    assert done.returncode == 78
    problem = "fleet.preload: bad: importing it started a thread, expected a module that can be forked"
    assert done.stderr.splitlines()[-1] == f"trioworkers: {problem}"


def test_a_stop_is_heard_while_workers_cannot_be_forked_yet(project: Project, worker_start: str) -> None:
    """However long a module takes that is preloaded; the daemon leaves nothing behind."""
    if worker_start == "spawn":
        return
    project.module("slow", "import time\nopen('here', 'w').close()\ntime.sleep(600)\n")
    project.write(
        "http://127.0.0.1:1",
        {"echo": {"token": "1:a", "handler": "echo:handle"}},
        fleet={"preload": ["slow"]},
    )
    daemon = project.start()
    trio.run(until, (project.folder / "here").exists)
    daemon.process.terminate()
    assert daemon.process.wait(5) == 0
    assert not project.control.exists()
