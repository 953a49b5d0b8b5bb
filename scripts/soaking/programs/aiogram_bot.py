import asyncio
import os
import sys

from aiogram import Bot, Dispatcher
from aiogram.types import Message

dp = Dispatcher()


@dp.message()
@dp.edited_message()
async def answer(message: Message) -> None:
    for left in reversed(range(150)):  # aiogram swallows what a handler raises
        try:
            await message.bot.send_message(message.chat.id, f"echo {message.text}")
            return
        except Exception:
            if not left:
                raise
            await asyncio.sleep(0.2)


async def main() -> None:
    bot = Bot(token=os.environ["BOT_TOKEN"])
    await dp.start_polling(bot, handle_as_tasks="serial" not in sys.argv)


asyncio.run(main())
