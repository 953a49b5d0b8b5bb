// The bot of the trials with Telegraf; what it does is decided by the first word that it is sent.
const fs = require('fs');

fs.appendFileSync(process.env.STARTS, 'x');
if (process.env.CRASH === 'at once') process.exit(1);
if (process.env.CRASH === 'soon') setTimeout(() => process.exit(1), 2000);

const { Telegraf } = require('telegraf'); // loading it takes longer than the crash
const raised = `${process.env.STARTS}.raised`;
const bot = new Telegraf(process.env.TOKENS, { telegram: { apiRoot: process.env.BASE } });
bot.on('text', async (ctx) => {
  const { text } = ctx.message;
  if (text.startsWith('slow')) await new Promise((resolve) => setTimeout(resolve, 2000));
  if (text.startsWith('raise') && !fs.existsSync(raised)) {
    fs.writeFileSync(raised, '');
    throw new Error('raised');
  }
  if (text.startsWith('hang')) for (;;);
  if (text.startsWith('flood')) process.stdout.write(`${'x'.repeat(99)}\n`.repeat(700000)); // 70 MB
  await ctx.reply(text);
});
bot.launch();
