import asyncio
import os

from telebot import asyncio_helper
from telebot.async_telebot import AsyncTeleBot

asyncio_helper.API_URL = os.environ["API_ROOT"] + "/bot{0}/{1}"
bot = AsyncTeleBot(os.environ["BOT_TOKEN"])


@bot.message_handler(func=lambda message: True)
async def echo_message(message):
    await bot.send_message(message.chat.id, f"echo {message.text}")


asyncio.run(bot.infinity_polling())
