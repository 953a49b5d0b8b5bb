"""The daemon's folders are removed under it: it goes on, it is found, it stays alone, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from fleet_project import Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

PEOPLE = 4
SLOW = """
import trio
async def handle(update, bot):
    await trio.sleep(0.05)
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""


async def run(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return await trio.to_thread.run_sync(partial(project.run, *words))


def removed(state: Path) -> None:
    shutil.rmtree(state, ignore_errors=True)  # the daemon may put something back meanwhile


def moved_away(state: Path) -> None:
    state.rename(state.with_name("elsewhere"))


def emptied(state: Path) -> None:
    """As `rsync --delete` does it: folders may stay."""
    for path in sorted(state.rglob("*"), reverse=True):
        if not path.is_dir():
            path.unlink(missing_ok=True)


def replaced(state: Path) -> None:
    """A deploy puts another one there."""
    moved_away(state)
    state.mkdir(mode=0o700)


WAYS = [removed, moved_away, emptied, replaced]


@pytest.mark.parametrize("lose", WAYS)
async def test_a_state_folder_that_is_removed_under_load_loses_nothing(
    project: Project, world: Telegram, nursery: trio.Nursery, lose: Callable[[Path], None]
) -> None:
    """Every message is answered once and in order, before and after a SIGKILL; the trouble is reported."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("slow", SLOW)
    project.write(base, {"one": {"token": bot.token, "handler": "slow:handle"}})
    daemon = await project.start().ready()
    people = [world.add_user(f"Person {number}") for number in range(PEOPLE)]
    sent = 0

    def say() -> None:
        nonlocal sent
        for person in people:
            person.send(bot, str(sent))
        sent += 1

    async def answered(count: int) -> bool:
        return len(world.calls_of("sendMessage")) >= count * PEOPLE

    for _ in range(10):
        say()
        await trio.sleep(0.01)
    await until(partial(answered, 2))
    state = project.folder / "state"
    before = project.log.stat().st_size
    lose(state)
    for _ in range(10):
        say()
        await trio.sleep(0.01)
    await until(lambda: project.events("state.restored") and project.events("inbox.recovered"))
    assert "while the daemon ran" in project.events("inbox.trouble")[0]["reason"]
    assert before < project.log.stat().st_size
    say()
    second = await run(project, "start")
    assert second.returncode == 75, second.stderr
    assert f"pid {daemon.process.pid}" in second.stderr
    assert (await run(project, "status")).returncode == 0
    daemon.process.send_signal(signal.SIGKILL)
    await daemon.wait()
    daemon = await project.start().ready()
    await until(partial(answered, sent))
    assert await daemon.stop() == 0, project.log.read_text()
    for person in people:
        calls = world.calls_of("sendMessage")
        texts = [call.params["text"] for call in calls if call.params["chat_id"] == person.id]
        assert list(dict.fromkeys(texts)) == [str(number) for number in range(sent)]
        # one that was in flight at the kill may be sent twice, never another
        assert len(texts) <= sent + 1
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("lose", WAYS)
async def test_no_second_daemon_begins_in_the_moment_in_which_the_folder_is_away(
    project: Project, world: Telegram, nursery: trio.Nursery, lose: Callable[[Path], None]
) -> None:
    """Its lock and its socket have no name then; it is stopped, so that it cannot put them back either."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.write(base, {"one": {"token": bot.token, "handler": "echo:handle"}})
    daemon = await project.start().ready()
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        lose(project.folder / "state")
        for verb in ("start", "run"):
            second = await run(project, verb)
            assert second.returncode == 75, second.stderr
            assert f"pid {daemon.process.pid}" in second.stderr
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    await until(lambda: project.events("state.restored"))
    found = await run(project, "status")
    assert found.returncode == 0, found.stderr
    assert await daemon.stop() == 0, project.log.read_text()
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("lose", WAYS)
async def test_what_was_done_by_command_is_there_after_the_next_start(
    project: Project, world: Telegram, nursery: trio.Nursery, lose: Callable[[Path], None]
) -> None:
    """A bot that was added, and a pause: neither is forgotten."""
    base = await nursery.start(serve_telegram, world)
    bot, other = world.add_bot("one"), world.add_bot("two")
    project.write(base, {"one": {"token": bot.token, "handler": "echo:handle"}})
    daemon = await project.start().ready()
    (project.folder / "token").write_text(other.token)
    (project.folder / "token").chmod(0o600)
    words = ("two", "--handler", "echo:handle", "--token-file", str(project.folder / "token"))
    added = await run(project, "bots", "add", *words)
    assert added.returncode == 0, added.stderr
    assert (await run(project, "bots", "pause", "one")).returncode == 0
    await trio.sleep(3)  # it looks at its small files each second, which nothing shows
    lose(project.folder / "state")
    await until(lambda: project.events("state.restored"))
    assert (await run(project, "reload")).returncode == 0
    assert (await daemon.bot("two"))["state"] in ("starting", "running")
    assert await daemon.stop() == 0, project.log.read_text()
    daemon = await project.start().ready()
    rows = json.loads((await run(project, "bots", "list", "--json")).stdout)
    assert {row["bot"]: row["state"] for row in rows} == {"one": "paused", "two": "running"}
    assert await daemon.stop() == 0, project.log.read_text()
    nursery.cancel_scope.cancel()
