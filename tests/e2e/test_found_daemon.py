"""Commands find the daemon of a fleet file wherever its folders are, and no second one begins beside it."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from fleet_project import Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

DIRECTORIES = {"STATE_DIRECTORY": "lib", "RUNTIME_DIRECTORY": "run", "LOGS_DIRECTORY": "log"}


async def run(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return await trio.to_thread.run_sync(partial(project.run, *words))


@pytest.fixture
def unit(project: Project) -> Iterator[None]:
    """The daemon's environment is a unit's, with folders of its own; that of commands is a terminal's."""
    folders = {variable: project.folder / "unit" / name for variable, name in DIRECTORIES.items()}
    for folder in folders.values():
        folder.mkdir(parents=True, mode=0o700)
    project.environ.update({variable: str(folder) for variable, folder in folders.items()})
    project.own.control = project.control = folders["RUNTIME_DIRECTORY"] / "control.sock"
    yield
    for variable in folders:
        project.environ.pop(variable, None)


def to_a_terminal(project: Project) -> None:
    for variable in DIRECTORIES:
        del project.environ[variable]


async def test_every_command_finds_a_daemon_whose_unit_says_where_its_folders_are(
    project: Project, world: Telegram, nursery: trio.Nursery, unit: None
) -> None:
    """Also where an earlier daemon left its files beside the fleet file; a second daemon is refused."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.write(base, {"one": {"token": bot.token, "handler": "echo:handle"}})
    daemon = await project.start().ready()
    to_a_terminal(project)
    left = project.folder / "state" / "run" / "control.sock"
    for stray in (False, True):
        if stray:
            left.parent.mkdir(parents=True, mode=0o700)
            left.touch()
            (project.folder / "state" / "logs").mkdir()
        for words in (["status"], ["bots", "list"], ["reload"], ["dlq", "list"], ["logs"]):
            done = await run(project, *words)
            assert (words, done.returncode, done.stderr) == (words, 0, "")
        assert "daemon.ready" in (await run(project, "logs")).stdout
        before = set(project.folder.rglob("state/*"))
        for verb in ("start", "run"):
            second = await run(project, verb)
            assert (verb, second.returncode) == (verb, 75), second.stderr
            assert f"pid {daemon.process.pid}" in second.stderr
            if verb == "start":
                assert set(project.folder.rglob("state/*")) == before  # nothing was made for it
    assert (await run(project, "stop")).returncode == 0
    assert await daemon.wait() == 0
    assert (await run(project, "status")).returncode == 3
    nursery.cancel_scope.cancel()


async def test_a_daemon_that_stands_still_is_no_reason_for_a_second_one(
    project: Project, world: Telegram, nursery: trio.Nursery, unit: None
) -> None:
    """It answers nobody, and the commands say so with its number."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.write(base, {"one": {"token": bot.token, "handler": "echo:handle"}})
    daemon = await project.start().ready()
    to_a_terminal(project)
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        for verb, code in (("start", 75), ("run", 75), ("status", 69)):
            done = await run(project, verb)
            assert (verb, done.returncode) == (verb, code), done.stderr
            assert f"pid {daemon.process.pid}" in done.stderr
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
    await until(partial(run, project, "status"))
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_one_file_serves_two_fleets_with_other_tokens(
    project: Project, world: Telegram, nursery: trio.Nursery, unit: None
) -> None:
    """By their environments: each has its own bots, so neither is in the way of the other."""
    base = await nursery.start(serve_telegram, world)
    bots = world.add_bot("one"), world.add_bot("two")
    project.write(base, {"one": {"token": {"env": "THE_TOKEN"}, "handler": "echo:handle"}})
    project.environ["THE_TOKEN"] = bots[0].token
    first = await project.start().ready()
    to_a_terminal(project)
    project.control = project.folder / "state" / "run" / "control.sock"
    project.environ["THE_TOKEN"] = bots[1].token
    second = await project.start().ready()
    assert await second.stop() == 0
    project.environ["THE_TOKEN"] = bots[0].token
    third = project.start()
    assert await third.wait() == 75
    assert await first.stop() == 0
    nursery.cancel_scope.cancel()
