import asyncio
import os
import sys

from aiogram import Bot, Dispatcher
from aiogram.types import Message

SLOW = float(os.environ.get("SLOW", "0"))
dp = Dispatcher()


@dp.message()
async def handle(message: Message) -> None:
    await message.answer(f"begun {message.text}")
    await asyncio.sleep(3600 if message.text == "stand still" else SLOW)
    if "fail" in message.text:
        raise ValueError(message.text)
    await message.answer(f"echo {message.text}")


async def main() -> None:
    await dp.start_polling(Bot(token=os.environ["BOT_TOKEN"]), handle_as_tasks="serial" not in sys.argv)


asyncio.run(main())
