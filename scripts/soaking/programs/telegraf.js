const { Telegraf } = require("telegraf");
const untilTaken = require("./until_taken");

const bot = new Telegraf(process.env.BOT_TOKEN, { handlerTimeout: Infinity });
bot.on(["message", "edited_message"], (ctx) => {
  const { chat, text } = ctx.message ?? ctx.editedMessage;
  if (text) return untilTaken(() => ctx.telegram.sendMessage(chat.id, `echo ${text}`));
});
bot.launch();
