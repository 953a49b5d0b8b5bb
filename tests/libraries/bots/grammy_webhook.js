const { createServer } = require("node:http");
const { Bot, webhookCallback } = require("grammy");

const port = Number(process.env.PORT);
const client = {
  apiRoot: process.env.API_ROOT,
  canUseWebhookReply: (method) => process.argv[2] === "reply" && method === "sendMessage",
};
const bot = new Bot(process.env.BOT_TOKEN, { client });
bot.on("message:text", (ctx) => ctx.reply(`echo ${ctx.message.text}`));
const server = createServer(webhookCallback(bot, "http", { secretToken: "grammY-1" }));
server.listen(port, "127.0.0.1", () =>
  bot.api.setWebhook(`http://127.0.0.1:${port}/`, { secret_token: "grammY-1" }),
);
