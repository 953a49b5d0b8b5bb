"""Dead letters and backups of a real daemon, by its commands."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import trio
from fleet_project import Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import subprocess

FRAGILE = """
from pathlib import Path
from trioworkers import Dead

async def handle(update, bot):
    if not Path("mended").exists():
        await bot.send_message(chat_id=update.chat_id, text=f"about to fail at {update.text}")
        raise Dead("not mended yet")
    await bot.send_message(chat_id=update.chat_id, text=f"about to fail at {update.text}")
    await bot.send_message(chat_id=update.chat_id, text=f"done {update.text}")
"""


async def run(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return await trio.to_thread.run_sync(partial(project.run, *words))


async def test_letters_are_listed_shown_replayed_and_purged(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """From a handler that fails to one that is mended: in order, nothing said twice, no text unasked."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("fragile")
    project.module("fragile", FRAGILE)
    project.write(base, {"fragile": {"token": bot.token, "handler": "fragile:handle"}})
    daemon = await project.start().ready()
    ann, ben = world.add_user("Ann"), world.add_user("Ben")
    for word in ("secret1", "secret2", "secret3"):
        await ann.say(bot, word)
        await ben.say(bot, word)

    async def dead(count: int) -> bool:
        return bool((await daemon.bot("fragile"))["queue"]["dead"] == count)

    await until(partial(dead, 6))
    listed = await run(project, "dlq", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    letters = json.loads(listed.stdout)
    assert [letter["reason"] for letter in letters] == ["not mended yet"] * 6
    assert {letter["bot"] for letter in letters} == {"fragile"}
    assert {letter["chat_id"] for letter in letters} == {ann.id, ben.id}
    table = await run(project, "dlq", "list", "--bot", "fragile")
    assert len(table.stdout.splitlines()) == 7
    first = str(letters[0]["id"])
    shown = await run(project, "dlq", "show", first)
    assert "sendMessage" in shown.stdout
    assert "made" in shown.stdout
    for said in (listed.stdout, table.stdout, shown.stdout):
        assert "secret" not in said
    assert "secret1" in (await run(project, "dlq", "show", first, "--payload")).stdout
    unknown = await run(project, "dlq", "replay", "--bot", "fragil")
    assert (unknown.returncode, "did you mean fragile" in unknown.stderr) == (2, True)

    purged = await run(project, "dlq", "purge", str(letters[-1]["id"]))
    assert purged.stdout == "purged 1 dead letter\n"
    await until(partial(dead, 5))
    (project.folder / "mended").touch()
    replayed = await run(project, "dlq", "replay", "--all")
    assert replayed.stdout == "replayed 5 dead letters\n"
    await until(lambda: project.tally(bot)["done"] == 5)
    for user, words in ((ann, ["secret1", "secret2", "secret3"]), (ben, ["secret1", "secret2"])):
        texts = [message.get("text", "") for message in world.sent(bot, user.id)]
        assert [text for text in texts if text.startswith("done")] == [f"done {word}" for word in words]
        assert len(texts) == len(set(texts)), "a recorded call was made again"
    assert (await run(project, "dlq", "list")).stdout == "no dead letters\n"
    acts = [(line["action"], line["count"], line["by"]) for line in project.events("control.action")]
    assert acts == [("dlq.purge", 1, "control socket"), ("dlq.replay", 5, "control socket")]
    assert "secret" not in project.log.read_text()
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_letters_are_forgotten_after_the_retention(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """By the running daemon, and counted as purged."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("fragile")
    project.module("fragile", FRAGILE)
    project.write(
        base,
        {"fragile": {"token": bot.token, "handler": "fragile:handle"}},
        store={"dead_retention": "1ms"},
    )
    daemon = await project.start().ready()
    await world.add_user("Ann").say(bot, "lost")

    def purged() -> bool:
        with project.inbox() as inbox:
            return bool(inbox.execute("SELECT dead, purged FROM tally").fetchall() == [(0, 1)])

    await until(purged)
    assert (await daemon.bot("fragile"))["queue"]["dead"] == 0
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_backup_is_a_whole_inbox(project: Project, world: Telegram, nursery: trio.Nursery) -> None:
    """Made while the fleet runs; for its owner alone; what was committed is in it."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("fragile")
    project.module("fragile", FRAGILE)
    project.write(base, {"fragile": {"token": bot.token, "handler": "fragile:handle"}})
    daemon = await project.start().ready()
    await world.add_user("Ann").say(bot, "kept")
    await until(lambda: project.tally(bot)["dead"])
    made = await run(project, "backup", "copy.db")
    assert made.returncode == 0, made.stderr
    copy = project.folder / "copy.db"
    assert made.stdout.startswith(f"{copy}: ")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as inbox:
        assert inbox.execute("SELECT reason FROM dead").fetchall() == [("not mended yet",)]
    again = await run(project, "backup", "copy.db")
    assert (again.returncode, "is there already" in again.stderr) == (1, True)
    usual = await run(project, "backup")
    assert usual.stdout.startswith(f"{project.folder}/state/backups/inbox-")
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
