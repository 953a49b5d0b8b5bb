import os
import sys
import time

import telebot

SLOW = float(os.environ.get("SLOW", "0"))
bot = telebot.TeleBot(os.environ["BOT_TOKEN"], threaded="serial" not in sys.argv)


@bot.message_handler(func=lambda message: True)
def handle(message):
    bot.send_message(message.chat.id, f"begun {message.text}")
    time.sleep(SLOW)
    if "fail" in message.text:
        raise ValueError(message.text)
    bot.send_message(message.chat.id, f"echo {message.text}")


bot.infinity_polling()
