const TelegramBot = require("node-telegram-bot-api");
const handle = require("./handle");

const bot = new TelegramBot(process.env.BOT_TOKEN, { polling: true });
bot.on("message", (message) => handle(message.text, (text) => bot.sendMessage(message.chat.id, text)));
