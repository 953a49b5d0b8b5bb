const { Bot } = require("grammy");
const { run } = require("@grammyjs/runner");
const untilTaken = require("./until_taken");

const bot = new Bot(process.env.BOT_TOKEN);
bot.on(["message:text", "edited_message:text"], (ctx) => {
  const { chat, text } = ctx.msg;
  return untilTaken(() => ctx.api.sendMessage(chat.id, `echo ${text}`));
});
if (process.argv.includes("runner")) run(bot);
else bot.start();
