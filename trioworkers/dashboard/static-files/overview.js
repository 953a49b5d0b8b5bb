// The first page: what is not well, then how the fleet does.

import { bytes, count, duration, el, keepFocus, plural, rate, replace, setText, time } from "./dom.js";
import { problems } from "./health.js";
import { drawSpark, sparkLine } from "./spark.js";

export const title = "Overview";

const SHOWN_BOTS = 6; // of each problem; the table shows all of them
const SHOWN_EVENTS = 40;
const REDRAW = 1000; // milliseconds
const STATES = ["running", "sleeping", "paused", "starting", "draining", "backoff", "failed", "stopped"];

export function mount(root, { api, live }) {
  const list = el("div", { class: "problems" });
  const state = el("p", { class: "muted" });
  const figures = el("div", { class: "figures" });
  const bar = el("div", { class: "state-bar", "aria-hidden": "true" });
  const legend = el("ul", { class: "legend" });
  const events = el("ol", { class: "events" });
  const spark = sparkLine("rate");
  const cells = Object.fromEntries(
    [
      ["rate", "updates per second"],
      ["waiting", "updates waiting"],
      ["retry", "to be tried again"],
      ["dead", "dead letters"],
      ["memory", "memory of all workers"],
      ["uptime", "since the daemon started"],
    ].map(([key, label]) => [key, figure(figures, label)]),
  );
  let others = []; // problems that other endpoints tell
  let isDue = false;

  replace(
    root,
    el("div", { class: "head" }, el("h1", {}, "Overview"), state),
    el("section", { "aria-labelledby": "unwell-title" }, el("h2", { id: "unwell-title", class: "visually-hidden" }, "What is not well"), list),
    el(
      "div",
      { class: "overview-columns" },
      el("section", { class: "panel", "aria-labelledby": "fleet-title" }, el("h2", { id: "fleet-title" }, "The fleet"), bar, legend, figures, el("p", { class: "muted small total-label" }, "Updates per second, over the last minute"), el("div", { class: "total-spark" }, spark)),
      el("section", { class: "panel", "aria-labelledby": "events-title" }, el("h2", { id: "events-title" }, "What happened"), events),
    ),
  );

  const quietly = (path) => api.get(path).catch(() => null); // the banner tells when the daemon is gone

  async function lookElsewhere() {
    const found = [];
    const plugins = (await quietly("/api/plugins"))?.plugins ?? [];
    const isActive = (name) => plugins.some((plugin) => plugin.name === name && plugin.state === "active");
    const [alerts, handoffs] = await Promise.all([isActive("alerts") ? quietly("/api/alerts") : null, isActive("handoff") ? quietly("/api/handoffs") : null]);
    for (const plugin of plugins) {
      if (plugin.state !== "off" && plugin.state !== "not loaded") continue;
      found.push({ level: "warn", title: `The plugin ${plugin.name} is ${plugin.state === "off" ? "switched off" : "not loaded"}`, detail: plugin.reason, todo: "A change of its settings or a restart of the daemon switches it on again.", href: "#/plugins", link: "Plugins", bots: [] });
    }
    const firing = (alerts?.alerts ?? []).filter((alert) => alert.state === undefined || alert.state === "firing");
    if (firing.length > 0) found.push({ level: "warn", title: `${plural(firing.length, "alert")} ${firing.length === 1 ? "is" : "are"} on`, detail: null, todo: "They are sent to the chat or the URL of [plugins.alerts].", href: "#/alerts", link: "Alerts", bots: [] });
    const queued = (handoffs?.handoffs ?? []).filter((one) => one.state === "queued" || one.state === "requested");
    if (queued.length > 0) found.push({ level: "info", title: `${plural(queued.length, "person", "people")} ${queued.length === 1 ? "waits" : "wait"} for an operator`, detail: null, todo: "Take the dialog at the desk.", href: "#/desk", link: "Operators' desk", bots: [] });
    others = found;
    draw();
  }

  function draw() {
    isDue = false;
    const { fleet } = live;
    if (fleet === null) {
      replace(list, el("p", { class: "empty panel" }, el("strong", {}, "Waiting for the daemon"), "The fleet appears here as soon as it answers."));
      return;
    }
    const rows = [...live.rows.values()];
    const nodes = fleet.node?.nodes ?? [];
    const where = fleet.node ? ` · node ${fleet.node.name} of ${nodes.length}` : "";
    setText(state, `${plural(rows.length, "bot")}${where} · daemon ${fleet.state} · version ${fleet.version}`);
    drawProblems(problems(fleet, rows, [...nodeTrouble(nodes), ...others, ...storeTrouble()]), rows.length);
    drawStates(rows);
    const sum = (get) => rows.reduce((total, row) => total + (get(row) ?? 0), 0);
    setText(cells.rate, rate(live.history.total.rate));
    setText(cells.waiting, count(sum((row) => row.queue.ready + row.queue.in_flight)));
    setText(cells.retry, count(sum((row) => row.queue.retry)));
    setText(cells.dead, count(sum((row) => row.queue.dead)));
    setText(cells.memory, bytes(sum((row) => row.memory_bytes)));
    setText(cells.uptime, duration(live.uptime(fleet)));
  }

  // Nodes that miss renewals of their lease, or give their bots away.
  function nodeTrouble(nodes) {
    const found = [];
    for (const { node, state, bots } of nodes) {
      if (state === "silent") found.push({ level: "bad", title: `Node ${node} is silent`, detail: `It has ${plural(bots, "bot")}, and does not renew its lease.`, todo: "When the lease has ended, other nodes run its bots. See whether its machine runs, and reaches the database.", href: null, bots: [] });
      if (state === "draining") found.push({ level: "info", title: `Node ${node} drains`, detail: `It has ${plural(bots, "bot")} left.`, todo: "It claims no bots until its daemon starts again, or until trioworkers nodes drain --undo.", href: null, bots: [] });
    }
    return found;
  }

  // Trouble of the store is told by events only: by those that were seen since the page was opened.
  function storeTrouble() {
    const last = live.events.findLast((event) => /^inbox\.(trouble|full|recovered)$/.test(event.event));
    if (last === undefined || last.event === "inbox.recovered") return [];
    return [{ level: "bad", title: last.event === "inbox.full" ? "The disk is nearly full: no update is accepted" : "The store cannot be read or written", detail: last.reason, todo: "Make room on the disk of state_dir. Telegram keeps the updates meanwhile.", href: null, bots: [] }];
  }

  let drawn = "";
  function drawProblems(found, many) {
    const key = JSON.stringify(found.map((one) => [one.title, one.detail, one.bots.length, one.bots.slice(0, SHOWN_BOTS).map((row) => row.bot)]));
    if (key === drawn) return; // what somebody reads or is about to press stays where it is
    drawn = key;
    if (found.length === 0) {
      replace(list, many === 0 ? el("p", { class: "empty panel" }, el("strong", {}, "This fleet has no bots yet"), "Add a table [bots.NAME] to the fleet file, or run ", el("code", {}, "trioworkers bots add"), ".") : el("p", { class: "all-well" }, el("span", { class: "badge", "data-state": "good" }, "all well"), "Nothing failed, nothing is in back-off, and there are no dead letters."));
      return;
    }
    keepFocus(list, () => replace(list, el("ul", {}, found.map(problem))));
  }

  function problem(one) {
    const names = one.bots.slice(0, SHOWN_BOTS).map((row) => el("li", {}, el("a", { href: `#/bots/${encodeURIComponent(row.bot)}` }, row.bot)));
    const more = one.bots.length - names.length;
    if (more > 0) names.push(el("li", {}, el("a", { href: one.href }, `and ${count(more)} more`)));
    const word = { bad: "broken", warn: "look", info: "to do" }[one.level];
    return el(
      "li",
      { class: "problem", "data-level": one.level },
      el("div", { class: "problem-head" }, el("span", { class: "badge", "data-state": one.level }, word), el("h3", {}, one.title), one.link ? el("a", { class: "problem-link", href: one.href }, one.link) : null),
      one.detail ? el("p", { class: "problem-detail" }, one.detail) : null,
      el("p", { class: "muted" }, one.todo),
      names.length > 0 ? el("ul", { class: "names" }, names) : null,
    );
  }

  function drawStates(rows) {
    const counts = new Map();
    for (const row of rows) counts.set(row.state, (counts.get(row.state) ?? 0) + 1);
    const there = STATES.filter((one) => counts.has(one));
    const key = there.map((one) => `${one}${counts.get(one)}`).join();
    if (bar.dataset.key === key) return;
    bar.dataset.key = key;
    const parts = there.map((one) => {
      const part = el("span", { "data-state": one });
      part.style.flexGrow = counts.get(one);
      return part;
    });
    replace(bar, parts);
    replace(legend, there.map((one) => el("li", {}, el("span", { class: "badge", "data-state": one }, one), el("span", { class: "number" }, count(counts.get(one))))));
  }

  function drawEvents() {
    const last = live.events.slice(-SHOWN_EVENTS).reverse();
    if (last.length === 0) replace(events, el("li", { class: "muted" }, "Nothing since this page was opened."));
    else keepFocus(events, () => replace(events, last.map(eventLine)));
  }

  const drawSoon = () => {
    if (!isDue) {
      isDue = true;
      setTimeout(draw, 0);
    }
  };
  let eventsDue = null;
  const ends = [
    live.on("rows", drawSoon),
    live.on("state", (now) => now === "live" && lookElsewhere()),
    live.on("event", (event) => {
      eventsDue ??= setTimeout(() => {
        eventsDue = null;
        drawEvents();
      }, 500);
      if (/^(plugin\.disabled|handoff\.|alert)/.test(event.event)) lookSoon();
    }),
    live.on("sample", () => {
      const { total } = live.history;
      drawSpark(spark, total.rates, { filled: total.filled });
    }),
  ];
  let looking = null;
  function lookSoon() {
    looking ??= setTimeout(() => {
      looking = null;
      lookElsewhere();
    }, 1000);
  }
  const timer = setInterval(draw, REDRAW);
  const looks = setInterval(() => live.state === "live" && lookElsewhere(), 30_000);
  draw();
  drawEvents();
  if (live.state === "live") lookElsewhere();
  return () => {
    clearInterval(timer);
    clearInterval(looks);
    clearTimeout(eventsDue);
    clearTimeout(looking);
    for (const end of ends) end();
  };
}

function figure(root, label) {
  const value = el("dd", { class: "figure-value number" }, "–");
  root.append(el("dl", { class: "figure-box" }, el("dt", {}, label), value));
  return value;
}

const QUIET = new Set(["type", "seq", "at", "level", "event", "bot", "trace_id"]);

// One event as a line: its time, what it is, whose, and its own fields.
export function eventLine(event) {
  const fields = Object.entries(event).filter(([name, value]) => !QUIET.has(name) && value !== null && value !== undefined && typeof value !== "object");
  const level = event.level === "warn" || event.level === "error" ? event.level : "plain";
  return el(
    "li",
    { class: "event", "data-level": level },
    time(event.at),
    el("span", { class: "event-name" }, level === "plain" ? null : el("span", { class: "visually-hidden" }, `${level}: `), event.event),
    event.bot ? el("a", { href: `#/bots/${encodeURIComponent(event.bot)}` }, event.bot) : el("span", {}, ""),
    el("span", { class: "event-fields muted" }, fields.map(([name, value]) => `${name} ${typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(3)) : value}`).join(" · ")),
  );
}
