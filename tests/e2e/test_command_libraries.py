"""Bots of other libraries, as their READMEs show them, run by `command`: real libraries, real processes.

A bot differs from its README by the token and the address of the server, which it reads from its environment.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fleet_project import PATIENCE, Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Iterable

    import trio

    from trioworkers.testing import SimBot, SimUser

ROOT = Path(__file__).parents[2]
BOTS = ROOT / "tests" / "libraries" / "bots"
LIBRARIES = ROOT / ".tools" / "libraries"
CHATS, EACH = 30, 10
TELEGRAM = "https://api.telegram.org"

pytestmark = pytest.mark.skipif(
    not (LIBRARIES / "installed").exists() and not os.environ.get("CI"),
    reason="scripts/test fetches the libraries",
)


@dataclass(frozen=True)
class Mode:
    """A library, and how it is run. `poll`: its polls say that what they confirm was handled."""

    words: tuple[str, ...]
    poll: bool = False
    at_once: int = 1


NODE, PYTHON = shutil.which("node") or "node", sys.executable
MODES = {
    "telegraf": Mode((NODE, "telegraf.js"), poll=True, at_once=16),
    "grammy": Mode((NODE, "grammy.js"), poll=True),
    "grammy-runner": Mode((NODE, "grammy_runner.js")),
    "node-telegram-bot-api": Mode((NODE, "node_telegram_bot_api.js")),
    "aiogram": Mode((PYTHON, "aiogram_bot.py")),
    "aiogram-serial": Mode((PYTHON, "aiogram_bot.py", "serial"), poll=True),
    "python-telegram-bot": Mode((PYTHON, "python_telegram_bot.py")),
    "python-telegram-bot-concurrent": Mode((PYTHON, "python_telegram_bot.py", "concurrent")),
    "telebot": Mode((PYTHON, "telebot_bot.py")),
    "telebot-serial": Mode((PYTHON, "telebot_bot.py", "serial"), poll=True),
    "telebot-async": Mode((PYTHON, "telebot_async.py")),
}


def table(bot: SimBot, mode: Mode, **more: Any) -> dict[str, Any]:
    """The bot's table of the fleet file."""
    environ = {
        "BOT_TOKEN": "{token}",
        "API_ROOT": "{api}",
        "PYTHONPATH": str(LIBRARIES / "python"),
        "NODE_PATH": str(LIBRARIES / "node_modules"),
    }
    return {
        "token": bot.token,
        "command": list(mode.words),
        "cwd": str(BOTS),
        "environment": environ,
        "acknowledge": "poll" if mode.poll else "receipt",
        "concurrency": mode.at_once,
        **more,
    }


async def answers(user: SimUser, bot: SimBot, count: int) -> list[str]:
    """The texts of the next messages of a bot to a person."""
    return [(await user.expect(bot, timeout=PATIENCE))["text"] for _ in range(count)]


def add_bots(world: Telegram, names: Iterable[str]) -> dict[str, SimBot]:
    """A bot for each way of running a library: they start and work at the same time, in one fleet."""
    return {name: world.add_bot(name.replace("-", "_")) for name in names}


async def answer_all(
    project: Project, world: Telegram, nursery: trio.Nursery, bots: dict[str, SimBot], own: dict[str, Any]
) -> dict[str, list[list[str]]]:
    """300 updates in 30 chats of each bot, after which the daemon is stopped; the answers of each chat.

    Each is answered once, and no token is logged. `own`: the bots' tables of the fleet file.
    """
    project.write(await nursery.start(serve_telegram, world), own)
    daemon = await project.start().ready(90)
    people = [world.add_user(f"user{number}") for number in range(CHATS)]
    for bot in bots.values():
        for number in range(EACH):
            for one in people:
                await one.say(bot, f"m{number}")
    got = {name: [await answers(one, bot, EACH) for one in people] for name, bot in bots.items()}
    await until(lambda: all(project.tally(bot)["done"] == CHATS * EACH for bot in bots.values()))
    assert await daemon.stop() == 0
    assert Counter(call.bot_id for call in world.calls_of("sendMessage")) == {
        bot.id: CHATS * EACH for bot in bots.values()
    }
    assert sum(project.tally(bot)["pending"] for bot in bots.values()) == 0
    logs = [log.read_text() for log in (project.log, *(project.folder / "state" / "logs").iterdir())]
    secrets = [bot.token.partition(":")[2] for bot in bots.values()]
    assert not any(secret in log for log in logs for secret in secrets)
    return got


def strange(got: dict[str, list[list[str]]], modes: dict[str, Mode]) -> dict[str, list[list[str]]]:
    """What was answered otherwise than it should, by the bot.

    In order, where the end of each update is known; elsewhere in any order.
    """
    wanted = [f"echo m{number}" for number in range(EACH)]
    found = {
        name: [texts for texts in by_chat if (texts if modes[name].poll else sorted(texts)) != wanted]
        for name, by_chat in got.items()
    }
    return {name: texts for name, texts in found.items() if texts}


async def test_bots_as_their_readmes_show_them_answer_every_update_once(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """300 updates in 30 chats: each is answered once, and in order where a poll says what was handled."""
    bots = add_bots(world, MODES)
    own = {name: table(bot, MODES[name]) for name, bot in bots.items()}
    assert strange(await answer_all(project, world, nursery, bots, own), MODES) == {}
    nursery.cancel_scope.cancel()


async def test_bots_whose_code_knows_telegram_alone_are_redirected(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Nothing of them says where the daemon is; each library's way of asking Telegram comes to us."""
    base = await nursery.start(serve_telegram, world)
    bots, alice = add_bots(world, MODES), world.add_user("Alice")
    own = {name: table(bot, MODES[name]) for name, bot in bots.items()}
    for one in own.values():
        one["environment"]["API_ROOT"] = TELEGRAM
    project.write(base, own)
    daemon = await project.start().ready(90)
    for bot in bots.values():
        for number in range(3):
            await alice.say(bot, f"m{number}")
    for bot in bots.values():
        assert sorted(await answers(alice, bot, 3)) == ["echo m0", "echo m1", "echo m2"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("words", [(NODE, "fetch.mjs"), (PYTHON, "urllib_bot.py")], ids=["node", "python"])
async def test_what_a_language_has_itself_is_redirected_and_the_users_preloads_run(
    project: Project, world: Telegram, nursery: trio.Nursery, words: tuple[str, str]
) -> None:
    """Global fetch, imports of node:https and urllib; NODE_OPTIONS and a sitecustomize of the user's own."""
    base = await nursery.start(serve_telegram, world)
    bot, alice = world.add_bot("shop"), world.add_user("Alice")
    project.module("sitecustomize", "import of_mine\nof_mine.VALUE = 'ran'\n")
    project.module("of_mine", "VALUE = 'did not run'\n")
    (project.folder / "own preload.cjs").write_text('process.env.MINE = "ran";\n')
    own = table(bot, Mode(words, poll=True))
    own["environment"] |= {
        "API_ROOT": TELEGRAM,
        "PYTHONPATH": str(project.folder),
        "NODE_OPTIONS": f'--require "{project.folder}/own preload.cjs"',
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    project.write(base, {"shop": own})
    daemon = await project.start().ready()
    await alice.say(bot, "m")
    assert await answers(alice, bot, 1) == ["echo m"]
    log = project.folder / "state" / "logs" / "worker_shop.log"
    assert (await until(lambda: log.exists() and log.read_text())).lower() == "mine ran true\n"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
