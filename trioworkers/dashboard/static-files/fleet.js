// All bots in one table: filtered, sorted, and as smooth with a thousand of them as with three.

import { bytes, count, duration, el, plural, rate, replace, setAttribute, setText } from "./dom.js";
import { Grid } from "./grid.js";
import { inWords, isDeaf, severity, startsIn } from "./health.js";
import { drawSpark, sparkLine } from "./spark.js";

export const title = "Bots";
export const fills = true; // takes the height of the window, and scrolls within

const SORT_EVERY = 2000; // milliseconds; rows that moved all the time could not be read
const HOLD = 4000; // milliseconds after a movement of the mouse over the table in which no row moves
const SHOWN = {
  all: ["All", () => true],
  unwell: ["Not well", (row) => severity(row) > 0],
  failed: ["Failed", (row) => row.state === "failed"],
  backoff: ["Back-off", (row) => row.state === "backoff"],
  running: ["Running", (row) => row.state === "running"],
  sleeping: ["Sleeping", (row) => row.state === "sleeping"],
  paused: ["Paused", (row) => row.paused],
  dead: ["With dead letters", (row) => row.queue.dead > 0],
};
const LONG_NAME = 14; // characters; of a longer name the middle gives way, as names of a fleet differ at their ends
const NAME_END = 7;
const STATES = ["failed", "backoff", "draining", "starting", "paused", "running", "sleeping", "stopped"];

const text = (cell) => cell;
const waiting = (row) => row.queue.ready + row.queue.retry + row.queue.in_flight;

export function mount(root, { live, query, navigate }) {
  const { history } = live;
  let sort = query.get("sort") ?? "health";
  let shown = Object.hasOwn(SHOWN, query.get("show")) ? query.get("show") : "all";
  let needle = query.get("find") ?? "";
  let sortedAt = 0;
  let movedAt = -HOLD;
  let order = [];

  const rateOf = (row) => history.of(row.bot)?.rate ?? null;
  const columns = [
    { key: "bot", label: "Bot", sortable: true, className: "c-bot", value: (row) => row.bot, make: makeName, show: showName },
    { key: "health", label: "State", hint: "What is not well comes first", sortable: true, className: "c-state", value: rank, make: makeState, show: showState },
    { key: "rate", label: "Updates/s", hint: "Updates handled per second, over the last minute", sortable: true, down: true, className: "c-rate number", value: rateOf, make: makeSpark("rate"), show: (parts, row) => setText(parts.text, rate(rateOf(row))) },
    { key: "latency", label: "Latency", hint: "How long an update takes, over the last minute", sortable: true, down: true, className: "c-latency number", value: (row) => row.latency_ms ?? null, make: makeSpark("latency"), show: (parts, row) => setText(parts.text, duration(row.latency_ms ?? null)) },
    { key: "waiting", label: "Queue", hint: "Updates that wait, are in flight or will be tried again", sortable: true, down: true, className: "c-queue number", value: waiting, make: text, show: showQueue },
    { key: "dead", label: "Dead", hint: "Dead letters", sortable: true, down: true, className: "c-dead number", value: (row) => row.queue.dead, make: text, show: (cell, row) => showCount(cell, row.queue.dead, true) },
    { key: "errors", label: "Errors", hint: "Updates whose handler failed, since the daemon's start", sortable: true, down: true, className: "c-errors number", value: (row) => row.errors, make: text, show: (cell, row) => showCount(cell, row.errors, false) },
    { key: "memory", label: "Memory", hint: "Proportional share (PSS) of the worker's process", sortable: true, down: true, className: "c-memory number", value: (row) => row.memory_bytes, make: text, show: (cell, row) => setText(cell, bytes(row.memory_bytes)) },
    { key: "restarts", label: "Restarts", hint: "Starts of a worker after its first, since the daemon's start", sortable: true, down: true, className: "c-restarts number", value: (row) => row.restarts, make: text, show: (cell, row) => showCount(cell, row.restarts, false) },
    { key: "uptime", label: "Up for", hint: "Age of the worker's process", sortable: true, down: true, className: "c-uptime number", value: (row) => live.uptime(row), make: text, show: (cell, row) => setText(cell, duration(live.uptime(row))) },
    { key: "transport", label: "By", hint: "How updates arrive", sortable: true, className: "c-transport", value: (row) => row.transport, make: text, show: (cell, row) => setText(cell, row.transport ?? "–") },
    { key: "words", label: "In words", className: "c-words", make: text, show: (cell, row) => setText(cell, inWords(row)) },
  ];

  function makeName(cell) {
    const start = el("span", { class: "bot-start" });
    const end = el("span", { class: "bot-end" });
    const link = el("a", { class: "bot-name" }, start, end);
    cell.append(link);
    return { link, start, end };
  }
  function showName({ link, start, end }, row) {
    const cut = row.bot.length > LONG_NAME ? row.bot.length - NAME_END : row.bot.length;
    setText(start, row.bot.slice(0, cut));
    setText(end, row.bot.slice(cut));
    setAttribute(link, "title", row.bot); // it may be cut off
    setAttribute(link, "aria-label", row.bot);
    setAttribute(link, "href", `#/bots/${encodeURIComponent(row.bot)}`);
  }
  function makeState(cell) {
    const badge = el("span", { class: "badge" });
    const note = el("span", { class: "state-note" });
    cell.append(badge, note);
    return { badge, note };
  }
  function showState({ badge, note }, row) {
    if (badge.dataset.state !== row.state) badge.dataset.state = row.state;
    setText(badge, row.state);
    const more = row.state === "backoff" ? startsIn(row) : row.state === "failed" || isDeaf(row) ? (row.reason ?? "") : "";
    setText(note, more);
    setAttribute(note, "title", more === "" ? null : more); // it may be cut off
  }
  function makeSpark(kind) {
    return (cell) => {
      const spark = sparkLine(kind);
      const figure = el("span", { class: "figure" });
      cell.append(el("span", { class: "spark-box" }, spark), figure);
      return { spark, text: figure };
    };
  }
  function showQueue(cell, row) {
    const waits = waiting(row);
    showCount(cell, waits, false);
    setAttribute(cell, "title", waits === 0 ? null : `${row.queue.ready} wait, ${row.queue.in_flight} in flight, ${row.queue.retry} to be tried again`);
  }
  function showCount(cell, n, isBad) {
    setText(cell, count(n));
    cell.classList.toggle("bad", isBad && n > 0);
    cell.classList.toggle("faint", n === 0);
  }

  // What is not well first, worst first; then by state, so that a thousand running bots stand together.
  function rank(row) {
    return (3 - severity(row)) * 10 + STATES.indexOf(row.state);
  }

  const grid = new Grid({
    label: "Bots",
    columns,
    keyOf: (row) => row.bot,
    onSort: (key) => {
      const column = columns.find((one) => one.key === key);
      const [was, isDown] = [sort.replace("-", ""), sort.startsWith("-")];
      sort = was === key ? (isDown ? key : `-${key}`) : column.down ? `-${key}` : key;
      remember();
      update({ resort: true });
    },
    onOpen: (bot) => navigate(`#/bots/${encodeURIComponent(bot)}`),
    onAppear: drawSparks,
  });

  const find = el("input", { type: "search", id: "find", placeholder: "Name of a bot", value: needle, autocomplete: "off", "aria-keyshortcuts": "/" });
  const show = el("select", { id: "show" }, Object.entries(SHOWN).map(([key, [label]]) => el("option", { value: key, selected: key === shown }, label)));
  const tally = el("p", { class: "muted", role: "status" });
  const none = el("div", { class: "empty panel", hidden: true });
  find.addEventListener("input", () => {
    needle = find.value.trim();
    remember();
    update({ resort: true });
  });
  show.addEventListener("change", () => {
    shown = show.value;
    remember();
    update({ resort: true });
  });
  grid.root.addEventListener("pointermove", () => (movedAt = performance.now()), { passive: true });

  replace(
    root,
    el("div", { class: "head" }, el("h1", {}, "Bots"), tally),
    el("div", { class: "filters", role: "search" }, el("div", { class: "field grow" }, el("label", { for: "find" }, "Find"), find), el("div", { class: "field" }, el("label", { for: "show" }, "Show"), show)),
    el("div", { class: "fleet-box" }, grid.root, none),
  );

  function remember() {
    const said = new URLSearchParams();
    if (shown !== "all") said.set("show", shown);
    if (needle !== "") said.set("find", needle);
    if (sort !== "health") said.set("sort", sort);
    navigate(said.size === 0 ? "#/bots" : `#/bots?${said}`, { stay: true });
  }

  // Filters and sorts; without `resort`, rows keep their places for a while, or while somebody is among them.
  function update({ resort = false } = {}) {
    const now = performance.now();
    const isDue = resort || (now - sortedAt > SORT_EVERY && now - movedAt > HOLD && !grid.hasFocus);
    const wanted = needle.toLowerCase();
    const passes = SHOWN[shown][1];
    const places = isDue ? null : new Map(order.map((bot, at) => [bot, at]));
    const rows = [];
    for (const row of live.rows.values()) {
      const isShown = wanted === "" || row.bot.toLowerCase().includes(wanted);
      if (isShown && passes(row)) rows.push(row);
    }
    if (isDue) {
      sortRows(rows);
      sortedAt = now;
      order = rows.map((row) => row.bot);
    } else rows.sort((one, other) => (places.get(one.bot) ?? Infinity) - (places.get(other.bot) ?? Infinity) || 0);
    const [key, isDown] = [sort.replace("-", ""), sort.startsWith("-")];
    grid.showSort(key, isDown);
    grid.setItems(rows);
    setText(tally, rows.length === live.rows.size ? plural(rows.length, "bot") : `${count(rows.length)} of ${plural(live.rows.size, "bot")}`);
    none.hidden = rows.length > 0;
    if (rows.length === 0) explain();
  }

  function explain() {
    if (live.fleet === null) replace(none, el("strong", {}, "Waiting for the daemon"), "The bots appear here as soon as it answers.");
    else if (live.rows.size === 0) replace(none, el("strong", {}, "This fleet has no bots"), "Add a table [bots.NAME] to the fleet file, or run ", el("code", {}, "trioworkers bots add"), ".");
    else if (shown === "unwell" && needle === "") replace(none, el("strong", {}, "All bots are well"), "Nothing failed, nothing is in back-off, and there are no dead letters.");
    else replace(none, el("strong", {}, "No bot fits"), "Choose “All”, or look for another name.");
  }

  function sortRows(rows) {
    const [key, isDown] = [sort.replace("-", ""), sort.startsWith("-")];
    const column = columns.find((one) => one.key === key && one.sortable) ?? columns[1];
    const values = new Map(rows.map((row) => [row, column.value(row)]));
    const sign = isDown ? -1 : 1;
    rows.sort((one, other) => {
      const [a, b] = [values.get(one), values.get(other)];
      if (a !== b) {
        if (a === null || a === undefined) return 1; // what is not known is last, either way
        if (b === null || b === undefined) return -1;
        return (a < b ? -1 : 1) * sign;
      }
      return one.bot < other.bot ? -1 : 1;
    });
  }

  function drawSparks(parts, row) {
    const series = history.of(row.bot);
    drawSpark(parts.rate.spark, series?.rates ?? [], { filled: series?.filled ?? 0 });
    drawSpark(parts.latency.spark, series?.latencies ?? [], { filled: series?.filled ?? 0, floor: 5 });
  }

  const onSlash = (event) => {
    const isTyping = event.target.closest("input, textarea, select, dialog") !== null;
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    find.focus();
  };
  document.addEventListener("keydown", onSlash);
  let drawing = null;
  const onSample = () => {
    grid.refresh(); // ages run on
    drawing ??= requestAnimationFrame(() => {
      drawing = null;
      grid.each(drawSparks);
    });
  };
  const ends = [live.on("rows", () => update()), live.on("sample", onSample), live.on("state", () => update())];
  update({ resort: true });
  return () => {
    for (const end of ends) end();
    document.removeEventListener("keydown", onSlash);
    cancelAnimationFrame(drawing);
    grid.close();
  };
}
