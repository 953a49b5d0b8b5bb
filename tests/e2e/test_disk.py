"""A daemon whose disk gets full, cannot be written, or does not give back what was written."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from fleet_project import Project, until

from trioworkers.testing import SimBot, SimUser, Telegram, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import trio

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
    project: Project, world: Telegram, nursery: trio.Nursery, handler: str = "echo"
) -> tuple[SimBot, list[SimUser]]:
    """Write the fleet file of one bot, whose logs lie on another disk."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("sturdy")
    project.write(
        base,
        {"sturdy": {"token": bot.token, "handler": f"{handler}:handle", "poll_timeout": "1s"}},
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
    await until(lambda: project.tally(bot)["done"] == 2 * PEOPLE * LINES, 60)
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
    subprocess.run(["/bin/mount", "-o", "remount,ro", str(disk)], check=True)
    ended = project.run("run")
    assert ended.returncode == 77
    assert len(ended.stderr.splitlines()) == 1
    assert str(disk) in ended.stderr
    assert "read-only file system" in ended.stderr
    subprocess.run(["/bin/mount", "-o", "remount,rw", str(disk)], check=True)
    assert await (await project.start().ready()).stop() == 0


async def test_damage_ends_the_daemon_and_the_next_start_takes_over(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Exit code 1 with the reason; then everything that can be read is handled, once, and it is told."""
    bot, people = await begin(project, world, nursery)
    daemon = await project.start().ready()
    for person in people:
        person.send(bot, "first")
    await until(lambda: project.tally(bot)["done"] == PEOPLE)
    with project.database.open("r+b") as file:
        for page in range(1, project.database.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
    project.database.with_name("inbox.db-wal").write_bytes(b"")
    people[0].send(bot, "second")
    assert await daemon.wait() == 1
    assert "damaged" in project.log.read_text() or "malformed" in project.log.read_text()
    daemon = await project.start().ready()
    (told,) = project.events("inbox.damaged")
    assert told["moved_to"].startswith(f"{project.database}.damaged-")
    people[1].send(bot, "third")
    await until(lambda: world.sent(bot, people[1].id)[-1]["text"] == "third")
    assert await daemon.stop() == 0
    assert [message["text"] for message in world.sent(bot, people[1].id)][-1] == "third"
