"""Albums by a real daemon: handled at once where the bot says so, in order, and whole after a SIGKILL."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from fleet_project import Daemon, Project, until

from trioworkers.testing import SimBot, SimUser, Telegram, serve_telegram

if TYPE_CHECKING:
    import trio

SAYS = """
async def handle(update, bot):
    names = [part.raw["message"].get("caption", part.text) for part in update.album]
    text = " ".join(names) or f"alone {update.text}"
    if "bad" in names and update.attempt < bot.settings["failures"]:
        raise ValueError
    await bot.send_message(chat_id=update.chat_id, text=text)
"""


async def begin(
    project: Project, world: Telegram, nursery: trio.Nursery, **keys: Any
) -> tuple[Daemon, SimBot, SimUser]:
    base = await nursery.start(serve_telegram, world)
    bot, person = world.add_bot("says"), world.add_user("Ann")
    project.module("says", SAYS)
    settings = {
        "settings": {"failures": 1},
        "retry": {"initial": "10ms", "max": "10ms", "attempts": 2},
        **keys,
    }
    project.write(base, {"says": {"token": bot.token, "handler": "says:handle", **settings}})
    person.send(bot, "/start")
    daemon = await project.start().ready()
    await until(lambda: said(world, bot, person) == ["alone /start"])
    return daemon, bot, person


def send_part(world: Telegram, bot: SimBot, person: SimUser, album: str, name: str) -> None:
    sender = {"id": person.id, "is_bot": False, "first_name": "Ann"}
    chat = {"id": person.id, "type": "private"}
    photo = [{"file_id": name, "file_unique_id": name, "width": 1, "height": 1}]
    message = {"message_id": 1, "date": 0, "chat": chat, "from": sender, "photo": photo, "caption": name}
    world.enqueue(bot, {"message": {**message, "media_group_id": album}})


def said(world: Telegram, bot: SimBot, person: SimUser) -> list[str]:
    return [message["text"] for message in world.sent(bot, person.id)]


async def test_an_album_is_handled_at_once_and_in_order(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """What comes in between is handled behind it; a second attempt has all parts; each part is counted."""
    _, bot, person = await begin(project, world, nursery, albums="500ms", on_failure="skip")
    send_part(world, bot, person, "a", "one")
    person.send(bot, "between")
    for name in ("two", "three"):
        send_part(world, bot, person, "a", name)
    person.send(bot, "after")
    for name in ("bad", "four"):
        send_part(world, bot, person, "b", name)
    person.send(bot, "last")
    expected = ["one two three", "alone between", "alone after", "bad four", "alone last"]
    await until(lambda: said(world, bot, person)[1:] == expected)
    await until(lambda: project.tally(bot)["pending"] == 0)
    tally = project.tally(bot)
    assert (tally["accepted"], tally["done"], tally["dead"]) == (9, 9, 0)


async def test_by_default_each_part_is_handled_by_itself(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A handler that knows nothing of albums sees what it always saw."""
    _, bot, person = await begin(project, world, nursery)
    for name in ("one", "two"):
        send_part(world, bot, person, "a", name)
    await until(lambda: said(world, bot, person)[1:] == ["alone one", "alone two"])


async def test_an_album_that_dies_can_be_replayed_as_one(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Each part is a dead letter, and they come together again."""
    _, bot, person = await begin(project, world, nursery, albums="300ms", settings={"failures": 2})
    for name in ("bad", "two", "three"):
        send_part(world, bot, person, "a", name)
    person.send(bot, "after")
    await until(lambda: said(world, bot, person)[1:] == ["alone after"])
    letters = json.loads(project.run("dlq", "list", "--json").stdout)
    assert [letter["attempts"] for letter in letters] == [2, 2, 2]
    config = project.file.read_text()
    project.file.write_text(config.replace("failures = 2", "failures = 0"))
    assert project.run("reload").returncode == 0
    assert project.run("dlq", "replay", "--all").returncode == 0
    await until(lambda: said(world, bot, person)[1:] == ["alone after", "bad two three"])


@pytest.mark.parametrize("parts", [1, 2, 3])
async def test_an_album_is_whole_after_a_sigkill(
    project: Project, world: Telegram, nursery: trio.Nursery, parts: int
) -> None:
    """Parts that were durable wait for those that Telegram still has."""
    daemon, bot, person = await begin(project, world, nursery, albums="2s")
    names = ["one", "two", "three"]
    for name in names[:parts]:
        send_part(world, bot, person, "a", name)
    await until(lambda: project.tally(bot)["accepted"] == 1 + parts)
    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    for name in names[parts:]:
        send_part(world, bot, person, "a", name)
    await project.start().ready()
    await until(lambda: said(world, bot, person)[1:] == ["one two three"])
    await until(lambda: project.tally(bot)["done"] == 4)
