"""Updates that nobody can decode, by a real daemon: dead at once, and nobody waits for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
from fleet_project import ECHO, Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import trio

TEXTS = [b'"\xff"', rb'"\ud800"', rb'"\x41"', b"1e999", b"9" * 5000]


async def test_what_nobody_can_decode_is_a_dead_letter_at_once(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Without an attempt; what the chat says behind it is answered, and a replay changes nothing."""
    base = await nursery.start(serve_telegram, world)
    bot, person = world.add_bot("echo"), world.add_user("Ann")
    project.module("echo", ECHO)
    project.write(base, {"echo": {"token": bot.token, "handler": "echo:handle"}})
    await project.start().ready()
    person.send(bot, "before")
    chat = b'"chat":{"id":%d},"from":{"id":%d}' % (person.id, person.id)
    for text in TEXTS:
        world.enqueue(bot, {"message": msgspec.Raw(b'{"message_id":1,%b,"text":%b}' % (chat, text))})
    person.send(bot, "after")
    await until(lambda: [one["text"] for one in world.sent(bot, person.id)] == ["before", "after"])
    await until(lambda: project.tally(bot)["pending"] == 0)
    for replays in range(2):
        letters = json.loads(project.run("dlq", "list", "--json").stdout)
        assert [(one["reason"], one["attempts"], one["chat_id"]) for one in letters] == [
            ("its body cannot be decoded", 0, person.id)
        ] * len(TEXTS)
        if not replays:
            assert project.run("dlq", "replay", "--all").returncode == 0
            await until(lambda: len(project.events("update.dead")) == 2 * len(TEXTS))
