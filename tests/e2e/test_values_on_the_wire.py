"""What a handler's values are when they come to Telegram, through a real daemon and its worker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fleet_project import Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import trio

HANDLER = """
from datetime import UTC, datetime, timedelta
from enum import Enum

from trioworkers import InputFile

class Mode(Enum):
    HTML = "HTML"

BUTTON = {"text": "a", "callback_data": "b", "url": None}

async def handle(update, bot):
    common = {"chat_id": update.chat_id, "parse_mode": Mode.HTML, "until_date": timedelta(hours=1)}
    markup = {"inline_keyboard": [[BUTTON, None]]}
    at = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    await bot.send_message(text="x", send_date=at, reply_markup=markup, **common)
    await bot.send_document(document=InputFile(b"x"), send_date=at, reply_markup=markup, **common)
    if update.attempt < 2:
        raise ValueError
    try:
        await bot.send_photo(chat_id=update.chat_id, photo=b"content")
    except TypeError as error:
        await bot.send_message(chat_id=update.chat_id, text=str(error))
"""


async def test_values_mean_what_they_are_and_are_the_same_call_at_each_attempt(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """An hour from now is Unix seconds, None is left out, bytes are refused; two failures repeat no call."""
    base = await nursery.start(serve_telegram, world)
    bot, alice = world.add_bot("b"), world.add_user("Alice")
    project.module("values", HANDLER)
    settings = {
        "token": bot.token,
        "handler": "values:handle",
        "retry": {"initial": "1100ms", "max": "1100ms"},
    }
    project.write(base, {"b": settings})
    daemon = await project.start().ready()
    before = time.time()
    alice.send(bot, "hello")
    await until(lambda: project.tally(bot)["done"] == 1)
    after = time.time()
    message, refusal = world.calls_of("sendMessage")
    (document,) = world.calls_of("sendDocument")
    assert world.calls_of("sendPhoto") == []
    for call in (message, document):
        assert call.params["parse_mode"] == "HTML"
        assert int(call.params["send_date"]) == 1893553445
        assert before + 3600 <= int(call.params["until_date"]) <= after + 3601
    assert message.params["reply_markup"] == {"inline_keyboard": [[{"text": "a", "callback_data": "b"}]]}
    assert document.params["reply_markup"] == '{"inline_keyboard":[[{"text":"a","callback_data":"b"}]]}'
    assert refusal.params["text"] == "photo: expected InputFile(content) for a file, or a text, got bytes"
    await daemon.stop()
