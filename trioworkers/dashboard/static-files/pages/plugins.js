// The plugins: which there are, what they do and cost, and which were switched off.

import { badge, count, duration, el, plural, replace } from "../dom.js";
import { act, loads, plugins, refreshes } from "./parts.js";

export const title = "Plugins";

const RANK = ["off", "not loaded", "active", "inactive"];
const WORDS = {
  active: "Its hooks are called",
  inactive: "Its table is not in the fleet file",
  off: "Switched off: its hooks are not called",
  "not loaded": "It could not be loaded",
};
const BADGES = { "not loaded": "error", inactive: "stopped" };

export function mount(root, ctx) {
  const box = el("div");
  replace(root, el("div", { class: "head" }, el("h1", {}, title)), box);
  const list = loads(ctx, box, () => plugins(ctx), show);
  const end = refreshes(ctx, list.again, 5000, (event) => event.event.startsWith("plugin.") || event.event.startsWith("reload."));

  function show(rows, content) {
    const focused = document.activeElement?.dataset?.plugin ?? document.activeElement?.parentElement?.dataset?.hooks;
    const open = new Set([...content.querySelectorAll("details[open]")].map((one) => one.dataset.hooks));
    const sorted = [...rows].sort((one, other) => RANK.indexOf(one.state) - RANK.indexOf(other.state) || one.name.localeCompare(other.name));
    replace(content, sorted.length === 0 ? el("div", { class: "panel empty" }, el("strong", {}, "No plugins")) : el("ul", { class: "grid" }, sorted.map((row) => card(row, open.has(row.name)))));
    if (focused === undefined) return;
    const name = CSS.escape(focused);
    (content.querySelector(`[data-plugin="${name}"]`) ?? content.querySelector(`[data-hooks="${name}"] > summary`))?.focus();
  }

  function card(row, isOpen) {
    const state = badge(BADGES[row.state] ?? row.state);
    state.textContent = row.state;
    const facts = [
      ["Origin", row.version === null ? row.origin : `${row.origin} ${row.version}`],
      ["Calls", count(row.calls)],
      ["Failures", count(row.failures)],
      ["Time in its hooks", row.calls === 0 ? "–" : `${duration(row.seconds * 1000)}; slowest call ${duration(row.slowest_ms)}`],
    ];
    if (row.missed_events > 0) facts.push(["Missed events", count(row.missed_events)]);
    const again = el("button", { class: "button", type: "button", "data-plugin": row.name }, "Switch on again");
    again.addEventListener("click", () => act(ctx, again, () => ctx.api.post(`/api/plugins/${encodeURIComponent(row.name)}/enable`), () => {
      ctx.announce(`The plugin ${row.name} is on again.`);
      list.again();
    }));
    return el(
      "li",
      { class: "panel entry", "aria-label": `Plugin ${row.name}, ${row.state}` },
      el("div", { class: "entry-head" }, el("h2", {}, row.name), state),
      el("p", { class: row.state === "off" || row.state === "not loaded" ? "bad" : "muted" }, row.reason === null ? `${WORDS[row.state]}.` : `${WORDS[row.state]}: ${row.reason}`),
      row.state === "off" ? el("p", {}, again) : null,
      el("dl", { class: "facts" }, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
      el("details", { "data-hooks": row.name, open: isOpen }, el("summary", {}, plural(row.hooks.length, "hook")), el("ul", { class: "hooks" }, row.hooks.map((hook) => el("li", {}, el("code", {}, hook))))),
    );
  }

  return () => {
    list.end();
    end();
  };
}
