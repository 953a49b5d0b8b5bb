// Dead letters: updates that were given up. Which there are, why, and what is done about them.

import { count, el, plural, replace, setText, time } from "../dom.js";
import { letterView } from "./letter.js";
import { act, botLink, loads, needDaemon, refreshes } from "./parts.js";

export const title = "Dead letters";

const PAGE = 100;

export function mount(root, ctx) {
  return /^\d+$/.test(ctx.path[0] ?? "") ? letterView(root, ctx, Number(ctx.path[0])) : listView(root, ctx);
}

function listView(root, ctx) {
  let bot = ctx.query.get("bot") ?? "";
  let wanted = PAGE;
  let shownDead = null;
  const chosen = new Set();
  let letters = [];

  const filter = el("select", { id: "letters-bot" });
  const replayChosen = el("button", { class: "button", type: "button" });
  const purgeChosen = el("button", { class: "button button-danger", type: "button" });
  const replayAll = el("button", { class: "button", type: "button" });
  const purgeAll = el("button", { class: "button button-danger", type: "button" });
  const news = el("p", { class: "notice", hidden: true, role: "status" });
  const box = el("div");
  replace(
    root,
    el("div", { class: "head" }, el("h1", {}, title)),
    el("p", { class: "muted" }, "Updates that a bot could not handle, however often it was tried. Replayed, one goes to the tail of its chat and is handled anew; purged, it is forgotten for ever."),
    el("div", { class: "bar" }, el("div", { class: "field" }, el("label", { for: "letters-bot" }, "Bot"), filter), el("div", { class: "bar-actions" }, replayChosen, purgeChosen, replayAll, purgeAll)),
    news,
    box,
  );

  const buttons = [replayChosen, purgeChosen, replayAll, purgeAll];
  const free = needDaemon(ctx, ...buttons);
  showButtons();
  showFilter();
  const list = loads(ctx, box, ask, show);
  const endRefresh = refreshes(ctx, look, 10_000);
  const off = ctx.live.on("rows", look);
  filter.addEventListener("change", () => {
    bot = filter.value;
    chosen.clear();
    wanted = PAGE;
    ctx.navigate(bot === "" ? "#/letters" : `#/letters?bot=${encodeURIComponent(bot)}`, { stay: true });
    list.again();
  });
  replayChosen.addEventListener("click", () => replay(replayChosen, { ids: [...chosen] }, chosen.size));
  replayAll.addEventListener("click", () => replay(replayAll, everything(), dead()));
  purgeChosen.addEventListener("click", () => purge(purgeChosen, { ids: [...chosen] }, plural(chosen.size, "dead letter")));
  purgeAll.addEventListener("click", () => purge(purgeAll, everything(), bot === "" ? "all dead letters of all bots" : `all dead letters of ${bot}`));

  function everything() {
    return bot === "" ? { all: true } : { bot };
  }

  // How many there are, as the stream tells it.
  function dead() {
    if (bot !== "") return ctx.live.rows.get(bot)?.queue.dead ?? 0;
    let sum = 0;
    for (const row of ctx.live.rows.values()) sum += row.queue.dead;
    return sum;
  }

  // Loads anew when the number has changed; a choice that somebody has made is not moved under the hand.
  function look() {
    showFilter();
    if (shownDead === null || dead() === shownDead) return;
    if (chosen.size === 0) list.again();
    else if (news.hidden) {
      const again = el("button", { class: "button", type: "button", onclick: () => { chosen.clear(); list.again(); } }, "Show them as they are now");
      replace(news, "The dead letters have changed meanwhile. ", again);
      news.hidden = false;
    }
  }

  async function ask() {
    const number = dead();
    const found = [];
    let next = 0;
    do {
      const of = bot === "" ? "" : `&bot=${encodeURIComponent(bot)}`;
      const page = await ctx.api.get(`/api/dlq?limit=${PAGE}&after=${next}${of}`);
      found.push(...page.letters);
      next = page.next;
    } while (next !== null && found.length < wanted);
    return { letters: found, next, number };
  }

  function show(answer, content) {
    letters = answer.letters;
    shownDead = answer.number;
    news.hidden = true;
    const ids = new Set(letters.map((one) => one.id));
    for (const id of chosen) if (!ids.has(id)) chosen.delete(id);
    if (letters.length === 0) {
      replace(content, el("div", { class: "panel empty" }, el("strong", {}, "No dead letters"), bot === "" ? "Everything that arrived was handled, or is still being tried." : `Nothing of ${bot} was given up.`));
    } else {
      const all = el("input", { type: "checkbox", "aria-label": "Choose all that are shown" });
      all.addEventListener("change", () => {
        for (const one of letters) all.checked ? chosen.add(one.id) : chosen.delete(one.id);
        for (const one of content.querySelectorAll("tbody input")) one.checked = all.checked;
        showButtons();
      });
      const head = el("tr", {}, el("th", { scope: "col" }, all), ["Died", "Bot", "Chat", "Kind", "Reason", "Attempts"].map((name) => el("th", { scope: "col", class: name === "Attempts" ? "number" : null }, name)));
      const more = el("button", { class: "button", type: "button", onclick: () => { wanted += PAGE; list.again(); } }, `Show the next ${PAGE}`);
      replace(
        content,
        el("div", { class: "panel" }, el("table", { class: "table stacked letters" }, el("caption", { class: "visually-hidden" }, "Dead letters, oldest first"), el("thead", {}, head), el("tbody", {}, letters.map(row)))),
        answer.next === null ? null : el("p", {}, more),
      );
    }
    showButtons();
    showFilter();
  }

  function row(one) {
    const box = el("input", { type: "checkbox", checked: chosen.has(one.id), "aria-label": `Choose letter ${one.id}` });
    box.addEventListener("change", () => {
      box.checked ? chosen.add(one.id) : chosen.delete(one.id);
      showButtons();
    });
    const name = one.bot ?? `id ${one.bot_id}`;
    return el(
      "tr",
      {},
      el("td", {}, box),
      el("td", { "data-label": "Died" }, el("a", { href: `#/letters/${one.id}` }, time(one.died_at), el("span", { class: "visually-hidden" }, `, letter ${one.id} of ${name}`))),
      el("td", { "data-label": "Bot" }, one.bot === null ? el("span", { class: "muted" }, `${name} (not here)`) : botLink(ctx, one.bot)),
      el("td", { "data-label": "Chat" }, one.chat_id ?? "–"),
      el("td", { "data-label": "Kind" }, one.kind),
      el("td", { "data-label": "Reason" }, one.reason),
      el("td", { "data-label": "Attempts", class: "number" }, count(one.attempts)),
    );
  }

  function showButtons() {
    const some = chosen.size > 0;
    for (const button of [replayChosen, purgeChosen]) button.hidden = !some;
    for (const button of [replayAll, purgeAll]) button.hidden = some || letters.length === 0;
    setText(replayChosen, `Replay ${count(chosen.size)} chosen`);
    setText(purgeChosen, `Purge ${count(chosen.size)} chosen`);
    setText(replayAll, bot === "" ? "Replay all" : `Replay all of ${bot}`);
    setText(purgeAll, bot === "" ? "Purge all" : `Purge all of ${bot}`);
  }

  function showFilter() {
    const names = [...ctx.live.rows.values()].filter((one) => one.queue.dead > 0 || one.bot === bot).map((one) => one.bot).sort();
    if (bot !== "" && !names.includes(bot)) names.push(bot);
    const key = names.map((name) => `${name} ${ctx.live.rows.get(name)?.queue.dead ?? 0}`).join();
    if (filter.dataset.key === key || document.activeElement === filter) return;
    filter.dataset.key = key;
    replace(filter, el("option", { value: "" }, "all bots"), names.map((name) => el("option", { value: name }, `${name} (${count(ctx.live.rows.get(name)?.queue.dead ?? 0)})`)));
    filter.value = bot;
  }

  async function replay(button, which, number) {
    if (number > 1 && !(await ctx.confirm(`Replay ${plural(number, "dead letter")}? Their bots handle them again, and may answer messages that are old by now.`, "Replay"))) return;
    await act(ctx, button, () => ctx.api.post("/api/dlq/replay", which), (answer) => done(`${plural(answer.replayed, "update")} put back at the tail of ${answer.replayed === 1 ? "its chat" : "their chats"}.`));
  }

  async function purge(button, which, words) {
    if (!(await ctx.confirm(`Purge ${words}? They are forgotten, and cannot be brought back.`, "Purge"))) return;
    await act(ctx, button, () => ctx.api.post("/api/dlq/purge", which), (answer) => done(`${plural(answer.purged, "dead letter")} purged.`));
  }

  function done(words) {
    chosen.clear();
    ctx.announce(words);
    list.again();
  }

  return () => {
    list.end();
    endRefresh();
    off();
    free();
  };
}
