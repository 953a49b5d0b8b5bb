const { Bot } = require("grammy");
const handle = require("./handle");

const bot = new Bot(process.env.BOT_TOKEN);
bot.on("message:text", (ctx) => handle(ctx.message.text, (text) => ctx.reply(text)));
bot.start();
process.once("SIGINT", () => bot.stop());
process.once("SIGTERM", () => bot.stop());
