"""Bots of the soak that are programs: other people's libraries, run by `command`, and what holds for them.

Each answers `echo` and what it was told, until Telegram takes it. What people say is numbered, so that the
reckoning knows which answer belongs to what.
"""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).parent / "programs"
LIBRARIES = Path(__file__).parents[2] / ".tools" / "libraries"


@dataclass(frozen=True, slots=True)
class Kind:
    """A program, and what is promised for it; `auto` finds the probe.

    `at_once`: how many updates it is given at the same time.
    """

    words: tuple[str, ...]
    acknowledge: str = "receipt"
    at_once: int = 16


KINDS = (  # an odd number: so that each of the first ones is there with both transports
    Kind(("node", "telegraf.js"), "auto"),
    Kind(("python", "aiogram_bot.py", "serial"), "probe"),
    Kind(("node", "grammy.js"), "auto"),
    Kind(("node", "node_telegram_bot_api.js"), "auto"),
    Kind(("python", "telebot_bot.py", "serial"), "probe"),
    Kind(("node", "grammy.js", "runner"), "auto"),
    Kind(("python", "aiogram_bot.py"), "probe"),
    Kind(("node", "node_telegram_bot_api.js"), "quiet"),
    Kind(("python", "telebot_bot.py"), "probe"),
    Kind(("python", "python_telegram_bot.py"), "probe"),
    Kind(("node", "grammy.js"), "poll", 1),
    Kind(("python", "aiogram_bot.py"), "quiet"),
    Kind(("node", "grammy.js", "runner"), "receipt"),
)
QUIET_MISSES = (
    0.01  # the share of what was said in which `quiet` may be wrong: a busy machine makes pauses, too
)


def kind_of(number: int) -> Kind:
    """What the program of that number is: all kinds in turn."""
    return KINDS[number % len(KINDS)]


def make_program(number: int, token: str) -> dict[str, Any]:
    """The table of the program of that number; half of them poll Telegram, half have a webhook."""
    kind = kind_of(number)
    program = {"node": shutil.which("node") or "node", "python": sys.executable}[kind.words[0]]
    return {
        "token": token,
        "transport": "webhook" if number % 2 else "poll",
        "command": [program, *kind.words[1:]],
        "cwd": str(FOLDER),
        "environment": {
            "BOT_TOKEN": "{token}",
            "PYTHONPATH": str(LIBRARIES / "python"),
            "NODE_PATH": str(LIBRARIES / "node_modules"),
        },
        "acknowledge": kind.acknowledge,
        "concurrency": kind.at_once,
        "memory_limit": "400MB",
        "hang_timeout": "60s",
        # after that, an update counts as done though calls about it go on: a busy machine keeps them for long
        **({"handler_timeout": "10m"} if kind.acknowledge == "quiet" else {}),
    }


def reckon_programs(
    programs: Iterable[dict[str, Any]], dead: dict[int, int]
) -> tuple[list[str], dict[str, int]]:
    """What is broken of what was promised for programs, and the figures.

    All that was said is answered once at least, but for dead letters, and in the order of each chat. Under
    `receipt`, what a program had polled past when it ended may be lost: that is counted. Under `quiet`, so is
    what was lost, or turned, since the program paused while it was at work; but that is rare.

    Args:
        programs: of each its name, id, number, `said` (numbers) and `answers` (pairs of a chat and a number).
        dead: how many dead letters each bot has, by its id.
    """
    broken: list[str] = []
    names = ("said to programs", "answered again", "lost as receipt permits", "missed as quiet permits")
    figures = dict.fromkeys(names, 0)
    for one in programs:
        said, answers = set(one["said"]), [(chat, number) for chat, number in one["answers"]]
        answered = {number for _, number in answers}
        lost, turned = sorted(said - answered), _out_of_order(answers)
        figures["said to programs"] += len(said)
        figures["answered again"] += len(answers) - len(answered)
        if strange := answered - said:
            broken.append(f"{one['name']}: {len(strange)} answers to what nobody said")
        acknowledge = kind_of(one["number"]).acknowledge
        if acknowledge == "receipt":
            figures["lost as receipt permits"] += len(lost)
            continue
        missed = max(0, len(lost) - dead.get(one["id"], 0)) + len(turned)
        if acknowledge == "quiet" and missed <= len(said) * QUIET_MISSES:
            figures["missed as quiet permits"] += missed
            continue
        if len(lost) > dead.get(one["id"], 0):
            broken.append(f"{one['name']}: {len(lost)} were never answered: {lost[:5]}")
        broken += [f"{one['name']}: {what}" for what in turned[:3]]
    return broken, figures


def _out_of_order(answers: Iterable[tuple[int, int]]) -> list[str]:
    """First answers of a chat that came before the answer to something older."""
    newest: defaultdict[int, int] = defaultdict(lambda: -1)
    seen: set[tuple[int, int]] = set()
    broken = []
    for chat, number in answers:
        if (chat, number) in seen:
            continue
        seen.add((chat, number))
        if number < newest[chat]:
            broken.append(f"{number} was answered after {newest[chat]}")
        newest[chat] = max(newest[chat], number)
    return broken
