const TelegramBot = require("node-telegram-bot-api");
const untilTaken = require("./until_taken");

const bot = new TelegramBot(process.env.BOT_TOKEN, { polling: { params: { timeout: 20 } } });
const answer = ({ chat, text }) => text && untilTaken(() => bot.sendMessage(chat.id, `echo ${text}`));
bot.on("message", answer);
bot.on("edited_message", answer);
