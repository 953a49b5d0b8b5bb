// Loaded by redirect.cjs into a bot's Node.js. It wraps the one function with which a library handles an update:
// the daemon is told how each update ended, and calls made meanwhile carry its id (docs/decisions/probe.md).
"use strict";

const { AsyncLocalStorage } = require("async_hooks");
const fs = require("fs");
const Module = require("module");
const net = require("net");
const path = require("path");

const PROBE = "X-Trioworkers-Probe";
const UPDATE = "X-Trioworkers-Update";
const REPEATED = 256; // lines that are written again on a new connection: the kernel may have lost them
const PAUSE = 500; // milliseconds until another connection is tried

// Where the code runs: within a library's polling, or within the handling of an update. `fields`: of its requests.
const within = new AsyncLocalStorage();
let strange = null; // the fields of a process whose library is not known

exports.fields = () => (within.getStore() || {}).fields || strange;

// -- the connection ---------------------------------------------------------------------------------------

const recent = [];
let socket = null;

const open = () => {
  const daemon = new URL(process.env.TRIOWORKERS_API_BASE);
  const target = `/bot${process.env.TRIOWORKERS_TOKEN}/trioworkersProbe`;
  socket = net.connect({ host: daemon.hostname, port: Number(daemon.port) });
  socket.setNoDelay(true);
  socket.unref(); // it keeps no process alive
  socket.resume();
  socket.on("error", () => {});
  socket.on("close", () => setTimeout(open, PAUSE).unref());
  socket.write(`POST ${target} HTTP/1.1\r\nHost: trioworkers\r\nTransfer-Encoding: chunked\r\n\r\n${recent.join("")}`);
};

// Written in this very turn: Node.js asks the kernel at once, so that the end of the process takes nothing back.
const tell = (end) => {
  const line = `${JSON.stringify(end)}\n`;
  const chunk = `${Buffer.byteLength(line).toString(16)}\r\n${line}\r\n`;
  recent.push(chunk);
  if (recent.length > REPEATED) recent.shift();
  if (socket) socket.write(chunk);
  else open();
};

// -- what a handling raised: its type and place, and never a value ----------------------------------------

const FRAME = /^\s+at (?:async )?(?:(.+) \()?((?:file:\/\/)?\/.+):(\d+):\d+\)?$/;
const FOREIGN = /[\\/]node_modules[\\/]/;
const NAME = /^[\w$.]{1,100}$/;

const place = (error) => {
  const stack = String(error.stack);
  const from = error.message ? stack.indexOf(error.message) : -1; // its lines may look like frames
  const frames = from < 0 ? stack : stack.slice(from + error.message.length);
  for (const line of frames.split("\n")) {
    const [, name, address, number] = FRAME.exec(line) || [];
    if (!address) continue;
    const file = address.startsWith("file:") ? decodeURI(address.slice("file://".length)) : address;
    if (FOREIGN.test(file) || file.startsWith(__dirname)) continue;
    const near = path.relative(process.cwd(), file);
    const where = `${near.startsWith("..") ? path.basename(file) : near}:${number}`;
    return name && NAME.test(name) ? ` at ${where} in ${name}` : ` at ${where}`;
  }
  return "";
};

const described = (error) => {
  if (!(error instanceof Error)) return { error: error === null ? "null" : typeof error };
  const type = error.constructor.name;
  const told = { error: (NAME.test(type) ? type : "Error") + place(error) };
  // grammY, Telegraf and node-telegram-bot-api keep there what the Bot API answered
  const answers = [error, error.response, error.response && error.response.body];
  const refusal = answers.find((one) => one && Number.isInteger(one.error_code));
  if (refusal) {
    told.code = refusal.error_code;
    const after = (refusal.parameters || {}).retry_after;
    if (Number.isInteger(after)) told.after = after;
  }
  return told;
};

// -- a handling -------------------------------------------------------------------------------------------

// Of the handling that this code runs in; undefined outside of one.
const handling = () => {
  const store = within.getStore();
  return store && store.open !== undefined ? store : undefined;
};

const raised = (error) => {
  const update = handling();
  if (update && !update.failure) update.failure = described(error);
};

// Runs a bot's own handler of errors; libraries end the process where there is none, and the daemon's retries do not.
const complain = async (own, ...about) => {
  try {
    if (own) return void (await own(...about));
    const [error] = about;
    console.error((error && error.stack) || error);
  } catch (error) {
    console.error((error && error.stack) || error);
  }
};

// Counts what is under way in a handling; what returns before its calls have ended has not ended.
const over = (update) => {
  update.open -= 1;
  if (update.open === 0 && update.wake) update.wake();
};

// Makes a call of a handling. `update`: which one, where a queue of the bot may have lost it.
const tracked = (call, update = handling()) => {
  if (!update) return call();
  update.open += 1;
  return within.run(update, async () => {
    try {
      return await call();
    } finally {
      over(update);
    }
  });
};

// Handles an update by a library's own function, and tells how that ended; then it never fails. An update that did not come by
// polling is left alone: of a webhook, the answer says how it ended.
const handled = (given, handle) => {
  const id = given && given.update_id;
  if (!Number.isInteger(id) || !within.getStore() || handling()) return handle();
  const update = { id, fields: { [UPDATE]: String(id) }, open: 0, wake: null, failure: null };
  return within.run(update, async () => {
    try {
      await handle();
    } catch (error) {
      raised(error);
      await complain(null, error);
    }
    while (update.open) {
      await new Promise((resolve) => (update.wake = resolve));
      await new Promise(setImmediate); // what waited for that call may make another one
    }
    tell({ id, ...update.failure });
  });
};

// -- libraries --------------------------------------------------------------------------------------------

// A function during which polls say which library it is.
const polling = (announced) => (original) =>
  function (...args) {
    const name = announced();
    if (!name) return original.apply(this, args);
    if (!socket) open();
    return within.run({ fields: { [PROBE]: name } }, () => original.apply(this, args));
  };

const telegraf = (module, name) => {
  const { Telegraf } = module.exports;
  const wrapped = new WeakSet();
  const usual = () => String(new Telegraf("0:0").handleError);
  const watch = (bot) => {
    const handler = bot.handleError;
    if (wrapped.has(handler)) return;
    const isOwn = String(handler) !== usual();
    bot.handleError = async (error, ctx) => {
      if (!handling()) return handler.call(bot, error, ctx);
      raised(error);
      await complain(isOwn && handler.bind(bot), error, ctx);
    };
    wrapped.add(bot.handleError);
  };
  const client = module.require("./core/network/client").default.prototype;
  const owners = new WeakMap(); // of each client, the handling that it was made for: a throttler calls from its queue
  return [
    [Telegraf.prototype, "middleware", (original) => function () {
      const middleware = original.call(this);
      return (ctx, next) => {
        owners.set(ctx.telegram, handling());
        return middleware(ctx, next);
      };
    }],
    [Telegraf.prototype, "startPolling", polling(() => name)],
    [client, "callApi", (original) => function (...args) {
      return tracked(() => original.apply(this, args), owners.get(this));
    }],
    [Telegraf.prototype, "handleUpdate", (original) => function (update, ...rest) {
      watch(this);
      return handled(update, () => original.call(this, update, ...rest));
    }],
  ];
};

// The handling that a call was made in: it is noted on the payload before, and looked up after all transformers of the
// bot, of which a throttler calls from its queue. JSON and forms leave symbols out.
const OWNER = Symbol("trioworkers");
const resume = (call, method, payload, ...rest) =>
  payload && payload[OWNER] ? within.run(payload[OWNER], () => call(method, payload, ...rest)) : call(method, payload, ...rest);

let grammyName = null;

const grammy = (module, name) => {
  const { Bot } = module.exports;
  const client = module.require("./core/client.js");
  grammyName = name;
  const watched = new WeakSet();
  const usual = () => String(new Bot("0:0").errorHandler);
  const watch = (bot) => {
    if (watched.has(bot)) return;
    watched.add(bot);
    bot.api.config.use((call, method, payload, ...rest) =>
      tracked(() => call(method, { ...payload, [OWNER]: handling() }, ...rest)));
  };
  return [
    [client, "createRawApi", (original) => (...args) => original(...args).use(resume)],
    [Bot.prototype, "start", polling(() => `${name}; at-once=1`)],
    [Bot.prototype, "stop", polling(() => `${name}; at-once=1`)],
    [Bot.prototype, "handleUpdate", (original) => function (update, ...rest) {
      watch(this);
      return handled(update, async () => {
        try {
          await original.call(this, update, ...rest);
        } catch (error) { // a BotError, which contains what was thrown
          if (!handling()) throw error;
          raised(error.error === undefined ? error : error.error);
          const isOwn = String(this.errorHandler) !== usual();
          await complain(isOwn && ((about) => this.errorHandler(about)), error);
        }
      });
    }],
  ];
};

const runner = ({ exports }) => [
  [exports, "run", polling(() => grammyName)],
  [exports, "createRunner", (original) => (...args) => {
    const made = original(...args);
    return { ...made, start: polling(() => grammyName)(made.start) };
  }],
];

const nodeTelegramBotApi = ({ exports: TelegramBot }, name) => {
  const bot = TelegramBot.prototype;
  const known = new WeakMap(); // listeners, as they are registered in the place of the bot's own
  const followed = (listener) => {
    if (typeof listener !== "function") return listener;
    if (!known.has(listener)) {
      known.set(listener, function (...args) {
        const value = listener.apply(this, args);
        const update = handling();
        if (update && value && typeof value.then === "function") {
          update.open += 1;
          value.then(() => over(update), (error) => {
            raised(error);
            complain(null, error).then(() => over(update));
          });
        }
        return value;
      });
    }
    return known.get(listener);
  };
  const registered = (at) => (original) => function (...args) {
    args[at] = followed(args[at]);
    return original.apply(this, args);
  };
  const removed = (original) => function (event, listener, ...rest) {
    return original.call(this, event, known.get(listener) || listener, ...rest);
  };
  return [
    [bot, "startPolling", polling(() => name)],
    [bot, "processUpdate", (original) => function (update) {
      handled(update, () => original.call(this, update));
    }],
    [bot, "_request", (original) => function (...args) {
      const update = handling();
      if (update) update.open += 1;
      const promise = original.apply(this, args);
      // its promises are Bluebird's, which keep no context unless told
      if (typeof promise.constructor.config === "function") promise.constructor.config({ asyncHooks: true });
      if (!update) return promise;
      return promise.then(
        (value) => {
          over(update);
          return value;
        },
        (error) => {
          over(update);
          throw error;
        },
      );
    }],
    ...["on", "addListener", "once"].map((one) => [bot, one, registered(1)]),
    ...["removeListener", "off"].map((one) => [bot, one, removed]),
    [bot, "onText", registered(1)],
    [bot, "onReplyToMessage", registered(2)],
  ];
};

// `tried`: the oldest and the newest version that was, by two numbers. `file`: the one that has the function.
const LIBRARIES = {
  telegraf: { tried: ["4.0", "4.16"], file: "lib/telegraf.js", patches: telegraf },
  grammy: { tried: ["1.13", "1.46"], file: "out/bot.js", patches: grammy },
  "@grammyjs/runner": { tried: ["2.0", "2.0"], file: "out/runner.js", patches: runner },
  "node-telegram-bot-api": { tried: ["0.50", "0.67"], file: "src/telegram.js", patches: nodeTelegramBotApi },
};

const ordered = (version) => version.split(".").slice(0, 2).reduce((whole, part) => whole * 1e6 + parseInt(part, 10), 0);
const isTried = (version, [oldest, newest]) =>
  ordered(oldest) <= ordered(version) && ordered(version) <= ordered(newest);

const seen = new Map(); // the folders of libraries, and their versions; null: one that is not known
const FILE = /^(.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+))[\\/](.+)$/;

const refuse = (name, version) => {
  strange = strange || { [PROBE]: `${name}/${version}; unknown` };
};

const look = (module, filename) => {
  const [, folder, name, file] = FILE.exec(filename) || [];
  const library = name && Object.prototype.hasOwnProperty.call(LIBRARIES, name) && LIBRARIES[name];
  if (!library) return;
  if (!seen.has(folder)) {
    const { version } = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8"));
    const isKnown = isTried(version, library.tried);
    seen.set(folder, isKnown ? version : null);
    if (!isKnown) refuse(name, version);
  }
  const version = seen.get(folder);
  if (version === null || file !== library.file) return;
  let patches = [];
  try {
    patches = library.patches(module, `${name}/${version}`);
  } catch {
    return refuse(name, version);
  }
  if (!patches.every(([object, method]) => object && typeof object[method] === "function")) return refuse(name, version);
  for (const [object, method, wrap] of patches) object[method] = wrap(object[method]);
};

// Each way of loading a module of CommonJS ends here, `import` and loaders of TypeScript included.
const compile = Module.prototype._compile;
Module.prototype._compile = function (content, filename, ...rest) {
  const result = compile.call(this, content, filename, ...rest);
  look(this, filename);
  return result;
};
