"""The handler of the soak's bots: it answers, notes what it was given, and fails now and then.

What it does with an update is decided by the seed, the update and the attempt, so that the reckoning
knows it, too.
"""

from __future__ import annotations

import os
import signal
import time
from hashlib import blake2b
from typing import TYPE_CHECKING

import trio

from trioworkers import Dead, Drop, Retry

if TYPE_CHECKING:
    from trioworkers import Bot, Update

DEEDS = (  # of a first attempt, each with the share of updates that meet it
    ("raise", 0.012),
    ("answer and raise", 0.012),
    ("retry", 0.008),
    ("dead", 0.003),
    ("drop", 0.004),
    ("take long", 0.004),
    ("exit", 0.0015),
    ("answer and be killed", 0.0015),
    ("be killed each time", 0.0002),
    ("sleep for ever", 0.0002),
    ("hold the loop", 0.0001),
)
AGAIN = (("raise", 0.1),)  # of later attempts
LEAK = 1 << 18  # bytes

_kept: list[bytes] = []


def deed(seed: int, key: str, attempt: int) -> str:
    """What is done with the update of that idempotency key: one of `DEEDS`, or `answer`."""
    first = _roll(DEEDS, f"{seed} {key} 0")
    if attempt == 0 or first == "be killed each time":
        return first
    return _roll(AGAIN, f"{seed} {key} {attempt}")


def _roll(deeds: tuple[tuple[str, float], ...], what: str) -> str:
    left = int.from_bytes(blake2b(what.encode(), digest_size=6).digest()) / 2**48
    for name, share in deeds:
        left -= share
        if left < 0:
            return name
    return "answer"


async def handle(update: Update, bot: Bot) -> None:
    key = update.idempotency_key
    note = f"{update.chat_id} {update.update_id} {update.after_gap:d}\n"
    notes = os.open(f"notes/{bot.id}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(notes, note.encode())
    os.close(notes)
    if bot.settings["leaks"]:
        _kept.append(b"x" * LEAK)
    what = deed(bot.settings["seed"], key, update.attempt)
    if what == "raise":
        raise ValueError(update.text)
    if what == "retry":
        raise Retry(after=0.2)
    if what == "dead":
        raise Dead("the soak wants it so")
    if what == "drop":
        raise Drop("the soak wants it so")
    if what == "take long":
        await trio.sleep(1)
    if what == "exit":
        os._exit(3)
    if what == "be killed each time":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "sleep for ever":
        await trio.sleep_forever()
    if what == "hold the loop":
        time.sleep(60)  # noqa: ASYNC251 - that is the deed
    await trio.sleep(bot.settings.get("takes", 0.0))
    if update.update_id % 2:
        await bot.send_message(chat_id=update.chat_id, text=f"{key} {update.text}")
    else:  # its words change with a reload, so that it needs a name to be known again
        text = f"{key} {bot.settings['greeting']} {update.text}"
        await bot.send_message(chat_id=update.chat_id, text=text, once="answer")
    if what == "answer and raise":
        raise KeyError(update.text)
    if what == "answer and be killed":
        os.kill(os.getpid(), signal.SIGKILL)
