"""A daemon under control: it ends when it is told to, is alone in its folders, and is found by its client."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import trio
from fleet_project import Daemon, Project, alive, until, workers_of

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
MARGIN = 1.5  # seconds for the interpreter to end, and for the kill itself


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def stuff(peer: socket.socket) -> None:
    """Ask and never read, until the daemon cannot send and therefore reads no more."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    peer.setblocking(False)
    idle = 0
    with trio.fail_after(60):
        while idle < 10:
            try:
                peer.send(REQUEST * 20)
                idle = 0
            except BlockingIOError:
                idle += 1
                await trio.sleep(0.05)


async def stop_within(daemon: Daemon, seconds: float) -> None:
    began = time.monotonic()
    assert await daemon.stop(signal.SIGTERM, 60) == 0
    assert time.monotonic() - began < seconds + MARGIN


@pytest.mark.parametrize("where", ["127.0.0.1", "0.0.0.0", "control"])  # noqa: S104
async def test_a_peer_that_never_reads_does_not_keep_the_daemon_alive(
    project: Project, world: Telegram, nursery: trio.Nursery, where: str
) -> None:
    """TERM ends it with 0 within shutdown_timeout, on either kind of socket, and everything is closed."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    port = free_port()
    host = "127.0.0.1" if where == "control" else where
    project.write(
        base,
        {"one": {"token": bot.token, "handler": "echo:handle"}},
        fleet={"shutdown_timeout": "2s"},
        api={"bind": f"{host}:{port}"},
    )
    daemon = await project.start().ready()
    family = socket.AF_UNIX if where == "control" else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as peer:
        peer.connect(str(project.control) if where == "control" else ("127.0.0.1", port))
        await stuff(peer)
        await stop_within(daemon, 2)
    (told,) = project.events("daemon.stopped")
    assert told["level"] == "info", told  # not by the last resort
    assert not project.control.exists()
    nursery.cancel_scope.cancel()


async def test_a_second_int_cuts_a_peer_that_never_reads_off_at_once(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Haste reaches the web, too, however much time there is."""
    base = await nursery.start(serve_telegram, world)
    port = free_port()
    project.write(base, {}, fleet={"shutdown_timeout": "60s"}, api={"bind": f"127.0.0.1:{port}"})
    daemon = await project.start().ready()
    with socket.create_connection(("127.0.0.1", port)) as peer:
        await stuff(peer)
        daemon.process.send_signal(signal.SIGINT)
        await until(lambda: project.events("daemon.stopping"))
        began = time.monotonic()
        assert await daemon.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < MARGIN
    nursery.cancel_scope.cancel()


async def test_a_web_that_even_cancellation_does_not_end_is_left_behind(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The last resort: exit code 0 once everything is written, and a warning."""
    base = await nursery.start(serve_telegram, world)
    project.write(base, {}, fleet={"shutdown_timeout": "1s"})
    script = project.folder / "stubborn.py"
    script.write_text(
        "import trio\n"
        "from trioworkers.web import serve\n"
        "original = serve.serve_app\n"
        "async def stubborn(*args, task_status):\n"
        "    await original(*args, task_status=task_status)\n"
        "    with trio.CancelScope(shield=True):\n"
        "        await trio.sleep_forever()\n"
        "serve.serve_app = stubborn\n"
        "from trioworkers.cli import main\n"
        "main()\n"
    )
    with project.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - as the fixture does it
            [sys.executable, str(script), "-c", str(project.file), "run"],
            stdout=log, stderr=log, cwd=project.folder, env=project.environ,
        )  # fmt: skip
    try:
        await until(lambda: project.events("daemon.ready"))
        process.terminate()
        with trio.fail_after(10):
            code = await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)
    finally:
        process.kill()
        process.wait()
    assert code == 0
    (told,) = project.events("daemon.stopped")
    assert told["level"] == "warn"
    assert told["reason"] == "the API did not end and was left behind"
    assert not project.database.with_name("inbox.db-wal").exists()  # the store was closed
    nursery.cancel_scope.cancel()


STUBBORN = """
import os, signal, trio
async def handle(update, bot): pass
async def stop(bot):
    {how}
"""


@pytest.mark.parametrize("seconds", [0, 1, 3])
@pytest.mark.parametrize(
    "how",
    [
        "await trio.sleep(1000)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
    ],
    ids=["hangs", "hears nothing but KILL"],
)
async def test_a_stop_ends_within_its_timeout(
    project: Project, world: Telegram, nursery: trio.Nursery, seconds: int, how: str
) -> None:
    """All of it, whatever a bot's own `stop` does, and no process is left."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("one", STUBBORN.format(how=how))
    project.write(
        base,
        {"one": {"token": bot.token, "handler": "one:handle"}},
        fleet={"shutdown_timeout": seconds},
    )
    daemon = await project.start().ready()
    (worker,) = workers_of(daemon.process.pid)
    await stop_within(daemon, seconds)
    assert not alive(worker)
    nursery.cancel_scope.cancel()


async def test_two_fleets_do_not_share_a_runtime_dir(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The second is told who listens there, exit 75, and the first keeps its control socket."""
    base = await nursery.start(serve_telegram, world)
    project.write(base, {})
    daemon = await project.start().ready()
    project.write(base, {}, fleet={"state_dir": "other", "runtime_dir": "state/run"})
    second = await trio.to_thread.run_sync(project.run, "run")
    assert second.returncode == 75
    assert second.stderr.strip().endswith(
        f"another daemon listens on {project.control} (pid {daemon.process.pid})"
    )
    assert await daemon.ask() is not None
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_the_client_needs_nothing_but_the_runtime_dir(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Neither the tokens' variables nor a good file: the daemon's own terminal has these."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.environ["ONE_TOKEN"] = bot.token
    project.write(base, {"one": {"token": {"env": "ONE_TOKEN"}, "handler": "echo:handle"}})
    daemon = await project.start().ready()
    del project.environ["ONE_TOKEN"]
    for edit in ("", '\n[bots.two]\ntoken = 5\nnonsense = "x"\n', "\n[bots.three\n= = =\n"):
        with project.file.open("a") as file:
            file.write(edit)
        told = await trio.to_thread.run_sync(project.run, "status", "--json")
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout)["workers"][0]["bot"] == "one"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_an_api_port_in_use_names_its_setting(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Exit 75, one line; nothing of the other is touched, and the lock is free again."""
    base = await nursery.start(serve_telegram, world)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        project.write(base, {}, api={"bind": f"127.0.0.1:{port}"})
        result = await trio.to_thread.run_sync(project.run, "run")
    assert result.returncode == 75
    expected = f"cannot listen on 127.0.0.1:{port}: address already in use; [api] bind names another address"
    assert result.stderr == f"trioworkers: {expected}\n"
    assert not project.control.exists()
    nursery.cancel_scope.cancel()


def open_folder(folder: Path) -> None:
    make_folder(folder.parent)
    folder.mkdir()
    folder.chmod(0o777)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it so that nobody else can write there, whatever the umask is."""
    for each in (*reversed(folder.parents), folder):
        each.mkdir(mode=0o700, exist_ok=True)


@pytest.mark.parametrize("place", ["state", "state/run", "state/logs"])
def test_a_folder_that_others_can_write_is_refused(project: Project, place: str) -> None:
    """Exit 77 and the command that mends it; the folder stays as it is."""
    project.write("http://127.0.0.1:1", {})
    folder = project.folder / place
    open_folder(folder)
    result = project.run("run")
    assert result.returncode == 77
    assert result.stderr.endswith(f": chmod go-w {folder}\n")
    assert result.stderr.count("\n") == 1
    assert folder.stat().st_mode & 0o777 == 0o777


def test_a_token_that_others_can_read_is_refused(project: Project) -> None:
    """Exit 77, and the daemon neither uses nor changes it."""
    project.write("http://127.0.0.1:1", {})
    kept = project.folder / "state" / "run" / "api-token"
    make_folder(kept.parent)
    kept.write_text("known\n")
    kept.chmod(0o644)
    result = project.run("run")
    assert result.returncode == 77
    assert "Traceback" not in result.stderr
    assert str(kept) in result.stderr
    assert kept.read_text() == "known\n"


def test_a_state_dir_that_is_a_file_is_told_in_one_line(project: Project) -> None:
    """Exit 1, the path and the reason."""
    project.write("http://127.0.0.1:1", {})
    (project.folder / "state").touch()
    result = project.run("run")
    assert result.returncode == 1
    assert result.stderr == f"trioworkers: {project.folder / 'state'}: file exists\n"
