// An echo bot with Telegraf; BASE and TOKEN in its environment. A text that begins with "slow" takes 0.3 s.
const http = require('http');
const { Telegraf } = require('telegraf');

// It keeps connections alive to https addresses only; Telegram's is one.
const bot = new Telegraf(process.env.TOKEN, { telegram: { apiRoot: process.env.BASE } });
bot.telegram.options.agent = new http.Agent({ keepAlive: true, keepAliveMsecs: 10000 });
bot.on('text', async (ctx) => {
  if (ctx.message.text.startsWith('slow')) await new Promise((resolve) => setTimeout(resolve, 300));
  await ctx.reply(ctx.message.text);
});
bot.launch();
process.once('SIGINT', () => bot.stop('SIGINT'));
process.once('SIGTERM', () => bot.stop('SIGTERM'));
