"""The bot of the trials for trioworkers; what it does is decided by the first word that it is sent."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from trioworkers import Bot, Update


async def start(bot: Bot) -> None:
    """Note the start, and end at once or after two seconds where the settings say so."""
    with Path(bot.settings["starts"]).open("a") as file:
        file.write("x")
    if bot.settings["crash"] == "at once":
        os._exit(1)
    if bot.settings["crash"] == "soon":
        signal.setitimer(signal.ITIMER_REAL, 2.0)  # SIGALRM ends the process


async def handle(update: Update, bot: Bot) -> None:
    """Answer, late or at the second time or never."""
    text = update.text or ""
    if text.startswith("slow"):
        await trio.sleep(2)
    if text.startswith("raise") and update.attempt == 0:
        raise ValueError
    if text.startswith("hang"):
        time.sleep(1000)  # noqa: ASYNC251 - it has to block
    if text.startswith("flood"):
        sys.stdout.write(f"{'x' * 99}\n" * 700_000)  # 70 MB
    await bot.send_message(chat_id=update.chat_id, text=text)
