"""The bot of the trials with aiogram; TOKENS may name several bots, which then share this process."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

with Path(os.environ["STARTS"]).open("a") as file:
    file.write("x")
if os.environ["CRASH"] == "at once":
    os._exit(1)
if os.environ["CRASH"] == "soon":
    threading.Timer(2, os._exit, [1]).start()

# loading it takes longer than the crash
from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer

dispatcher = Dispatcher()
raised = Path(os.environ["STARTS"] + ".raised")


@dispatcher.message(F.text)  # type: ignore[untyped-decorator]
async def answer(message: Any) -> None:
    if message.text.startswith("slow"):
        await asyncio.sleep(2)
    if message.text.startswith("raise") and not raised.exists():
        raised.touch()
        raise ValueError
    if message.text.startswith("hang"):
        time.sleep(1000)  # noqa: ASYNC251 - it has to block
    if message.text.startswith("flood"):
        sys.stdout.write(f"{'x' * 99}\n" * 700_000)  # 70 MB
    await message.answer(message.text)


async def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(os.environ["BASE"]))
    bots = [Bot(token, session=session) for token in os.environ["TOKENS"].split(",")]
    await dispatcher.start_polling(*bots, polling_timeout=10)


asyncio.run(main())
