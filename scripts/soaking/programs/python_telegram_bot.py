import asyncio
import os

from telegram import Update
from telegram.ext import Application, ContextTypes, MessageHandler, filters


async def answer(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    message = update.effective_message
    for left in reversed(range(150)):  # python-telegram-bot logs what a handler raises, and goes on
        try:
            await context.bot.send_message(message.chat_id, f"echo {message.text}")
            return
        except Exception:
            if not left:
                raise
            await asyncio.sleep(0.2)


application = Application.builder().token(os.environ["BOT_TOKEN"]).concurrent_updates(True).build()
application.add_handler(MessageHandler(filters.TEXT, answer))
application.run_polling(allowed_updates=Update.ALL_TYPES)
