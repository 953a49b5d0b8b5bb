"""Bots that take their updates by webhook, run by `command`: real libraries, real processes."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from fleet_project import Project, children_of, until, workers_of
from test_command_bots import PROGRAM, QUIET, text
from test_command_bots import table as own_table
from test_command_libraries import (
    CHATS,
    EACH,
    NODE,
    PYTHON,
    TELEGRAM,
    Mode,
    add_bots,
    answer_all,
    answers,
    pytestmark,
    strange,
    table,
)

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from trioworkers.testing import SimBot

__all__ = ["pytestmark"]  # what needs the libraries is skipped where they are not installed

# `poll` in a mode: the library answers after it has handled an update
MODES = {
    "telegraf": Mode((NODE, "telegraf_webhook.js"), poll=True),
    "telegraf-typing": Mode((NODE, "telegraf_webhook.js", "typing")),
    "grammy": Mode((NODE, "grammy_webhook.js"), poll=True),
    "grammy-reply": Mode((NODE, "grammy_webhook.js", "reply"), poll=True),
    "node-telegram-bot-api": Mode((NODE, "node_telegram_bot_api_webhook.js")),
    "aiogram": Mode((PYTHON, "aiogram_webhook.py"), poll=True),
    "aiogram-reply": Mode((PYTHON, "aiogram_webhook.py", "reply"), poll=True),
    "aiogram-background": Mode((PYTHON, "aiogram_webhook.py", "background")),
    "python-telegram-bot": Mode((PYTHON, "python_telegram_bot_webhook.py")),
    "telebot": Mode((PYTHON, "telebot_webhook.py"), poll=True),
}


def hooked(bots: dict[str, SimBot], **more: Any) -> dict[str, dict[str, Any]]:
    """The bots' tables of the fleet file, each with a port that nobody listens on."""
    tables = {}
    with ExitStack() as held:  # a port that is let go too early might be found a second time
        for name, bot in bots.items():
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            tables[name] = table(bot, MODES[name], concurrency=16, **more)
            tables[name]["environment"]["PORT"] = str(listener.getsockname()[1])
    return tables


async def test_bots_with_webhooks_answer_every_update_once(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """300 updates in 30 chats of each; in order where the library answers after handling.

    Telegram hears of no webhook.
    """
    bots = add_bots(world, MODES)
    assert strange(await answer_all(project, world, nursery, bots, hooked(bots)), MODES) == {}
    typing = {call.bot_id for call in world.calls_of("sendChatAction")}
    assert typing == {bots["telegraf-typing"].id}
    assert len(world.calls_of("sendChatAction")) == CHATS * EACH
    assert not world.calls_of("setWebhook")
    assert sorted(event["bot"] for event in project.events("gateway.hooked")) == sorted(MODES)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", ["telegraf", "python-telegram-bot"])
async def test_a_bot_with_a_webhook_whose_code_knows_telegram_alone_is_redirected(
    project: Project, world: Telegram, nursery: trio.Nursery, name: str
) -> None:
    """Its calls of setWebhook come to us as all others do."""
    base = await nursery.start(serve_telegram, world)
    bot, alice = world.add_bot("shop"), world.add_user("Alice")
    own = hooked({name: bot})
    own[name]["environment"]["API_ROOT"] = TELEGRAM
    project.write(base, own)
    daemon = await project.start().ready()
    for number in range(3):
        await alice.say(bot, f"m{number}")
    assert sorted(await answers(alice, bot, 3)) == ["echo m0", "echo m1", "echo m2"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_kills_of_a_bot_with_a_webhook_lose_nothing(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Five times, amid its work: each start sets its webhook anew, and each update is answered, in order."""
    base = await nursery.start(serve_telegram, world)
    bot, alice = world.add_bot("shop"), world.add_user("Alice")
    quick = {"initial": "10ms", "max": "50ms", "per_hour": 99}
    project.write(base, hooked({"telebot": bot}, restart=quick))
    daemon = await project.start().ready()
    for number in range(60):
        await alice.say(bot, f"m{number}")

    def has_said(more_than: int) -> bool:
        return len(world.calls_of("sendMessage")) > more_than

    for _ in range(5):
        await until(partial(has_said, len(world.calls_of("sendMessage"))))
        worker = (await until(lambda: workers_of(daemon.process.pid)))[0]
        for program in children_of(worker):
            os.kill(program, signal.SIGKILL)
    await until(lambda: project.tally(bot)["done"] == 60)
    said = [call.params["text"] for call in world.calls_of("sendMessage")]
    first = [one for at, one in enumerate(said) if one not in said[:at]]
    assert first == [f"echo m{number}" for number in range(60)]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


SERVES = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from program import call


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        update = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = update["message"]
        status = handle(message["text"], message["chat"]["id"])
        self.send_response(status or 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
call("setWebhook", url=f"http://127.0.0.1:{server.server_port}/")
"""
FAILS = (
    SERVES
    + """
def handle(text, chat):
    if text == "bad":
        return 500
    call("sendMessage", chat_id=chat, text="echo " + text)

server.serve_forever()
"""
)
SLOW = (
    SERVES
    + """
def handle(text, chat):
    time.sleep(0.5)
    call("sendMessage", chat_id=chat, text="echo " + text)

server.serve_forever()
"""
)
HANGS = (
    SERVES
    + """
def handle(text, chat):
    if text == "hang" and not os.path.exists("hung"):
        open("hung", "w").close()
        time.sleep(600)
    call("sendMessage", chat_id=chat, text="echo " + text)

server.serve_forever()
"""
)
PUBLIC = """
import json, urllib.error
from program import call, serve

try:
    call("setWebhook", url="https://bots.example.org/hook")
except urllib.error.HTTPError as error:
    print(json.loads(error.read())["description"], flush=True)
serve(lambda text, say: say("echo " + text))
"""


async def begin(project: Project, nursery: trio.Nursery, world: Telegram, source: str, **more: Any) -> Any:
    """Start a fleet with one bot that is this program; return its daemon, the bot and a person."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("shop")
    project.module("program", PROGRAM)
    project.module("bot", source)
    project.write(base, {"shop": own_table(bot, **more)}, fleet=QUIET)
    daemon = await project.start().ready()
    return daemon, bot, world.add_user("Alice")


async def test_an_update_that_a_webhook_fails_at_is_tried_again_and_dies(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """As one that a handler fails at: its chat waits for it, others do not."""
    daemon, bot, alice = await begin(
        project, nursery, world, FAILS, retry={"attempts": 3, "initial": "50ms", "max": "100ms"}
    )
    bob = world.add_user("Bob")
    await alice.say(bot, "bad")
    await alice.say(bot, "good")
    await bob.say(bot, "good")
    assert await text(bob, bot) == "echo good"
    assert await text(alice, bot) == "echo good"
    tally = await until(lambda: project.tally(bot) if project.tally(bot)["done"] == 2 else None)
    assert (tally["dead"], tally["retried"]) == (1, 2)
    retried = project.events("update.retried")
    assert [event["error"] for event in retried] == ["webhook: answered 500"] * 2
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_stop_waits_for_the_answer_of_a_webhook(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """What the program has is handled; the rest stays, and is handled by the next daemon, each once."""
    daemon, bot, alice = await begin(project, nursery, world, SLOW)
    for number in range(6):
        await alice.say(bot, f"m{number}")
    assert await text(alice, bot) == "echo m0"
    assert await daemon.stop() == 0
    assert project.tally(bot)["done"] == len(world.calls_of("sendMessage")) < 6
    daemon = await project.start().ready()
    for number in range(1, 6):
        assert await text(alice, bot) == f"echo m{number}"
    assert await daemon.stop() == 0
    assert len(world.calls_of("sendMessage")) == 6
    nursery.cancel_scope.cancel()


async def test_a_webhook_that_does_not_answer_is_hung(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The program is killed after hang_timeout, and the update is handled by the next process."""
    daemon, bot, alice = await begin(
        project,
        nursery,
        world,
        HANGS,
        heartbeat_interval="200ms",
        hang_timeout="2s",
        restart={"initial": "10ms"},
    )
    await alice.say(bot, "hang")
    assert await text(alice, bot) == "echo hang"
    assert len(project.events("worker.hung")) == 1
    await trio.sleep(2.5)  # longer than hang_timeout: a webhook without work is well
    await alice.say(bot, "on")
    assert await text(alice, bot) == "echo on"
    assert len(project.events("worker.hung")) == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_webhook_elsewhere_is_refused_in_words(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Which say what to do, to the program and in the log; a bot that then polls is served."""
    daemon, bot, alice = await begin(project, nursery, world, PUBLIC)
    await alice.say(bot, "m")
    assert await text(alice, bot) == "echo m"
    log = project.folder / "state" / "logs" / "worker_shop.log"
    assert "set it to http://127.0.0.1:PORT/PATH" in await until(lambda: log.exists() and log.read_text())
    (told,) = project.events("gateway.withheld")
    assert "set it to http://127.0.0.1:PORT/PATH" in told["reason"]
    assert not world.calls_of("setWebhook")
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
