const TelegramBot = require("node-telegram-bot-api");

const bot = new TelegramBot(process.env.BOT_TOKEN, { polling: true, baseApiUrl: process.env.API_ROOT });
bot.on("message", (message) => {
  bot.sendMessage(message.chat.id, `echo ${message.text}`);
});
