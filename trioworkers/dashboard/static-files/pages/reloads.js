// What changed in the fleet's settings, when and by whom; and what would change now.

import { badge, duration, el, moment, plural, replace, time } from "../dom.js";
import { act, botLink, loads, needDaemon, refreshes } from "./parts.js";

export const title = "Reloads";

const PAGE = 20;
const WORDS = { applied: ["good", "applied"], refused: ["bad", "refused"], failed: ["bad", "failed"] };

export function mount(root, ctx) {
  const now = el("button", { class: "button button-primary", type: "button" }, "Reload now");
  const dry = el("button", { class: "button", type: "button" }, "Show what would change");
  const preview = el("div", { "aria-live": "polite" });
  const state = el("div");
  const box = el("div");
  replace(
    root,
    el("div", { class: "head" }, el("h1", {}, title), el("div", { class: "head-actions" }, dry, now)),
    state,
    preview,
    box,
  );
  let count = PAGE;
  const list = loads(ctx, box, () => pages(ctx, count), show);
  const endRefresh = refreshes(ctx, list.again, 60_000, (event) => event.event.startsWith("reload."));
  const off = ctx.live.on("rows", showState);
  const free = needDaemon(ctx, now, dry);
  showState();

  dry.addEventListener("click", () =>
    attempt(dry, { dry_run: true }, (plan) => {
      const close = el("button", { class: "button", type: "button", onclick: () => replace(preview) }, "Hide");
      const body = isEmpty(plan) ? [el("p", {}, "Nothing would change.")] : [el("p", {}, `${summary(plan)}.`), details(ctx, plan)];
      replace(preview, el("section", { class: "panel", "aria-label": "What a reload would change" }, el("h2", {}, "A reload now would do this"), body, el("p", {}, close)));
    }),
  );
  now.addEventListener("click", () =>
    attempt(now, {}, (plan) => {
      replace(preview);
      ctx.announce(isEmpty(plan) ? "Reloaded: nothing has changed." : `Reloaded: ${summary(plan)}.`);
      list.again();
    }),
  );

  function attempt(button, body, done) {
    return act(
      ctx,
      button,
      async () => {
        try {
          return await ctx.api.post("/api/reload", body);
        } catch (error) {
          if (error.status !== 422) throw error;
          return { problems: error.message };
        }
      },
      (answer) => {
        if (answer.problems === undefined) return done(answer);
        const close = el("button", { class: "button", type: "button", onclick: () => replace(preview) }, "Hide");
        replace(preview, el("section", { class: "panel", "aria-label": "Problems" }, el("h2", {}, "The new settings are refused; nothing was changed"), problems(answer.problems.split("\n")), el("p", {}, close)));
        return list.again();
      },
    );
  }

  function showState() {
    const config = ctx.live.fleet?.config;
    if (config === undefined || config.last_reload_ok) return replace(state);
    return replace(
      state,
      el("section", { class: "panel", "aria-label": "In force" }, el("h2", { class: "bad" }, "The settings in the files are refused"), el("p", {}, `The bots run with the settings of before. The new ones were refused at ${moment(config.last_reload_at)}; what is wrong with them stands below.`)),
    );
  }

  function show(answer, content) {
    if (answer.reloads.length === 0) {
      replace(content, el("div", { class: "panel empty" }, el("strong", {}, "No reload since the daemon's start"), "When the fleet's files change, what was done about it stands here. The daemon remembers the last 50 reloads."));
      return;
    }
    const open = new Set([...content.querySelectorAll("details[open]")].map((one) => one.dataset.number));
    const more = el("button", { class: "button", type: "button", onclick: () => { count += PAGE; list.again(); } }, "Show older ones");
    replace(content, el("ol", { class: "stack" }, answer.reloads.map((one) => entry(ctx, one, open.has(String(one.number))))), answer.next === null ? null : el("p", {}, more));
  }

  return () => {
    list.end();
    endRefresh();
    off();
    free();
  };
}

async function pages(ctx, count) {
  const reloads = [];
  let next = null;
  do {
    const answer = await ctx.api.get(`/api/reloads?limit=${PAGE}${next === null ? "" : `&before=${next}`}`);
    reloads.push(...answer.reloads);
    next = answer.next;
  } while (next !== null && reloads.length < count);
  return { reloads, next };
}

function entry(ctx, one, isOpen) {
  const [state, word] = WORDS[one.result];
  const mark = badge(state);
  mark.textContent = word;
  const head = el("div", { class: "entry-head" }, mark, time(one.at), el("span", { class: "muted" }, `caused by ${one.by}, took ${duration(one.seconds * 1000)}`));
  const body = [];
  if (one.plan !== null) {
    body.push(el("p", {}, isEmpty(one.plan) ? "Nothing changed." : `${summary(one.plan)}.`));
    if (!isEmpty(one.plan)) body.push(el("details", { "data-number": one.number, open: isOpen }, el("summary", {}, "The plan"), details(ctx, one.plan)));
  } else body.push(el("p", {}, one.result === "refused" ? "Nothing was changed: the old settings stayed in force." : "It broke while it was applied. The old settings are in force again."));
  if (one.problems.length > 0) body.push(problems(one.problems));
  if (one.left_out.length > 0) body.push(el("p", {}, "Bots of plugins that were left out:"), problems(one.left_out));
  return el("li", { class: "panel entry", "aria-label": `Reload ${one.number}, ${word}` }, head, body);
}

export function isEmpty(plan) {
  return plan.added.length + plan.removed.length + Object.keys(plan.replaced).length + Object.keys(plan.retuned).length + plan.changed.length + plan.kept.length === 0;
}

export function summary(plan) {
  const parts = [];
  const add = (n, word) => n > 0 && parts.push(`${plural(n, "bot")} ${word}`);
  add(plan.added.length, "added");
  add(plan.removed.length, "removed");
  add(Object.keys(plan.replaced).length, "given a new process");
  add(Object.keys(plan.retuned).length, "retuned without a restart");
  if (plan.changed.length > 0) parts.push(`${plural(plan.changed.length, "key")} of the fleet changed`);
  if (plan.kept.length > 0) parts.push(`${plural(plan.kept.length, "key")} kept until the daemon is restarted`);
  add(plan.unchanged, "unchanged");
  return parts.join(", ");
}

function details(ctx, plan) {
  const rows = [];
  const add = (name, values) => values.length > 0 && rows.push(el("dt", {}, name), el("dd", {}, values));
  const names = (list) => list.map((name, at) => [at === 0 ? null : ", ", botLink(ctx, name)]);
  const keyed = (table) => Object.entries(table).map(([name, keys]) => el("div", {}, botLink(ctx, name), ": ", el("code", {}, keys.join(", "))));
  add("Added", names(plan.added));
  add("Removed", names(plan.removed));
  add("New process", keyed(plan.replaced));
  add("Retuned", keyed(plan.retuned));
  add("Fleet", plan.changed.map((key) => el("div", {}, el("code", {}, key))));
  add("Waits for a restart", plan.kept.map((key) => el("div", {}, el("code", {}, key))));
  return el("dl", { class: "facts plan" }, rows);
}

function problems(lines) {
  return el("ul", { class: "error" }, lines.filter((line) => line !== "").map((line) => el("li", {}, line)));
}
