"""What a real daemon tells a service manager, from its start to its end; here the manager is the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from fleet_project import Project, until, zygote_of

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Iterator

HANG = """
import os, time
import trio
from trioworkers import hookimpl

@hookimpl
async def trioworkers_serve(daemon, plugin, task_status):
    task_status.started()
    while not os.path.exists("hang"):
        await trio.sleep(0.05)
    open("hangs", "w").close()
    time.sleep(3600)
"""
SLOW = """
import trio

async def handle(update, bot):
    await trio.sleep(3600)
"""


class Manager:
    """Systemd's side of the socket.

    Attributes:
        told: the fields of each message so far, `STATUS` and all.
    """

    def __init__(self, project: Project, listener: socket.socket) -> None:
        self.project = project
        self.told: list[dict[str, str]] = []
        self._listener = listener

    def hear(self) -> list[dict[str, str]]:
        """Take in what has come."""
        while True:
            try:
                data = self._listener.recv(9999).decode()
            except BlockingIOError:
                return self.told
            self.told.append(dict(line.split("=", 1) for line in data.splitlines()))

    def of(self, *names: str) -> list[dict[str, str]]:
        """The messages with one of these fields."""
        return [told for told in self.hear() if told.keys() & set(names)]

    def steps(self) -> list[str]:
        """The order of READY, RELOADING and STOPPING."""
        names = ("READY", "RELOADING", "STOPPING")
        return [name for told in self.hear() for name in names if told.get(name) == "1"]

    async def until(self, *steps: str) -> None:
        """Wait until these were the steps."""
        await until(lambda: self.steps() == [*steps])


@pytest.fixture
def manager(project: Project) -> Iterator[Manager]:
    """A service manager that the project's daemons report to."""
    path = project.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.setblocking(False)
        project.environ["NOTIFY_SOCKET"] = str(path)
        yield Manager(project, listener)


@contextmanager
def watched(project: Project, seconds: float) -> Iterator[None]:
    """Let daemons have a watchdog."""
    project.environ["WATCHDOG_USEC"] = str(round(seconds * 1_000_000))
    yield
    del project.environ["WATCHDOG_USEC"]


class Fleet:
    """One bot, and how its file is changed."""

    def __init__(self, project: Project, base: str, token: str) -> None:
        self._project = project
        self._base = base
        self._token = token

    def write(self, handler: str = "echo:handle", fleet: dict[str, Any] | None = None, **bot: Any) -> None:
        tables = {"fleet": {"watch": False, **(fleet or {})}}
        self._project.write(self._base, {"one": {"token": self._token, "handler": handler, **bot}}, **tables)


@pytest.fixture
async def fleet(project: Project, world: Telegram, nursery: trio.Nursery) -> Fleet:
    base = await nursery.start(serve_telegram, world)
    made = Fleet(project, base, world.add_bot("one").token)
    made.write()
    return made


async def test_start_reloads_and_stop_in_their_order(
    project: Project, manager: Manager, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """READY once all is there; each reload, good or bad, ends with READY; STOPPING comes last."""
    daemon = await project.start().ready()
    await manager.until("READY")
    (ready,) = manager.of("READY")
    assert ready["STATUS"] == "1 bot: 1 running; 0 updates waiting"

    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    fleet.write(concurrency=3)
    assert project.run("reload").returncode == 0
    # the command returns after the message, so that systemd does not take the next READY for another's
    assert manager.steps() == ["READY", "RELOADING", "READY"]
    (reloading,) = manager.of("RELOADING")
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    fleet.write(concurrency=-1)
    refused = project.run("reload", "--quiet")
    assert (refused.returncode, refused.stdout, refused.stderr) == (78, "", "")
    assert manager.steps() == ["READY", *["RELOADING", "READY"] * 2]
    status = manager.of("READY")[-1]["STATUS"]
    assert status.startswith("1 bot: 1 running; 0 updates waiting; the changed fleet is refused: ")
    assert "bots.one.concurrency" in status
    os.kill(daemon.process.pid, signal.SIGHUP)  # as systemd does with Type=notify-reload
    await manager.until("READY", *["RELOADING", "READY"] * 3)
    assert len(project.events("reload.refused")) == 1  # the same file, refused for the same reasons

    fleet.write()
    assert project.run("reload", "--quiet").returncode == 0
    assert "refused" not in manager.of("READY")[-1]["STATUS"]
    assert await daemon.stop() == 0
    assert manager.steps() == ["READY", *["RELOADING", "READY"] * 4, "STOPPING"]
    assert manager.of("STOPPING")[0]["STATUS"] == "stopping: 1 bot: 1 running; 0 updates waiting"
    nursery.cancel_scope.cancel()


async def test_a_watched_file_is_announced_when_it_changes_something(
    project: Project, manager: Manager, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """Not the look at the start, and not a file that says the same in other words."""
    fleet.write(fleet={"watch": True})
    daemon = await project.start().ready()
    fleet.write(fleet={"watch": True}, concurrency=3)
    await until(lambda: project.events("reload.applied"))
    await manager.until("READY", "RELOADING", "READY")
    fleet.write(fleet={"watch": True}, concurrency=-1)
    await manager.until("READY", *["RELOADING", "READY"] * 2)
    assert project.run("reload", "--quiet").returncode == 78
    assert len(project.events("reload.refused")) == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_bot_that_fails_is_a_verdict(
    project: Project, manager: Manager, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """Readiness waits neither for Telegram nor for bots that cannot run."""
    project.module("broken", "raise ValueError\n")
    fleet.write("broken:handle")
    daemon = await project.start().ready()
    assert manager.of("READY")[0]["STATUS"] == "1 bot: 1 failed; 0 updates waiting"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_stop_that_takes_long_asks_for_time(
    project: Project, manager: Manager, fleet: Fleet, world: Telegram, nursery: trio.Nursery
) -> None:
    """While it drains, so that TimeoutStopSec= need not know shutdown_timeout."""
    project.module("slow", SLOW)
    fleet.write("slow:handle", fleet={"shutdown_timeout": "8s"})
    daemon = await project.start().ready()
    await world.add_user("Alice").say(next(iter(world.bots.values())), "hello")

    async def in_flight() -> bool:
        return bool((await daemon.bot("one"))["queue"]["in_flight"])

    await until(in_flight)
    extended = len(manager.of("EXTEND_TIMEOUT_USEC"))  # of the start
    assert await daemon.stop() == 0
    assert len(manager.of("EXTEND_TIMEOUT_USEC")) - extended >= 2
    assert manager.steps() == ["READY", "STOPPING"]
    nursery.cancel_scope.cancel()


async def test_the_watchdog_is_fed_until_the_loop_hangs(
    project: Project, manager: Manager, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """Nothing is sent from a loop that a plugin holds; the signal of the watchdog leaves its stack."""
    (project.folder / "plugins").mkdir()
    (project.folder / "plugins" / "hang.py").write_text(HANG)
    with watched(project, 1):
        daemon = await project.start().ready()
    await until(lambda: len(manager.of("WATCHDOG")) >= 3)
    (project.folder / "hang").touch()
    await until((project.folder / "hangs").exists)
    fed = len(manager.of("WATCHDOG"))
    await trio.sleep(2)  # four periods: only time can show that nothing comes
    daemon.process.send_signal(signal.SIGABRT)
    assert await daemon.wait() == -signal.SIGABRT
    assert len(manager.of("WATCHDOG")) == fed
    assert 'hang.py", line' in project.log.read_text()
    nursery.cancel_scope.cancel()


async def test_a_zygote_that_hangs_is_found_and_replaced(
    project: Project, manager: Manager, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """The questions of the watchdog find it without a worker that has to start; meanwhile it is fed."""
    with watched(project, 1):
        daemon = await project.start().ready()
    zygote = zygote_of(daemon.process.pid)
    os.kill(zygote, signal.SIGSTOP)
    await until(lambda: project.events("zygote.exited"))
    await until(lambda: len(project.events("zygote.ready")) == 2)
    fed = len(manager.of("WATCHDOG"))
    await until(lambda: len(manager.of("WATCHDOG")) > fed)
    assert project.events("daemon.stalled") == []
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_what_is_the_managers_goes_to_no_worker(
    project: Project, manager: Manager, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """Neither zygote nor worker has the variables."""
    with watched(project, 20):
        daemon = await project.start().ready()
    for pid in (zygote_of(daemon.process.pid), (await daemon.bot("one"))["pid"]):
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in environ
        assert b"WATCHDOG" not in environ
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_sockets_of_systemd_socket_activate(
    project: Project, fleet: Fleet, nursery: trio.Nursery, unused_ports: tuple[int, int]
) -> None:
    """The API listens on what is handed over as `api`, at another address than `bind` names."""
    api, bound = unused_ports
    project.write("http://127.0.0.1:9", {}, api={"bind": f"127.0.0.1:{bound}"})
    words = ["systemd-socket-activate", f"--listen=127.0.0.1:{api}", "--fdname=api"]
    words += [f"--setenv={name}" for name in project.environ if name.isidentifier()]
    words += [sys.executable, "-m", "trioworkers.cli", "-c", str(project.file), "run"]
    with project.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - as the fixture does it
            words, stdout=log, stderr=log, cwd=project.folder, env=project.environ
        )
    try:
        async with httpx.AsyncClient(timeout=30) as client:

            async def answers() -> bool:
                try:
                    return (await client.get(f"http://127.0.0.1:{api}/ready")).status_code == 200
                except httpx.ConnectError:  # it does not listen yet
                    return False

            await until(answers)
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://127.0.0.1:{bound}/ready")
        process.terminate()
        with trio.fail_after(30):
            assert await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True) == 0
    finally:
        process.kill()
        process.wait()
    assert project.events("webhook.refused") == []
    nursery.cancel_scope.cancel()


@pytest.fixture
def unused_ports() -> tuple[int, int]:
    """Two ports that were free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
