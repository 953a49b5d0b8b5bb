"""An echo bot with aiogram; BASE and TOKEN in its environment. A text that begins with "slow" takes 0.3 s."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer

dispatcher = Dispatcher()


@dispatcher.message(F.text)  # type: ignore[untyped-decorator]
async def echo(message: Any) -> None:
    if message.text.startswith("slow"):
        await asyncio.sleep(0.3)
    await message.answer(message.text)


async def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(os.environ["BASE"]))
    bot = Bot(os.environ["TOKEN"], session=session)
    await dispatcher.start_polling(bot, polling_timeout=50)  # its 10 s would be more idle work than ours


asyncio.run(main())
