const pause = require("timers/promises").setTimeout;

const SLOW = Number(process.env.SLOW || "0") * 1000;

class ValueError extends Error {}

// What each bot does with a text. `say`: sends one.
module.exports = async function handle(text, say) {
  await say(`begun ${text}`);
  await pause(SLOW);
  if (text.includes("fail")) throw new ValueError(text);
  await say(`echo ${text}`);
};
