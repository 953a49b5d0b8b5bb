// An echo bot with node-telegram-bot-api; BASE and TOKEN in its environment. "slow" takes 0.3 s.
const TelegramBot = require('node-telegram-bot-api');

// Its own 300 ms of rest between polls would be its latency, and its polls of 10 s more idle work than ours.
const polling = { interval: 0, params: { timeout: 50 } };
const bot = new TelegramBot(process.env.TOKEN, { baseApiUrl: process.env.BASE, polling });
bot.on('message', async (message) => {
  if (message.text.startsWith('slow')) await new Promise((resolve) => setTimeout(resolve, 300));
  await bot.sendMessage(message.chat.id, message.text);
});
