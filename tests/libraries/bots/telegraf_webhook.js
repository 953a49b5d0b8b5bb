const { Telegraf } = require("telegraf");
const { message } = require("telegraf/filters");

const port = Number(process.env.PORT);
const bot = new Telegraf(process.env.BOT_TOKEN, { telegram: { apiRoot: process.env.API_ROOT } });
bot.on(message("text"), async (ctx) => {
  if (process.argv[2] === "typing") await ctx.sendChatAction("typing");
  await ctx.reply(`echo ${ctx.message.text}`);
});
bot.launch({ webhook: { domain: `127.0.0.1:${port}`, host: "127.0.0.1", port, secretToken: "Telegraf-1" } });
process.once("SIGINT", () => bot.stop("SIGINT"));
process.once("SIGTERM", () => bot.stop("SIGTERM"));
