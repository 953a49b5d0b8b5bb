import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import telebot
from telebot import apihelper

apihelper.API_URL = os.environ["API_ROOT"] + "/bot{0}/{1}"
bot = telebot.TeleBot(os.environ["BOT_TOKEN"], threaded=False)
PORT = int(os.environ["PORT"])


class WebhookHandler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        bot.process_new_updates([telebot.types.Update.de_json(body.decode())])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass


@bot.message_handler(func=lambda message: True)
def echo_message(message):
    bot.reply_to(message, f"echo {message.text}")


bot.remove_webhook()
bot.set_webhook(url=f"http://127.0.0.1:{PORT}/")
ThreadingHTTPServer(("127.0.0.1", PORT), WebhookHandler).serve_forever()
