import os
import sys

from telegram import Update
from telegram.ext import Application, ContextTypes, MessageHandler, filters


async def echo(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    await update.message.reply_text(f"echo {update.message.text}")


builder = Application.builder().token(os.environ["BOT_TOKEN"])
builder = builder.base_url(f"{os.environ['API_ROOT']}/bot").base_file_url(
    f"{os.environ['API_ROOT']}/file/bot"
)
application = builder.concurrent_updates("concurrent" in sys.argv).build()
application.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND, echo))
application.run_polling(allowed_updates=Update.ALL_TYPES)
