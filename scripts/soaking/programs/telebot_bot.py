import os
import sys
import time

import telebot

bot = telebot.TeleBot(os.environ["BOT_TOKEN"], threaded="serial" not in sys.argv, num_threads=8)


@bot.message_handler(func=lambda message: True)
@bot.edited_message_handler(func=lambda message: True)
def answer(message: telebot.types.Message) -> None:
    for left in reversed(range(150)):  # telebot goes on after what a handler raises
        try:
            bot.send_message(message.chat.id, f"echo {message.text}")
            return
        except Exception:
            if not left:
                raise
            time.sleep(0.2)


bot.infinity_polling(timeout=20, long_polling_timeout=20, logger_level=None)
