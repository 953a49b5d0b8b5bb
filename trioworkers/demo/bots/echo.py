"""The smallest bot: it says what it hears."""

from __future__ import annotations

from trioworkers import Bot, Drop, Update


async def handle(update: Update, bot: Bot) -> None:
    if update.text is None:
        raise Drop("nothing to repeat")
    await bot.send_message(chat_id=update.chat_id, text=f"{bot.settings['greeting']} {update.text}")
