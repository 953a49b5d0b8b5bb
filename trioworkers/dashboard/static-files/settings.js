// The settings of a bot that are in force, without secrets.

import { bytes, duration, el, replace } from "./dom.js";

const SIZES = new Set(["memory_limit"]);
const TIMES = /^(poll_timeout|handler_timeout|idle_stop|heartbeat_interval|hang_timeout|memory_check_interval|retry\.(initial|max|deadline)|restart\.(initial|max|healthy_after))$/;

// Shows them in `root`. `details`: as `GET /api/bots/<name>` answers.
export function settingsPanel(root, details) {
  const key = JSON.stringify(details.settings);
  if (root.dataset.key === key) return; // somebody may read or select it
  root.dataset.key = key;
  const rows = flat(details.settings).map(([name, value]) => el("tr", {}, el("th", { scope: "row", class: "mono" }, name), el("td", { class: "mono" }, value)));
  replace(
    root,
    el("p", { class: "muted small" }, "From ", el("code", {}, details.origin), ", over the defaults. Values of its handler's own settings are not shown, since they may be secret."),
    el("div", { class: "table-scroll settings", tabindex: "0", role: "region", "aria-label": "Settings" }, el("table", { class: "table" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "key"), el("th", { scope: "col" }, "value"))), el("tbody", {}, rows))),
  );
}

function flat(table, before = "") {
  return Object.entries(table).flatMap(([name, value]) => {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      return Object.keys(value).length === 0 ? [[before + name, "–"]] : flat(value, `${before}${name}.`);
    }
    return [[before + name, shown(before + name, value)]];
  });
}

function shown(name, value) {
  if (SIZES.has(name)) return bytes(value);
  if (TIMES.test(name)) return duration(value * 1000);
  if (value === null) return "off";
  if (Array.isArray(value)) return value.length === 0 ? "–" : value.join(", ");
  return String(value);
}
