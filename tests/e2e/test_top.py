"""`trioworkers top` on a terminal of its own, with a real daemon: keys, a daemon that dies, sizes, pipes."""

from __future__ import annotations

import codecs
import json
import os
import re
import signal
import subprocess
import sys
import termios
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from fleet_project import until

from trioworkers.testing import Telegram, serve_telegram
from trioworkers.top.terminal import ENTER, LEAVE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fleet_project import Daemon, Project

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[[0-9;]*(?<![0-9])[34][0-7][0-9;]*m")
FRAME = "\x1b[H"


class Screen:
    """A pseudo-terminal, and what a program has drawn on it."""

    def __init__(self) -> None:
        self.ours, self.theirs = os.openpty()
        self.resize(24, 100)
        self.attributes = termios.tcgetattr(self.theirs)
        self.drawn = ""
        self.process: subprocess.Popen[bytes] | None = None

    def resize(self, lines: int, columns: int) -> None:
        """Another size, as when a person drags the window."""
        termios.tcsetwinsize(self.theirs, (lines, columns))

    def start(self, project: Project, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trioworkers.cli", "-c", str(project.file), "top"],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env={**project.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environ},
            start_new_session=True,
        )

    async def read(self) -> None:
        """Take in what is drawn, until cancelled."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        while True:
            await trio.lowlevel.wait_readable(self.ours)
            self.drawn += decoder.decode(os.read(self.ours, 65536))

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    @property
    def lines(self) -> list[str]:
        """The lines of the last whole frame."""
        frames = self.drawn.split(FRAME)
        return [line.rstrip() for line in ESCAPES.sub("", frames[-2] if len(frames) > 2 else "").splitlines()]

    async def shows(self, what: str | Callable[[list[str]], bool]) -> list[str]:
        """Wait for a frame that has this somewhere; its lines."""

        def found() -> list[str]:
            lines = self.lines
            wanted = any(what in line for line in lines) if isinstance(what, str) else what(lines)
            return lines if wanted else []

        try:
            lines: list[str] = await until(found)
        except trio.TooSlowError:
            raise AssertionError(self.drawn[-4000:]) from None
        return lines


@asynccontextmanager
async def screen(project: Project, **environ: str) -> AsyncIterator[Screen]:
    """Run `top` on a terminal."""
    made = Screen()
    made.start(project, **environ)
    assert made.process is not None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.read)
            yield made
            nursery.cancel_scope.cancel()
    finally:
        if made.process.poll() is None:
            made.process.kill()
        made.process.wait()
        os.close(made.ours)
        os.close(made.theirs)


@pytest.fixture
async def daemon(project: Project, world: Telegram, nursery: trio.Nursery) -> Daemon:
    """A daemon with the bots `one` and `two`."""
    base = await nursery.start(serve_telegram, world)
    bots = {name: {"token": world.add_bot(name).token, "handler": "echo:handle"} for name in ("one", "two")}
    project.write(base, bots)
    return await project.start().ready()


def row(name: str, *words: str) -> Callable[[list[str]], bool]:
    """Whether a bot's row has these words."""
    return lambda lines: any(
        line[2:].startswith(f"{name} ") and all(word in line for word in words) for line in lines
    )


async def test_keys_steer_the_fleet_and_the_screen(
    project: Project, daemon: Daemon, nursery: trio.Nursery
) -> None:
    """Pause, resume, restart, filter, a page, another size; at the end the terminal is as it was."""
    async with screen(project) as top:
        await top.shows(row("two", "running"))
        top.press("s")  # by name
        await top.shows("bot v")
        top.press("\x1b[H")
        await top.shows(lambda lines: any(line.startswith("> one ") for line in lines))
        top.press("p")
        await top.shows(row("one", "paused"))
        assert (await daemon.bot("one"))["paused"]
        top.press("p")
        await top.shows("one goes on")
        await top.shows(row("one", "running"))
        pid = (await daemon.bot("one"))["pid"]
        top.press("r")
        await top.shows("restart one? y: yes")
        top.press("y")
        await top.shows("one was restarted")
        assert (await daemon.bot("one"))["pid"] != pid
        top.press("/tw\r")
        await top.shows(lambda lines: row("two")(lines) and not row("one")(lines))
        top.press("\r")
        await top.shows(" it works")
        top.press("\x1b")
        await top.shows("filter: tw")
        top.press("\x1b")
        await top.shows(row("one"))
        top.resize(12, 50)
        assert top.process is not None
        top.process.send_signal(signal.SIGWINCH)
        await top.shows(lambda lines: len(lines) == 12 and max(map(len, lines)) <= 50)
        top.press("q")
        assert await trio.to_thread.run_sync(top.process.wait) == 0
        await until(lambda: LEAVE in top.drawn)
        assert top.drawn.startswith(ENTER)
        assert COLOURS.search(top.drawn)
        assert termios.tcgetattr(top.theirs) == top.attributes
    await daemon.stop()
    nursery.cancel_scope.cancel()


async def test_it_goes_on_over_a_daemon_that_is_killed_and_started_again(
    project: Project, daemon: Daemon, nursery: trio.Nursery
) -> None:
    """It says that it is offline, keeps what it knew, and says that the daemon was restarted."""
    async with screen(project, NO_COLOR="1") as top:
        await top.shows(row("one", "running"))
        daemon.process.kill()
        await daemon.wait()
        lines = await top.shows("OFFLINE: ")
        assert row("one", "running")(lines)
        daemon = await project.start().ready()
        await top.shows("the daemon was restarted: pid")
        await top.shows(lambda lines: not any("OFFLINE" in line for line in lines))
        assert not COLOURS.search(top.drawn)
        assert top.process is not None
        top.process.send_signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(top.process.wait) == 0
        await until(lambda: LEAVE in top.drawn)
    await daemon.stop()
    nursery.cancel_scope.cancel()


async def test_in_a_pipe_it_prints_a_table_or_messages(
    project: Project, daemon: Daemon, nursery: trio.Nursery
) -> None:
    """As often as it is told, and then it ends."""

    async def run(*words: str) -> Any:
        return await trio.to_thread.run_sync(lambda: project.run("top", *words))

    table = await run()
    assert table.returncode == 0, table.stderr
    assert row("one", "running")(table.stdout.splitlines())
    assert "\x1b" not in table.stdout
    twice = await run("--times", "2")
    assert sum("bot, by trouble" in line for line in twice.stdout.splitlines()) == 2
    messages = await run("--json", "--times", "1")
    first, second = map(json.loads, messages.stdout.splitlines())
    assert first == {"type": "online"}
    assert [worker["bot"] for worker in second["data"]["workers"]] == ["one", "two"]
    await daemon.stop()
    nothing = await run()
    assert nothing.returncode == 69
    assert "no daemon is running" in nothing.stderr
    nursery.cancel_scope.cancel()
