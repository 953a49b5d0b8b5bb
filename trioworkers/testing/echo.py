"""The bot of a test that needs one and does not care which: it repeats what it hears."""

from __future__ import annotations

from typing import Any


async def handle(update: Any, bot: Any) -> None:
    """Send the update's text back to its chat; ignore an update without a text."""
    if update.text:
        await bot.send_message(chat_id=update.chat_id, text=update.text)
