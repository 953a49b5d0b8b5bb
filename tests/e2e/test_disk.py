"""A daemon whose disk gets full, cannot be written, or does not give back what was written."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
from fleet_project import Project, until

from trioworkers.testing import SimBot, SimUser, Telegram, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PEOPLE, LINES = 20, 20


@pytest.fixture
def disk(project: Project) -> Iterator[Path]:
    """The state folder of the project, on a disk of its own of 64 MB."""
    folder = project.folder / "state"
    folder.mkdir(mode=0o700)
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a disk can be mounted by root only")
    yield folder
    for daemon in project.daemons:
        daemon.process.kill()
        daemon.process.wait()
    subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all that is free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while file.write(b"\0" * size) == size:
                    pass
    assert os.statvfs(folder).f_bavail == 0
    return filler


async def begin(
    project: Project, world: Telegram, nursery: trio.Nursery, handler: str = "echo", **settings: Any
) -> tuple[SimBot, list[SimUser]]:
    """Write the fleet file of one bot, whose logs lie on another disk."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("sturdy")
    project.write(
        base,
        {"sturdy": {"token": bot.token, "handler": f"{handler}:handle", "poll_timeout": "1s"} | settings},
        fleet={"log_dir": "logs", "runtime_dir": "run"},
    )
    project.control = project.folder / "run" / "control.sock"
    return bot, [world.add_user(f"Person{number}") for number in range(PEOPLE)]


def answers(world: Telegram, bot: SimBot, people: list[SimUser]) -> int:
    return sum(len(world.sent(bot, person.id)) for person in people)


async def test_a_full_disk_stops_accepting_and_nothing_else(
    project: Project, world: Telegram, nursery: trio.Nursery, disk: Path
) -> None:
    """What was accepted is handled on; what comes waits at Telegram, and is handled once there is room."""
    project.module(
        "slow",
        "import trio\n"
        "async def handle(update, bot):\n"
        "    await trio.sleep(0.05)\n"
        "    await bot.send_message(chat_id=update.chat_id, text=update.text)\n",
    )
    bot, people = await begin(project, world, nursery, "slow")
    daemon = await project.start().ready()
    for number in range(LINES):
        for person in people:
            person.send(bot, f"first {number}")
    await until(lambda: project.tally(bot)["accepted"] == PEOPLE * LINES)
    filler = fill(disk)
    for number in range(LINES):
        for person in people:
            person.send(bot, f"second {number}")
    await until(lambda: project.events("inbox.full"))
    await until(lambda: project.tally(bot)["pending"] == 0)
    assert project.tally(bot)["accepted"] == PEOPLE * LINES
    assert answers(world, bot, people) == PEOPLE * LINES
    assert daemon.process.poll() is None
    assert not project.events("inbox.recovered")
    filler.unlink()
    await until(lambda: project.events("inbox.recovered"))
    await until(lambda: project.tally(bot)["done"] == 2 * PEOPLE * LINES)
    assert await daemon.stop() == 0
    tally = project.tally(bot)
    assert (tally["accepted"], tally["pending"], tally["dead"]) == (2 * PEOPLE * LINES, 0, 0)
    for person in people:
        expected = [f"{part} {n}" for part in ("first", "second") for n in range(LINES)]
        assert [message["text"] for message in world.sent(bot, person.id)] == expected
    assert project.events("inbox.trouble") == []


async def test_a_daemon_starts_on_a_full_disk(
    project: Project, world: Telegram, nursery: trio.Nursery, disk: Path
) -> None:
    """It gives up its ballast, runs without accepting, and accepts once there is room."""
    bot, people = await begin(project, world, nursery)
    assert await (await project.start().ready()).stop() == 0
    filler = fill(disk)
    daemon = await project.start().ready()
    people[0].send(bot, "hello")
    await until(lambda: project.events("inbox.full"))
    filler.unlink()
    await until(lambda: answers(world, bot, people) == 1)
    assert await daemon.stop() == 0


async def test_a_disk_that_cannot_be_written_is_refused_at_the_start(
    project: Project, world: Telegram, nursery: trio.Nursery, disk: Path
) -> None:
    """Exit code 77 and one line that names the path and the reason."""
    await begin(project, world, nursery)
    assert await (await project.start().ready()).stop() == 0
    await trio.run_process(["/bin/mount", "-o", "remount,ro", str(disk)])
    ended = project.run("run")
    assert ended.returncode == 77
    assert len(ended.stderr.splitlines()) == 1
    assert str(disk) in ended.stderr
    assert "read-only file system" in ended.stderr
    await trio.run_process(["/bin/mount", "-o", "remount,rw", str(disk)])
    assert await (await project.start().ready()).stop() == 0


async def test_damage_ends_the_daemon_and_the_next_start_takes_over(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Exit code 1 with the reason; then what can be read is handled, and what is lost is told by number."""
    project.module(
        "patient",
        "from pathlib import Path\n"
        "from trioworkers import Retry\n"
        "async def handle(update, bot):\n"
        "    if not Path('go').exists():\n"
        "        raise Retry(after=0.5)\n"
        "    await bot.send_message(chat_id=update.chat_id, text=update.text)\n",
    )
    retry = {"attempts": 1000, "deadline": "1h"}
    bot, people = await begin(project, world, nursery, "patient", retry=retry)
    daemon = await project.start().ready()
    for number in range(LINES):
        for person in people:
            person.send(bot, f"{number} " + "x" * 400)
    await until(lambda: project.tally(bot)["accepted"] == PEOPLE * LINES)
    assert await daemon.stop() == 0
    with project.inbox() as inbox:
        (first,) = inbox.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'inbox'").fetchone()
    data = bytearray(project.database.read_bytes())
    leaves = [n for n in range(first, len(data) // 4096) if data[n * 4096] == 0x0D]
    for page in leaves[len(leaves) // 2 :: 7]:
        data[page * 4096 : page * 4096 + 100] = b"\xa5" * 100
    project.database.write_bytes(data)
    daemon = project.start()
    assert await daemon.wait() == 1
    assert "malformed" in project.log.read_text().splitlines()[-1]
    (project.folder / "go").touch()
    daemon = await project.start().ready()
    (told,) = project.events("inbox.damaged")
    assert told["moved_to"].startswith(f"{project.database}.damaged-")
    assert told["lost"] > 0
    assert told["recovered"]["inbox"] + told["lost"] == PEOPLE * LINES
    await until(lambda: project.tally(bot)["done"] == told["recovered"]["inbox"])
    assert answers(world, bot, people) == told["recovered"]["inbox"]
    assert project.tally(bot)["pending"] == 0
    assert await daemon.stop() == 0
