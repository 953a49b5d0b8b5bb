// The log of a bot, as it is written: the last lines, and what comes after them.

import { el, replace, setText } from "./dom.js";

const FIRST = 200; // lines
const KEPT = 2000; // lines in the document
const LOOK_EVERY = 1000; // milliseconds
const REFUSED_EVERY = 10_000; // milliseconds, while there is no log to read

// A panel that follows a log; `address` is the bot's. To be closed.
export function logPanel({ api, address, live }) {
  const lines = el("div", { class: "output log", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "Log" });
  const follow = el("input", { type: "checkbox", id: "follow", checked: true });
  const note = el("p", { class: "muted small" });
  const root = el(
    "section",
    { class: "panel", "aria-label": "Log" },
    el("div", { class: "panel-head" }, el("h2", {}, "Log"), note, el("label", { class: "check", for: "follow" }, follow, "Follow")),
    lines,
  );
  let place = null; // where the log was read to
  let isEmpty = true;
  let hasEnded = false;
  let timer = null;

  async function look() {
    timer = null;
    let pause = LOOK_EVERY;
    if (live.state === "live" && !document.hidden && (follow.checked || place === null)) {
      const query = place === null ? `lines=${FIRST}` : `after=${encodeURIComponent(place)}`;
      try {
        const page = await api.get(`${address}/log?${query}`);
        if (!hasEnded) add(page);
      } catch (error) {
        if (error.status !== 0) pause = REFUSED_EVERY;
        if (!hasEnded) setText(note, error.status === 0 ? "" : error.message);
      }
    }
    if (!hasEnded) timer = setTimeout(look, pause);
  }

  function add(page) {
    const wasAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 30;
    place = page.next;
    if (page.missed) put([`… lines are missing here: the log was rotated before they were read`], "gap");
    if (page.skipped > 0) put([`… ${page.skipped} lines were skipped`], "gap");
    put(page.lines);
    setText(note, "");
    if (isEmpty) replace(lines, el("p", { class: "muted" }, "The log is empty. What the bot prints, and what it logs with bot.log, is shown here."));
    else if (wasAtEnd && page.lines.length > 0) lines.scrollTop = lines.scrollHeight;
  }

  function put(texts, kind = null) {
    if (texts.length === 0) return;
    if (isEmpty) replace(lines);
    isEmpty = false;
    const fresh = document.createDocumentFragment();
    for (const text of texts.slice(-KEPT)) fresh.append(el("div", { class: kind }, readable(text)));
    lines.append(fresh);
    while (lines.childElementCount > KEPT) lines.firstElementChild.remove();
  }

  look();
  return {
    root,
    close() {
      hasEnded = true;
      clearTimeout(timer);
    },
  };
}

// A line of JSON, as bot.log writes them, in words; any other line as it is.
function readable(text) {
  if (!text.startsWith("{")) return text;
  let told;
  try {
    told = JSON.parse(text);
  } catch {
    return text;
  }
  const { at, level, event, ...fields } = told;
  if (event === undefined || at === undefined) return text;
  const more = Object.entries(fields).map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`);
  return [String(at).replace(/^.*T/, "").replace(/Z$/, ""), String(level ?? "").padEnd(5), event, ...more].join(" ");
}
