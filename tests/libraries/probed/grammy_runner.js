const { Bot } = require("grammy");
const { run, sequentialize } = require("@grammyjs/runner");
const handle = require("./handle");

const bot = new Bot(process.env.BOT_TOKEN);
if (process.argv.includes("sequentialize")) bot.use(sequentialize((ctx) => String(ctx.chat.id)));
bot.on("message:text", (ctx) => handle(ctx.message.text, (text) => ctx.reply(text)));
bot.catch((error) => console.log("error handler", error.error.constructor.name));
const runner = run(bot);
const stop = () => runner.isRunning() && runner.stop();
process.once("SIGINT", stop);
process.once("SIGTERM", stop);
