"""`acknowledge = "quiet"`: programs that the probe does not know, and that take several updates at once.

Each update is handled by a thread, or a promise, of its own, and the program polls on meanwhile.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from fleet_project import Daemon, Project, children_of, until, workers_of

from trioworkers.gateway.quiet import PAUSE, SILENCE
from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from trioworkers.testing import SimBot, SimUser

IN_PYTHON = """
import json, os, threading, time, urllib.request

BASE = os.environ["TRIOWORKERS_API_BASE"] + "/bot" + os.environ["TRIOWORKERS_TOKEN"] + "/"
SLOW = float(os.environ["SLOW"])


def call(method, **params):
    body = json.dumps(params).encode()
    request = urllib.request.Request(BASE + method, body, {"content-type": "application/json"})
    return json.loads(urllib.request.urlopen(request, timeout=70).read())["result"]


def handle(message):
    text, chat = message["text"], message["chat"]["id"]
    if "nothing" in text:
        return
    if "think" in text:
        call("sendChatAction", chat_id=chat, action="typing")
        time.sleep(4 * SLOW)
    call("sendMessage", chat_id=chat, text="begun " + text)
    time.sleep(SLOW)
    call("sendMessage", chat_id=chat, text="echo " + text)


offset = 0
while True:
    for update in call("getUpdates", offset=offset, timeout=20):
        offset = update["update_id"] + 1
        threading.Thread(target=handle, args=(update["message"],), daemon=True).start()
"""
IN_NODE = """
const BASE = `${process.env.TRIOWORKERS_API_BASE}/bot${process.env.TRIOWORKERS_TOKEN}/`;
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function call(method, params) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(BASE + method, { method: "POST", headers, body: JSON.stringify(params) });
  return (await answer.json()).result;
}

async function handle({ text, chat }) {
  if (text.includes("nothing")) return;
  if (text.includes("think")) {
    await call("sendChatAction", { chat_id: chat.id, action: "typing" });
    await pause(4 * process.env.SLOW);
  }
  await call("sendMessage", { chat_id: chat.id, text: `begun ${text}` });
  await pause(process.env.SLOW);
  await call("sendMessage", { chat_id: chat.id, text: `echo ${text}` });
}

(async () => {
  for (let offset = 0; ; ) {
    for (const update of await call("getUpdates", { offset, timeout: 20 })) {
      offset = update.update_id + 1;
      handle(update.message);
    }
  }
})();
"""
PROGRAMS = {"python": ("bot.py", IN_PYTHON), "node": ("bot.mjs", IN_NODE)}
WORDS = {"python": sys.executable, "node": shutil.which("node") or "node"}


async def begin(
    project: Project, world: Telegram, nursery: trio.Nursery, language: str, slow: float, **more: Any
) -> tuple[Daemon, SimBot, list[SimUser]]:
    """Start a fleet with one such bot; return its daemon, the bot and four people."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("shop")
    file, source = PROGRAMS[language]
    (project.folder / file).write_text(source)
    table = {
        "token": bot.token,
        "command": [WORDS[language], file],
        "acknowledge": "quiet",
        "environment": {"SLOW": str(slow)},
        "restart": {"initial": "10ms", "max": "50ms", "per_hour": 99},
        **more,
    }
    project.write(base, {"shop": table}, fleet={"watch": False})
    daemon = await project.start().ready()
    return daemon, bot, [world.add_user(f"user{number}") for number in range(4)]


def said(world: Telegram, bot: SimBot, one: SimUser) -> list[str]:
    """What the bot said to a person."""
    return [message["text"] for message in world.sent(bot, one.id)]


def wanted(*texts: str) -> list[str]:
    """What it says to these."""
    return [f"{word} {text}" for text in texts for word in ("begun", "echo")]


@pytest.mark.parametrize(
    "language",
    [
        "python",
        pytest.param(
            "node", marks=pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js")
        ),
    ],
)
async def test_an_update_is_done_once_the_program_is_quiet_about_its_chat(
    project: Project, world: Telegram, nursery: trio.Nursery, language: str
) -> None:
    """A chat is handled in order, others beside it; what gets no answer is done after some silence."""
    daemon, bot, people = await begin(project, world, nursery, language, slow=0.3)
    first, *others = people
    for text in ("m0", "think", "nothing", "m1"):
        await first.say(bot, text)
    for one in others:
        for number in range(3):
            await one.say(bot, f"m{number}")
    began = trio.current_time()
    await until(lambda: all(said(world, bot, one) == wanted("m0", "m1", "m2") for one in others))
    await until(lambda: project.tally(bot)["done"] == 13)
    assert said(world, bot, first) == wanted("m0", "think", "m1")
    assert trio.current_time() - began > SILENCE + 3 * PAUSE
    row = await daemon.bot("shop")
    assert row["acknowledge"] == "quiet"
    assert "as far as a pause" in project.run("bots", "show", "shop").stdout
    assert await daemon.stop() == 0
    assert project.tally(bot)["pending"] == 0
    nursery.cancel_scope.cancel()


async def test_kills_lose_nothing_and_repeat_nothing_unmarked(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The program and the daemon are killed amid the handlers, and in the pauses after them.

    What was in hand is given again; the calls that it made before are answered from their record.
    """
    daemon, bot, people = await begin(project, world, nursery, "python", slow=0.2)
    for number in range(4):
        for one in people:
            await one.say(bot, f"m{number}")
    for kill in range(int(os.environ.get("KILLS", "4"))):
        before = len(world.calls_of("sendMessage"))
        await until(lambda before=before: len(world.calls_of("sendMessage")) > before)  # type: ignore[misc]
        await trio.sleep(0.1 * (kill % 3))
        if kill % 2:
            daemon.process.kill()
            await daemon.wait()
            daemon = await project.start().ready()
        else:
            for program in children_of((await until(partial(workers_of, daemon.process.pid)))[0]):
                os.kill(program, signal.SIGKILL)
    await until(lambda: project.tally(bot)["done"] == 16)
    for one in people:
        assert list(dict.fromkeys(said(world, bot, one))) == wanted("m0", "m1", "m2", "m3")
    marked = Counter(event["dialog"].split("/")[1] for event in project.events("update.repeated"))
    repeated = {
        str(one.id): sum(count - 1 for count in Counter(said(world, bot, one)).values()) for one in people
    }
    assert {chat: count for chat, count in repeated.items() if count > marked[chat]} == {}
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_stop_waits_until_the_program_is_quiet(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """What it has in hand is answered to its end; the rest is handled by the next daemon, each once."""
    daemon, bot, people = await begin(project, world, nursery, "python", slow=0.4)
    for number in range(3):
        for one in people:
            await one.say(bot, f"m{number}")
    await until(lambda: all(said(world, bot, one) for one in people))
    assert await daemon.stop() == 0
    assert project.tally(bot)["pending"] > 0
    assert all(len(said(world, bot, one)) % 2 == 0 for one in people), "no handler was cut off"
    daemon = await project.start().ready()
    await until(lambda: project.tally(bot)["done"] == 12)
    assert [said(world, bot, one) for one in people] == [wanted("m0", "m1", "m2")] * 4
    assert project.events("update.repeated") == []
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
