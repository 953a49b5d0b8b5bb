// What is not well, in words, and what to do about it. Pure: rows of the status in, records out.

import { bytes, count, duration, moment, plural } from "./dom.js";

const WAITS_FOR_SLOT = /no slot|max_workers|place/;

// What to do about a bot that failed, by its reason.
const ADVICE = [
  [/restart budget/, "It crashed too often. Look at its last exit, mend the handler and restart it; until then it is tried again from time to time."],
  [/token/, "Telegram refuses the token. Get the right one from BotFather, and put it where the fleet file says."],
  [/import/, "Its handler cannot be imported. Read the last lines of its log, mend the code or the fleet file, then restart it."],
  [/internal error/, "Something broke in the daemon's own code for this bot. Restart the bot, and report the event bot.failed with its error."],
];

export function adviceFor(reason) {
  return ADVICE.find(([pattern]) => pattern.test(reason ?? ""))?.[1] ?? "Read its log and its last exit, then restart it.";
}

// Whether a row needs a look: failed, in back-off, with dead letters, or not answering.
export function isUnwell(row) {
  return severity(row) > 0;
}

// 3: does not work; 2: works badly; 1: something is left to do; 0: well.
export function severity(row) {
  if (row.state === "failed") return 3;
  if (row.state === "backoff") return 2;
  if (isDeaf(row) || isSilent(row) || isStuck(row) || hasWebhookTrouble(row)) return 2;
  return row.queue.dead > 0 ? 1 : 0;
}

// Whether no updates reach a bot that is there for them; its worker may be in good health all the while.
export function isDeaf(row) {
  return row.health?.receiving === false && row.state !== "stopped";
}

export function isSilent(row) {
  return row.pid !== null && row.state === "running" && row.health?.responsive === false;
}

export function isStuck(row) {
  return row.health?.progressing === false;
}

function hasWebhookTrouble(row) {
  const at = row.webhook?.last_error_at;
  return row.transport === "webhook" && typeof at === "number" && Date.now() / 1000 - at < 600;
}

// How a bot is, in one sentence.
export function inWords(row) {
  const waiting = row.queue.ready + row.queue.retry;
  const left = waiting > 0 ? ` ${plural(waiting, "update")} ${waiting === 1 ? "waits" : "wait"}.` : "";
  switch (row.state) {
    case "failed":
      return `It does not work: ${row.reason ?? "for an unknown reason"}.${left}`;
    case "backoff":
      if (row.reason !== null && WAITS_FOR_SLOT.test(row.reason)) return `It waits for a place among the workers.${left}`;
      return `Its worker ended, and the next one starts ${startsIn(row)}.${left}`;
    case "paused":
      return `Paused: updates are accepted, and none is handled.${left}`;
    case "sleeping":
      if (isDeaf(row)) return `Asleep, and it hears nothing: ${row.health.intake.problem}.`;
      return "Asleep: it has no process until an update comes.";
    case "starting":
      return `Its worker is starting.${left}`;
    case "draining":
      return "It finishes what it has in flight, and ends.";
    case "stopped":
      return "It does not run.";
    default:
      if (isDeaf(row)) return `It runs, but it hears nothing since ${moment(row.health.intake.since)}: ${row.health.intake.problem}.${left}`;
      if (isSilent(row)) return `Its worker runs, but has sent no sign of life in time.${left}`;
      if (isStuck(row)) return `An update has been in flight for longer than its time limit.${left}`;
      if (row.queue.retry > 0) return `It runs; ${plural(row.queue.retry, "update")} failed and will be tried again.`;
      return waiting > 0 ? `It runs.${left}` : "It runs, and nothing waits.";
  }
}

export function startsIn(row) {
  if (row.next_start_at === null || row.next_start_at === undefined) return "soon";
  const ms = row.next_start_at * 1000 - Date.now();
  return ms < 1000 ? "now" : `in ${duration(Math.ceil(ms / 1000) * 1000)}`;
}

// An exit of a worker in words. `exit`: `last_exit` of the status.
export function exitInWords(exit) {
  if (exit.oom) return "The kernel killed it, because memory ran out.";
  if (exit.signal !== null && exit.signal !== undefined) return `It was ended by the signal ${exit.signal}.`;
  if (exit.code === 0) return "It ended by itself, with code 0.";
  if (exit.code !== null && exit.code !== undefined) return `It ended by itself, with code ${exit.code}.`;
  return "How it ended is not known.";
}

// Everything that is not well, worst first: {level: "bad" | "warn" | "info", title, detail, todo, href, bots}.
export function problems(fleet, rows, more = []) {
  const found = [...more];
  if (fleet !== null && fleet.config.last_reload_ok === false) {
    found.push({
      level: "bad",
      title: "The last reload was refused",
      detail: fleet.config.error,
      todo: `The settings from before it stay in force. Correct the file${fleet.config.last_reload_at ? `, which was read at ${moment(fleet.config.last_reload_at)}` : ""}; it is read again when it changes.`,
      href: "#/reloads",
      link: "Reloads",
      bots: [],
    });
  }
  for (const group of grouped(rows)) found.push(group);
  const rank = { bad: 0, warn: 1, info: 2 };
  return found.sort((one, other) => rank[one.level] - rank[other.level]);
}

function grouped(rows) {
  const groups = new Map();
  const add = (key, make, row) => {
    let group = groups.get(key);
    if (group === undefined) groups.set(key, (group = { ...make(), bots: [] }));
    group.bots.push(row);
  };
  for (const row of rows) {
    if (row.state === "failed") {
      const reason = row.reason ?? "unknown reason";
      add(`failed ${reason}`, () => ({ level: "bad", what: ["bot failed", "bots failed"], detail: reason, todo: adviceFor(reason), href: "#/bots?show=failed" }), row);
    } else if (row.state === "backoff" && row.reason !== null && WAITS_FOR_SLOT.test(row.reason)) {
      add("slots", () => ({ level: "warn", what: ["bot waits for a place", "bots wait for a place"], detail: row.reason, todo: "More workers are wanted than may run. Raise limits.max_workers or max_workers_per_core, or let bots start on demand.", href: "#/bots?show=backoff" }), row);
    } else if (row.state === "backoff") {
      add("backoff", () => ({ level: "warn", what: ["bot crashed and starts again", "bots crashed and start again"], detail: null, todo: "Look at the last exit. A bot that crashes too often within an hour counts as failed.", href: "#/bots?show=backoff" }), row);
    } else if (isDeaf(row)) {
      const { problem, remedy } = row.health.intake;
      add(`deaf ${problem}`, () => ({ level: "bad", what: ["bot hears nothing", "bots hear nothing"], detail: problem, todo: `${remedy[0].toUpperCase()}${remedy.slice(1)}.`, href: "#/bots?show=unwell" }), row);
    } else if (isSilent(row)) {
      add("silent", () => ({ level: "warn", what: ["bot does not answer", "bots do not answer"], detail: "no sign of life in time", todo: "Its handler may block the loop. It is killed after hang_timeout; the stacks are in its log then.", href: "#/bots?show=unwell" }), row);
    } else if (isStuck(row)) {
      add("stuck", () => ({ level: "warn", what: ["bot makes no progress", "bots make no progress"], detail: "an update is in flight for longer than its time limit", todo: "Look at its log; restart it if the handler hangs.", href: "#/bots?show=unwell" }), row);
    } else if (hasWebhookTrouble(row)) {
      add("webhook", () => ({ level: "warn", what: ["webhook fails", "webhooks fail"], detail: row.webhook.last_error, todo: "Telegram cannot deliver. Look at webhook.public_url, the certificate and the firewall.", href: "#/bots?show=unwell" }), row);
    }
    if (row.queue.dead > 0) {
      add("dead", () => ({ level: "warn", what: null, detail: null, todo: "They were given up. Look why, then replay or purge them.", href: "#/letters", link: "Dead letters" }), row);
    }
  }
  for (const group of groups.values()) {
    if (group.what === null) {
      const letters = group.bots.reduce((sum, row) => sum + row.queue.dead, 0);
      group.title = `${plural(letters, "dead letter")} of ${plural(group.bots.length, "bot")}`;
      group.bots.sort((one, other) => other.queue.dead - one.queue.dead);
    } else group.title = `${count(group.bots.length)} ${group.what[group.bots.length === 1 ? 0 : 1]}`;
  }
  return groups.values();
}

// Memory beside its limit, as the bot's page shows it.
export function memoryInWords(used, limit) {
  if (used === null || used === undefined) return "no process";
  return limit ? `${bytes(used)} of ${bytes(limit)} (${Math.round((100 * used) / limit)} %)` : bytes(used);
}
