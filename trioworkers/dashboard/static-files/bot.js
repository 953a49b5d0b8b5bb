// One bot: how it is, what happened to it, its log, and what can be done.

import { ApiError } from "./api.js";
import { badge, count, duration, el, plural, rate, replace, setText, time } from "./dom.js";
import { adviceFor, exitInWords, inWords, isDeaf, memoryInWords, startsIn } from "./health.js";
import { logPanel } from "./log.js";
import { eventLine } from "./overview.js";
import { settingsPanel } from "./settings.js";
import { drawSpark, sparkLine } from "./spark.js";

export const title = "Bot";

const LOOK_EVERY = 5000; // milliseconds, for what the stream does not tell
const SHOWN_EVENTS = 12;

export function mount(root, { api, live, path, announce, confirm }) {
  const name = path[0];
  const address = `/api/bots/${encodeURIComponent(name)}`;
  let details = null;
  let busy = null; // the act that is under way
  let hasEnded = false;
  let wasThere = false; // since this page was opened

  const state = el("span", { class: "badge" });
  const words = el("p", { class: "health-words" });
  const advice = el("p", { class: "muted", hidden: true });
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const facts = el("dl", { class: "facts" });
  const exit = el("div", {});
  const events = el("ol", { class: "events" });
  const settings = el("div", {});
  const rateBox = chart("Updates per second", "rate");
  const latencyBox = chart("Latency", "latency");
  const pause = el("button", { class: "button", type: "button", onclick: togglePause }, "Pause");
  const restart = el("button", { class: "button", type: "button", onclick: askRestart }, "Restart");
  const log = logPanel({ api, address, live });

  const charts = el("div", { class: "charts" }, rateBox.root, latencyBox.root);
  const now = panel("Now", facts);
  const rest = [
    el("div", { class: "grid" }, now, panel("Last exit", exit)),
    log.root,
    el("div", { class: "grid" }, panel("What happened", events), panel("Settings in force", settings)),
  ];

  replace(
    root,
    el("p", { class: "crumbs" }, el("a", { href: "#/bots" }, "Bots")),
    el("div", { class: "head" }, el("h1", {}, name), state, el("div", { class: "head-actions" }, pause, restart)),
    error,
    el("section", { class: "panel health", "aria-label": "Health" }, words, advice, charts),
    rest,
  );

  function draw() {
    const row = live.rows.get(name);
    if (row === undefined) {
      const isKnown = live.fleet !== null;
      state.hidden = !isKnown;
      state.dataset.state = "stopped";
      setText(state, "not there");
      setText(words, isKnown ? "This daemon runs no bot of that name. It may have been removed by a reload." : "Waiting for the daemon…");
      pause.disabled = restart.disabled = true;
      advice.hidden = charts.hidden = now.hidden = true; // they tell nothing that is so now
      for (const one of rest) one.hidden = !wasThere; // what happened before it was removed can still be read
      return;
    }
    wasThere = true;
    charts.hidden = now.hidden = false;
    for (const one of rest) one.hidden = false;
    state.hidden = false;
    if (state.dataset.state !== row.state) state.dataset.state = row.state;
    setText(state, row.state);
    setText(words, inWords(row));
    advice.hidden = row.state !== "failed" && !isDeaf(row);
    if (row.state === "failed") setText(advice, adviceFor(row.reason));
    else if (!advice.hidden) setText(advice, `What to do: ${row.health.intake.remedy}.`);
    setText(pause, busy === "pause" ? "Pausing…" : busy === "resume" ? "Resuming…" : row.paused ? "Resume" : "Pause");
    setText(restart, busy === "restart" ? "Restarting…" : "Restart");
    pause.disabled = restart.disabled = busy !== null || live.state !== "live";
    drawFacts(row);
    drawExit(row);
  }

  function drawFacts(row) {
    const { queue, health } = row;
    const limit = details?.settings?.memory_limit;
    const entries = [
      ["Queue", `${count(queue.ready)} waiting, ${count(queue.in_flight)} in flight, ${count(queue.retry)} to be tried again`],
      ["Dead letters", queue.dead === 0 ? "none" : el("a", { href: `#/letters?bot=${encodeURIComponent(name)}` }, count(queue.dead))],
      ["Handled", `${plural(row.messages, "update")}, ${plural(row.errors, "failure")}`],
      ["Memory", memoryInWords(row.memory_bytes, limit)],
      ["Restarts", row.state === "backoff" ? `${count(row.restarts)}; the next start ${startsIn(row)}` : count(row.restarts)],
      ["Process", row.pid === null ? "none" : `${row.pid}, up for ${duration(live.uptime(row))}`],
      ["Updates come by", row.transport ?? "–"],
      ["Alive", yes(health.alive)],
      ["Responsive", health.alive ? `${yes(health.responsive)}; its loop was ${duration(health.loop_lag_ms)} late` : "no process"],
      ["Makes progress", health.oldest_in_flight_ms > 0 ? `${yes(health.progressing)}; the oldest update is in flight for ${duration(health.oldest_in_flight_ms)}` : yes(health.progressing)],
      ["Receives updates", yes(health.receiving !== false)],
      ["Code", row.code === null ? "–" : el("code", {}, row.code)],
      ["Telegram id", String(row.bot_id)],
    ];
    if (row.webhook?.last_error) entries.push(["Telegram says", el("span", { class: "bad" }, row.webhook.last_error)]);
    for (const [plugin, fields] of Object.entries(row.plugins ?? {})) if (Object.keys(fields).length > 0) entries.push([plugin, Object.entries(fields).map(([key, value]) => `${key} ${value}`).join(", ")]);
    const known = facts.children.length === 2 * entries.length;
    entries.forEach(([label, value], at) => {
      if (!known) return;
      setText(facts.children[2 * at], label);
      const cell = facts.children[2 * at + 1];
      if (value instanceof Node) {
        if (cell.textContent !== value.textContent) replace(cell, value);
      } else setText(cell, value);
    });
    if (!known) replace(facts, entries.map(([label, value]) => [el("dt", {}, label), el("dd", {}, value)]));
  }

  function drawExit(row) {
    const last = row.last_exit;
    const key = last === null ? "none" : String(last.at);
    if (exit.dataset.key === key) return;
    exit.dataset.key = key;
    if (last === null) {
      replace(exit, el("p", { class: "muted" }, "No worker of this bot has ended since the daemon started."));
      return;
    }
    const lines = Array.isArray(last.stderr) ? last.stderr.join("\n") : (last.stderr ?? "");
    const shown = lines.trim() === "" ? el("p", { class: "muted" }, "It wrote nothing before.") : [el("p", { class: "muted small" }, "Its last lines:"), el("pre", { class: "output", tabindex: "0", role: "region", "aria-label": "The last lines before the exit" }, lines)];
    replace(exit, el("p", {}, exitInWords(last), " ", el("span", { class: "muted" }, time(last.at))), shown);
  }

  function drawEvents() {
    const own = live.events.filter((event) => event.bot === name).slice(-SHOWN_EVENTS).reverse();
    if (own.length === 0) replace(events, el("li", { class: "muted" }, "Nothing since this page was opened."));
    else replace(events, own.map((event) => eventLine({ ...event, bot: null })));
  }

  function drawCharts() {
    const series = live.history.of(name);
    const row = live.rows.get(name);
    if (series === undefined || row === undefined) return;
    rateBox.draw(series.rates, series.filled, rate(series.rate), 1);
    latencyBox.draw(series.latencies, series.filled, duration(row.latency_ms ?? null), 5);
  }

  async function look() {
    if (live.state !== "live") return;
    try {
      details = await api.get(address);
    } catch {
      return; // the stream tells whether the bot is there, and the banner whether the daemon is
    }
    if (hasEnded) return;
    settingsPanel(settings, details);
    draw();
  }

  async function act(what, path_, done) {
    busy = what;
    error.hidden = true;
    draw();
    try {
      await api.post(`${address}/${path_}`);
      announce(done);
    } catch (refused) {
      if (!(refused instanceof ApiError)) throw refused;
      if (!hasEnded) {
        error.hidden = false;
        setText(error, `${name} could not be ${{ pause: "paused", resume: "resumed", restart: "restarted" }[what]}: ${refused.message}`);
      }
    }
    busy = null;
    if (!hasEnded) draw();
  }

  async function togglePause() {
    if (live.rows.get(name).paused) return act("resume", "resume", `${name} handles updates again.`);
    const question = `Pause ${name}?\nUpdates are still accepted, but none is handled until it is resumed, also after a restart of the daemon.`;
    if (await confirm(question, "Pause")) return act("pause", "pause", `${name} is paused.`);
  }

  async function askRestart() {
    const question = `Restart ${name}?\nIts worker is replaced by one with the code as it is now. Nothing is lost: updates in flight are finished or wait.`;
    if (await confirm(question, "Restart")) return act("restart", "restart", `${name} has a new worker.`);
  }

  const ends = [
    live.on("rows", (dirty) => dirty.has(name) && draw()),
    live.on("sample", () => {
      draw();
      drawCharts();
    }),
    live.on("state", (now) => {
      draw();
      if (now === "live") look();
    }),
    live.on("event", (event) => event.bot === name && drawEvents()),
  ];
  const looks = setInterval(look, LOOK_EVERY);
  draw();
  drawEvents();
  drawCharts();
  look();
  return () => {
    hasEnded = true;
    clearInterval(looks);
    log.close();
    for (const end of ends) end();
  };
}

function panel(label, ...children) {
  return el("section", { class: "panel", "aria-label": label }, el("h2", {}, label), children);
}

function yes(is) {
  return is ? "yes" : "no";
}

function chart(label, kind) {
  const spark = sparkLine(kind);
  const figure = el("span", { class: "chart-figure number" }, "–");
  const root = el("figure", { class: "chart" }, el("figcaption", {}, el("span", { class: "muted" }, label), figure), el("div", { class: "chart-box" }, spark));
  return {
    root,
    draw(values, filled, text, floor) {
      setText(figure, text);
      drawSpark(spark, values, { filled, floor });
    },
  };
}
