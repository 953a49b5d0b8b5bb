import asyncio
import os
import sys

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import Message

dp = Dispatcher()


@dp.message()
async def echo_handler(message: Message) -> None:
    await message.answer(f"echo {message.text}")


async def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(os.environ["API_ROOT"]))
    bot = Bot(token=os.environ["BOT_TOKEN"], session=session)
    await dp.start_polling(bot, handle_as_tasks="serial" not in sys.argv)


asyncio.run(main())
