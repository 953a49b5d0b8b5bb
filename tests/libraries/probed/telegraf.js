const { Telegraf } = require("telegraf");
const { message } = require("telegraf/filters");
const handle = require("./handle");

const bot = new Telegraf(process.env.BOT_TOKEN);
bot.on(message("text"), (ctx) => handle(ctx.message.text, (text) => ctx.reply(text)));
bot.launch();
process.once("SIGINT", () => bot.stop("SIGINT"));
process.once("SIGTERM", () => bot.stop("SIGTERM"));
