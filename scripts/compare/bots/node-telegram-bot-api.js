// The bot of the trials with node-telegram-bot-api; what it does is decided by the first word that it is sent.
const fs = require('fs');

fs.appendFileSync(process.env.STARTS, 'x');
if (process.env.CRASH === 'at once') process.exit(1);
if (process.env.CRASH === 'soon') setTimeout(() => process.exit(1), 2000);

const TelegramBot = require('node-telegram-bot-api'); // loading it takes longer than the crash
const raised = `${process.env.STARTS}.raised`;
const bot = new TelegramBot(process.env.TOKENS, { baseApiUrl: process.env.BASE, polling: { interval: 0 } });
bot.on('message', async (message) => {
  const { text } = message;
  if (text.startsWith('slow')) await new Promise((resolve) => setTimeout(resolve, 2000));
  if (text.startsWith('raise') && !fs.existsSync(raised)) {
    fs.writeFileSync(raised, '');
    throw new Error('raised');
  }
  if (text.startsWith('hang')) for (;;);
  if (text.startsWith('flood')) process.stdout.write(`${'x'.repeat(99)}\n`.repeat(700000)); // 70 MB
  await bot.sendMessage(message.chat.id, text);
});
