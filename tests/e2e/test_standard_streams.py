"""The daemon's standard streams as whoever starts it has left them, and what workers write to theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from fleet_project import PATIENCE, Project, until, workers_of

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trio

    from trioworkers.testing import SimBot

PRINTS = """
import os, signal, sys

async def handle(update, bot):
    print("日本", "\\udce9", update.attempt)
    print("an error: é", file=sys.stderr)
    if update.text == "kill":
        sys.stdout.write("begun")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if update.text == "crash":
        import ctypes
        ctypes.string_at(0)
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The end of a pipe that takes nothing more, and that nobody reads."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    try:
        while True:
            os.write(writes, bytes(4096))
    except BlockingIOError:
        pass
    os.set_blocking(writes, True)
    yield writes
    os.close(reads)
    os.close(writes)


def start(
    project: Project, *words: str, redirection: str = "", stderr: int | None = None
) -> subprocess.Popen[bytes]:
    """Start the command by a shell, with streams as its redirection says."""
    command = [sys.executable, "-m", "trioworkers.cli", "-c", str(project.file), *words]
    return subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *command],
        cwd=project.folder,
        env=project.environ,
        stderr=stderr,
    )


async def ended(process: subprocess.Popen[bytes], seconds: float = 30) -> int:
    """Its exit code; it is killed when it does not end."""
    try:
        await until(lambda: process.poll() is not None, seconds)
    finally:
        process.kill()
    return process.returncode


async def works(project: Project, world: Telegram, bot: SimBot) -> None:
    """Wait until the bot answers."""
    alice = world.add_user("Alice")
    await until(project.control.exists)
    await alice.say(bot, "hello")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello"


async def a_fleet(project: Project, world: Telegram, nursery: trio.Nursery) -> SimBot:
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("echo")
    project.write(base, {"echo": {"token": bot.token, "handler": "echo:handle"}})
    return bot


@pytest.mark.parametrize("redirection", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
async def test_a_daemon_whose_streams_are_closed_runs(
    project: Project, world: Telegram, nursery: trio.Nursery, redirection: str
) -> None:
    """Its log is in master.log; no file of it, the database least of all, is a standard stream."""
    bot = await a_fleet(project, world, nursery)
    process = start(project, "run", redirection=redirection)
    try:
        await works(project, world, bot)
        places = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
        assert not any(str(project.folder) in place for place in places)
    finally:
        process.terminate()
        code = await ended(process)
    assert code == 0
    assert '"daemon.stopped"' in (project.folder / "state" / "logs" / "master.log").read_text()
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
async def test_a_daemon_whose_log_nobody_reads_ends(
    project: Project, world: Telegram, nursery: trio.Nursery, number: signal.Signals, full_pipe: int
) -> None:
    """QUIT writes the threads' stacks, too, from a signal's handler: it must not wait for a reader."""
    bot = await a_fleet(project, world, nursery)
    process = start(project, "run", stderr=full_pipe)
    try:
        await works(project, world, bot)
    finally:
        process.send_signal(number)
        code = await ended(process)
    assert code == 0
    nursery.cancel_scope.cancel()


async def test_a_command_that_fails_does_not_wait_for_a_reader(project: Project, full_pipe: int) -> None:
    """It has its exit code, whoever does not read why."""
    project.file.write_text("[fleet]\nnonsense = 1\n")
    assert await ended(start(project, "run", stderr=full_pipe)) == 78


@pytest.mark.parametrize("worker_start", ["fork", "spawn"], indirect=True)
async def test_what_a_worker_prints_is_in_its_log_at_once(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """In UTF-8 whatever the locale, without a flush, and of a worker that is killed amid a line, too."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("prints")
    project.module("prints", PRINTS)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    project.environ.update(ascii_only)
    quick = {"restart": {"initial": 0}, "retry": {"initial": 0}}
    project.write(base, {"prints": {"token": bot.token, "handler": "prints:handle", **quick}})
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello"
    log = project.folder / "state" / "logs" / "worker_prints.log"
    await until(lambda: log.exists() and "an error: é\n" in log.read_text())
    assert log.read_text() == "日本 \\udce9 0\nan error: é\n"
    await alice.say(bot, "kill")
    await until(lambda: len(project.events("update.dead")) == 1)
    assert log.read_text().count("begun") == 4  # once with others, it is thought, then alone
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("worker_start", ["fork", "spawn"], indirect=True)
async def test_a_native_crash_says_where_and_by_which_signal(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """In the log, the dead letter and the status, which shows the lines of that process alone."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("prints")
    project.module("prints", PRINTS)
    quick = {"restart": {"initial": 0, "per_hour": 100}, "retry": {"initial": 0}}
    project.write(base, {"prints": {"token": bot.token, "handler": "prints:handle", **quick}})
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    await alice.say(bot, "crash")
    await until(lambda: project.events("update.dead"))
    (letter,) = project.own.events("update.dead")
    assert letter["reason"] == "its worker died 3 times, last: the worker ended: SIGSEGV"

    async def crashed_first() -> dict[str, object] | None:
        last = (await daemon.bot("prints"))["last_exit"]
        return last if last is not None else None

    last = await until(crashed_first)
    assert last["signal"] == "SIGSEGV"
    assert last["stderr"][:2] == ["日本 \\udce9 0", "an error: é"]
    assert "Fatal Python error: Segmentation fault" in last["stderr"]
    assert any('prints.py", line 13 in handle' in line for line in last["stderr"])
    (worker,) = workers_of(daemon.process.pid)
    os.kill(worker, signal.SIGKILL)

    async def killed() -> list[str] | None:
        last = (await daemon.bot("prints"))["last_exit"]
        return [*last["stderr"], "that is all"] if last["signal"] == "SIGKILL" else None

    assert await until(killed) == ["that is all"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
