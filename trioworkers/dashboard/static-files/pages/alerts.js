// What is wrong now, and what was lately, as the plugin `alerts` knows it.

import { badge, duration, el, plural, replace, time } from "../dom.js";
import { botLink, isActive, loads, plugins, refreshes } from "./parts.js";

export const title = "Alerts";

const NEWS = /^(bot|transport|webhook|inbox|reload|plugin)\.|^worker\.(ready|recycled)$|^update\.dead$/;

export function mount(root, ctx) {
  const box = el("div");
  replace(root, el("div", { class: "head" }, el("h1", {}, title)), box);
  const list = loads(ctx, box, ask, show);
  const end = refreshes(ctx, list.again, 10_000, (event) => NEWS.test(event.event));

  async function ask() {
    const rows = await plugins(ctx);
    return isActive(rows, "alerts") ? ctx.api.get("/api/alerts") : { off: rows.find((row) => row.name === "alerts") ?? null };
  }

  function show(answer, content) {
    if (answer.off !== undefined) return replace(content, inactive(ctx, answer.off));
    const now = answer.alerts.length === 0
      ? el("div", { class: "all-well" }, badgeOf("good", "all well"), el("span", {}, "Nothing is wrong that alerts are about."))
      : el("ul", { class: "stack" }, answer.alerts.map((one) => alert(ctx, one)));
    const waits = answer.waiting === 0 ? null : el("p", { class: "warn" }, `${plural(answer.waiting, "notice")} ${answer.waiting === 1 ? "is" : "are"} not sent yet.`);
    const lately = answer.lately.length === 0
      ? el("p", { class: "muted" }, "No alert has ended lately.")
      : el("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": "Alerts that are over" }, el("table", { class: "table" }, el("thead", {}, el("tr", {}, ["Alert", "Of", "Reason", "Began", "Lasted"].map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, answer.lately.map((one) => over(ctx, one)))));
    return replace(
      content,
      el("section", { "aria-label": "Now" }, now),
      waits,
      el("section", { class: "panel", "aria-label": "Lately" }, el("h2", {}, "Over, the last ones"), lately),
    );
  }

  return () => {
    list.end();
    end();
  };
}

function badgeOf(state, word) {
  const made = badge(state);
  made.textContent = word;
  return made;
}

function subject(ctx, one) {
  if (one.bot !== null) return botLink(ctx, one.bot);
  return one.plugin !== null ? el("a", { href: "#/plugins" }, one.plugin) : "the fleet";
}

function alert(ctx, one) {
  return el(
    "li",
    { class: "problem", "data-level": one.severity === "critical" ? "bad" : "warn" },
    el("div", { class: "problem-head" }, badgeOf(one.severity === "critical" ? "bad" : "warn", one.severity), el("h2", {}, sentence(one.title)), el("span", {}, subject(ctx, one))),
    one.reason === "" ? null : el("p", { class: "problem-detail" }, one.reason),
    el("p", { class: "muted small" }, "since ", time(one.since), `, for ${duration(Math.max(0, Date.now() - one.since * 1000))}`),
  );
}

function over(ctx, one) {
  return el("tr", {}, el("td", {}, sentence(one.title)), el("td", {}, subject(ctx, one)), el("td", {}, one.reason), el("td", {}, time(one.since)), el("td", {}, duration(Math.max(0, one.ended - one.since) * 1000)));
}

function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function inactive(ctx, row) {
  const failed = [...ctx.live.rows.values()].filter((one) => one.state === "failed");
  const isOff = row?.state === "off";
  const words = isOff
    ? ["The plugin alerts was switched off after failures. ", el("a", { href: "#/plugins" }, "To the plugins")]
    : ["While the fleet file has no table ", el("code", {}, "[plugins.alerts]"), ", nobody is told when something goes wrong, and nothing is kept here."];
  const example = '[plugins.alerts]\nbot = "ops"            # the bot of this fleet that writes …\nchat = -1001234567890  # … to this chat';
  return [
    el("section", { class: "panel", "aria-label": "Alerts are off" }, el("h2", { class: "warn" }, "Alerts are off"), el("p", {}, words), isOff ? null : el("pre", { tabindex: 0, "aria-label": "Example" }, example)),
    failed.length === 0
      ? null
      : el("section", { class: "panel", "aria-label": "Failed bots" }, el("h2", {}, `${plural(failed.length, "bot")} failed`), el("ul", {}, failed.map((one) => el("li", {}, botLink(ctx, one.bot), one.reason === null ? null : `: ${one.reason}`)))),
  ];
}
