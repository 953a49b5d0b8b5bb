"""A pizza delivery with a bad kitchen: what fails is tried again, and kept when that does not help."""

from __future__ import annotations

import trio

from trioworkers import Bot, Dead, Update


async def handle(update: Update, bot: Bot) -> None:
    command, _, dish = (update.text or "").partition(" ")
    if command != "/order" or not dish:
        menu = ", ".join(bot.settings["menu"])
        await bot.send_message(chat_id=update.chat_id, text=f"Say /order and a pizza: {menu}")
        return
    if dish in bot.settings["sold_out"]:
        # No use in trying again, yet nothing to forget: it waits among the dead letters to be replayed.
        raise Dead(f"{dish} is sold out")
    await bake(dish, update, bot)
    sorry = "We lost your order before this one, sorry! " if update.after_gap else ""
    await bot.send_message(chat_id=update.chat_id, text=f"{sorry}Your {dish} is on its way.")


async def bake(dish: str, update: Update, bot: Bot) -> None:
    """Bake a pizza. The settings say how often the oven fails before it does not."""
    await trio.sleep(0.3)
    if update.attempt < bot.settings["oven_fails"].get(dish, 0):
        message = "the oven went out"
        raise RuntimeError(message)
