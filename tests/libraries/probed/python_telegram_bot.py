import asyncio
import os
import sys

from telegram import Update
from telegram.ext import Application, ContextTypes, MessageHandler, filters

SLOW = float(os.environ.get("SLOW", "0"))


async def handle(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    text = update.message.text
    await update.message.reply_text(f"begun {text}")
    await asyncio.sleep(SLOW)
    if "fail" in text:
        raise ValueError(text)
    await update.message.reply_text(f"echo {text}")


async def on_error(update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
    print("error handler", type(context.error).__name__, flush=True)


builder = Application.builder().token(os.environ["BOT_TOKEN"])
application = builder.concurrent_updates("concurrent" in sys.argv).build()
application.add_handler(MessageHandler(filters.TEXT, handle, block="unblocked" not in sys.argv))
application.add_error_handler(on_error)
application.run_polling(allowed_updates=Update.ALL_TYPES)
