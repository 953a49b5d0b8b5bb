const TelegramBot = require("node-telegram-bot-api");

const port = Number(process.env.PORT);
const bot = new TelegramBot(process.env.BOT_TOKEN, {
  webHook: { host: "127.0.0.1", port },
  baseApiUrl: process.env.API_ROOT,
});
bot.setWebHook(`http://127.0.0.1:${port}/bot${process.env.BOT_TOKEN}`);
bot.on("message", (message) => {
  bot.sendMessage(message.chat.id, `echo ${message.text}`);
});
