import os
import sys

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import Message
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web

PORT = int(os.environ["PORT"])
dp = Dispatcher()


@dp.message()
async def echo_handler(message: Message):
    if "reply" in sys.argv:
        return message.answer(f"echo {message.text}")
    await message.answer(f"echo {message.text}")


@dp.startup()
async def on_startup(bot: Bot) -> None:
    await bot.set_webhook(f"http://127.0.0.1:{PORT}/webhook", secret_token="aiogram-1")


session = AiohttpSession(api=TelegramAPIServer.from_base(os.environ["API_ROOT"]))
bot = Bot(token=os.environ["BOT_TOKEN"], session=session)
app = web.Application()
handler = SimpleRequestHandler(
    dispatcher=dp,
    bot=bot,
    secret_token="aiogram-1",
    handle_in_background="background" in sys.argv,
)
handler.register(app, path="/webhook")
setup_application(app, dp, bot=bot)
web.run_app(app, host="127.0.0.1", port=PORT)
