// One dead letter: why it was given up, what was tried, which calls it made; and the update itself, when asked for.

import { count, el, plural, replace, time } from "../dom.js";
import { act, botLink, loads } from "./parts.js";

const CALLS = {
  made: "Telegram has done it",
  unknown: "nobody knows whether Telegram did it",
  "maybe twice": "Telegram may have done it twice",
};

export function letterView(root, ctx, id) {
  const box = el("div");
  replace(root, el("p", {}, el("a", { href: "#/letters" }, "All dead letters")), el("div", { class: "head" }, el("h1", {}, `Dead letter ${id}`)), box);
  const view = loads(ctx, box, ask, show);

  async function ask() {
    try {
      return await ctx.api.get(`/api/dlq/${id}`);
    } catch (error) {
      if (error.status !== 404) throw error;
      return null;
    }
  }

  function show(letter, content) {
    if (letter === null) {
      replace(content, el("div", { class: "panel empty" }, el("strong", {}, "This dead letter is not there any more"), "It was replayed or purged, or it was older than the fleet keeps them."));
      return;
    }
    const replay = el("button", { class: "button button-primary", type: "button", disabled: letter.bot === null }, "Replay");
    const purge = el("button", { class: "button button-danger", type: "button" }, "Purge");
    replay.addEventListener("click", () => act(ctx, replay, () => ctx.api.post("/api/dlq/replay", { ids: [id] }), () => leave("The update was put back at the tail of its chat.")));
    purge.addEventListener("click", async () => {
      if (!(await ctx.confirm(`Purge dead letter ${id}? It is forgotten, and cannot be brought back.`, "Purge"))) return;
      await act(ctx, purge, () => ctx.api.post("/api/dlq/purge", { ids: [id] }), () => leave("The dead letter was purged."));
    });
    const facts = [
      ["Bot", letter.bot === null ? `id ${letter.bot_id}, which this daemon does not run: it cannot be replayed here` : botLink(ctx, letter.bot)],
      ["Chat", letter.chat_id ?? "none"],
      ["Kind", letter.kind],
      ["Update", letter.update_id],
      ["Trace", el("code", {}, letter.trace_id)],
      ["Arrived", time(letter.accepted_at)],
      ["Died", time(letter.died_at)],
      ["Attempts", count(letter.attempts)],
    ];
    replace(
      content,
      el("div", { class: "stack" },
        el("section", { class: "panel", "aria-label": "Why" }, el("h2", {}, "Why"), el("p", { class: "bad why" }, letter.reason), letter.damaged ? el("p", { class: "warn" }, "It was damaged on disk: what is left of it may not be what Telegram sent.") : null, history(letter), el("p", { class: "actions" }, replay, purge)),
        el("section", { class: "panel", "aria-label": "Facts" }, el("h2", {}, "Facts"), el("dl", { class: "facts" }, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))),
        calls(letter),
        el("section", { class: "panel", "aria-label": "The update" }, el("h2", {}, "The update"), payload()),
      ),
    );
  }

  function history(letter) {
    if (letter.history.length === 0) return null;
    return el("details", { open: letter.history.length <= 3 }, el("summary", {}, `What was tried: ${plural(letter.history.length, "failure")}`), el("ol", { class: "attempts" }, letter.history.map((one) => el("li", {}, time(one.at), " ", one.error, one.unknown.length === 0 ? null : el("span", { class: "warn" }, `; nobody knows whether Telegram did: ${one.unknown.join(", ")}`)))));
  }

  function calls(letter) {
    const body = letter.calls.length === 0
      ? el("p", { class: "muted" }, "Its handler has called nothing, or nothing is recorded. A replay begins from the start.")
      : [el("p", { class: "muted" }, "A replay does not repeat those that Telegram has done."), el("ol", { class: "attempts" }, letter.calls.map((one) => el("li", {}, time(one.at), " ", el("code", {}, one.chat_id === null ? one.method : `${one.method} to ${one.chat_id}`), `: ${CALLS[one.state] ?? one.state}`)))];
    return el("section", { class: "panel", "aria-label": "Calls" }, el("h2", {}, "Calls that it made"), body);
  }

  // What a user wrote is shown only to who asks for it.
  function payload() {
    const shown = el("div");
    const button = el("button", { class: "button", type: "button" }, "Show what the user sent");
    button.addEventListener("click", () => act(ctx, button, () => ctx.api.get(`/api/dlq/${id}?payload=1`), (answer) => {
      const text = typeof answer.payload === "string" ? answer.payload : JSON.stringify(answer.payload, null, 2);
      replace(shown, el("pre", { class: "payload", tabindex: 0, "aria-label": "The update as Telegram sent it" }, text));
      button.hidden = true;
      shown.firstElementChild.focus();
    }));
    return [el("p", { class: "muted" }, "It holds personal data of a user."), button, shown];
  }

  function leave(words) {
    ctx.announce(words);
    ctx.navigate("#/letters");
  }

  return view.end;
}
