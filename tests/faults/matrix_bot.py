"""The handler of the fault matrix: notes that it was called, says two things, and ends as its text says."""

from __future__ import annotations

import json
import os

from trioworkers import Dead, Drop


def note(**fields):
    """Append to the run's notes, which outlive whoever is killed."""
    descriptor = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, json.dumps(fields).encode() + b"\n")
    os.close(descriptor)


async def handle(update, bot):
    note(
        note="handled",
        chat=update.chat_id,
        update_id=update.update_id,
        attempt=update.attempt,
        after_gap=update.after_gap,
    )
    await bot.send_message(chat_id=update.chat_id, text=f"{update.update_id} first")
    await bot.call("sendPhoto", once="last", chat_id=update.chat_id, caption=f"{update.update_id} last")
    if update.text == "fail" and update.attempt == 0:
        raise ValueError
    if update.text == "dead":
        raise Dead("as it asked")
    if update.text == "drop":
        raise Drop("as it asked")
