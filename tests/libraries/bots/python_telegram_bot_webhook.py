import os

from telegram import Update
from telegram.ext import Application, ContextTypes, MessageHandler, filters

PORT = int(os.environ["PORT"])


async def echo(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    await update.message.reply_text(f"echo {update.message.text}")


builder = Application.builder().token(os.environ["BOT_TOKEN"])
builder = builder.base_url(f"{os.environ['API_ROOT']}/bot").base_file_url(
    f"{os.environ['API_ROOT']}/file/bot"
)
application = builder.build()
application.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND, echo))
application.run_webhook(
    listen="127.0.0.1",
    port=PORT,
    secret_token="python-telegram-bot-1",
    webhook_url=f"http://127.0.0.1:{PORT}",
)
