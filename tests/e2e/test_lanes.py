"""What waits for what, by a real daemon: a slow or failing message of a person, and queries beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fleet_project import Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import trio

NOTES = """
import trio

async def handle(update, bot):
    where = f"{update.kind} {update.key}"
    if update.text == "fails":
        raise ValueError
    if update.text == "slow":
        while not stopped:
            await trio.sleep(0.01)
    if update.kind == "callback_query":
        stopped.append(1)
    await bot.send_message(chat_id=bot.settings["notes"], text=where)

stopped = []
"""


@pytest.mark.parametrize("text", ["slow", "fails"])
async def test_queries_and_buttons_do_not_wait_for_a_message_of_their_person(
    project: Project, world: Telegram, nursery: trio.Nursery, text: str
) -> None:
    """Payments, inline and join queries by default, callbacks where the bot says so."""
    base = await nursery.start(serve_telegram, world)
    bot, person, notes = world.add_bot("shop"), world.add_user("Ann"), world.add_user("Notes")
    notes.send(bot, "/start")
    project.module("shop", NOTES)
    keys: dict[str, Any] = {"settings": {"notes": notes.id}, "callbacks": "own_lane"}
    keys["retry"] = {"initial": "1h", "max": "1h", "deadline": "10h"}
    project.write(base, {"shop": {"token": bot.token, "handler": "shop:handle", **keys}})
    await project.start().ready()
    person.send(bot, text)
    if text == "fails":
        await until(lambda: project.events("update.retried"))
    sender = {"id": person.id, "is_bot": False, "first_name": "Ann"}
    queries: dict[str, dict[str, Any]] = {
        "pre_checkout_query": {"id": "1", "from": sender, "currency": "XTR", "total_amount": 1},
        "shipping_query": {"id": "2", "from": sender},
        "inline_query": {"id": "3", "from": sender, "query": "", "offset": ""},
        "chosen_inline_result": {"result_id": "4", "from": sender, "query": ""},
        "chat_join_request": {"chat": {"id": person.id}, "from": sender, "query_id": "5"},
    }
    for kind, content in queries.items():
        world.enqueue(bot, {kind: content})
    expected = {f"{kind} {kind}/{person.id}" for kind in queries}

    def said() -> set[str]:
        return {message["text"] for message in world.sent(bot, notes.id)} - {f"message {notes.id}"}

    await until(lambda: said() == expected)
    place = {"chat": {"id": person.id, "type": "private"}, "message_id": 1, "date": 0}
    world.enqueue(bot, {"callback_query": {"id": "6", "from": sender, "message": place, "data": "stop"}})
    expected.add(f"callback_query {person.id}/callbacks")
    if text == "slow":
        expected.add(f"message {person.id}")  # it was stopped
    await until(lambda: said() == expected)
