import asyncio
import os

from telebot.async_telebot import AsyncTeleBot

SLOW = float(os.environ.get("SLOW", "0"))
bot = AsyncTeleBot(os.environ["BOT_TOKEN"])


@bot.message_handler(func=lambda message: True)
async def handle(message):
    await bot.send_message(message.chat.id, f"begun {message.text}")
    await asyncio.sleep(SLOW)
    if "fail" in message.text:
        raise ValueError(message.text)
    await bot.send_message(message.chat.id, f"echo {message.text}")


asyncio.run(bot.infinity_polling())
