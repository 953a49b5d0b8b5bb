"""A call that Telegram refuses, let through by a handler of a real daemon."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from fleet_project import Project, until

from trioworkers.testing import Telegram, faults, serve_telegram

if TYPE_CHECKING:
    import subprocess

SECRET = "what-a-user-wrote"
HANDLER = """
from trioworkers import NotModified

async def answer(bot, chat_id, text):
    await bot.send_message(chat_id=chat_id, text=text)

async def handle(update, bot):
    try:
        await answer(bot, update.chat_id, update.text)
    except NotModified:
        await bot.send_message(chat_id=update.chat_id, text="caught")
"""
TAG = f'Bad Request: can\'t parse entities: Unsupported start tag "{SECRET}" at byte offset 0'
REFUSALS = {
    "Ann": faults.error(400, TAG),
    "Ben": faults.error(403, f"Forbidden: bot was blocked by '{SECRET}'"),
    "Cleo": faults.error(400, "Bad Request: chat not found"),
    "Dan": faults.error(409, f'Conflict: "{SECRET}"'),
    "Eve": faults.error(400, "Bad Request: message is not modified: specified new message content"),
}


async def run(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return await trio.to_thread.run_sync(partial(project.run, *words))


async def test_a_refusal_that_cannot_heal_is_dead_at_once_and_its_chat_goes_on(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """After one attempt, with Telegram's words and the handler's line; no log quotes what a user wrote."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("b")
    project.module("answering", HANDLER)
    retry = {"attempts": 3, "initial": "10ms"}
    project.write(base, {"b": {"token": bot.token, "handler": "answering:handle", "retry": retry}})
    daemon = await project.start().ready()
    users = {name: world.add_user(name) for name in REFUSALS}
    for name, refusal in REFUSALS.items():
        times = 3 if name == "Dan" else 1
        world.faults.add(method="sendMessage", chat_id=users[name].id, respond=refusal, times=times)
        users[name].send(bot, "first")
        await until(lambda: not world.pending(bot))
    for user in users.values():
        user.send(bot, "after")

    def said(name: str) -> list[str]:
        return [message["text"] for message in world.sent(bot, users[name].id)]

    await until(lambda: all("after" in said(name) for name in users))
    assert {name: said(name) for name in users} == {
        name: ["caught", "after"] if name == "Eve" else ["after"] for name in users
    }

    async def at_rest() -> bool:
        queue: dict[str, Any] = (await daemon.bot("b"))["queue"]
        return queue["dead"] == 4 and not any(queue[state] for state in ("ready", "in_flight", "retry"))

    await until(at_rest)
    letters = json.loads((await run(project, "dlq", "list", "--json")).stdout)
    letters.sort(key=lambda letter: letter["chat_id"])
    place = "answering.py:5 in answer"
    assert [(letter["reason"], letter["attempts"]) for letter in letters] == [
        (
            "sendMessage: 400 Bad Request: can't parse entities: Unsupported start tag … at byte offset 0"
            f" at {place}",
            1,
        ),
        (f"sendMessage: 403 Forbidden: bot was blocked by … at {place}", 1),
        (f"sendMessage: 400 Bad Request: chat not found at {place}", 1),
        (f"failed 3 times, last: sendMessage: 409 Conflict: … at {place}", 3),
    ]
    shown = await run(project, "dlq", "show", str(letters[0]["id"]))
    assert f"CannotParse sendMessage 400 at {place}" in shown.stdout
    told = [event["reason"] for event in project.events("update.dead")]
    assert sorted(told) == [
        f"CannotParse sendMessage 400 at {place}",
        f"ChatNotFound sendMessage 400 at {place}",
        f"Forbidden sendMessage 403 at {place}",
        f"failed 3 times, last: Conflict sendMessage 409 at {place}",
    ]
    assert {event["error"] for event in project.events("update.retried")} == {
        f"Conflict sendMessage 409 at {place}"
    }
    await daemon.stop()
    for log in (project.log, *project.folder.glob("state/logs/*.log")):
        assert SECRET not in log.read_text(), log
        is_own = log.name == "worker_b.log"  # where Telegram's words are
        assert ("Forbidden:" in log.read_text()) is is_own, log
