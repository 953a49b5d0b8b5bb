// The operators' desk: who waits, who is being answered by whom, and one dialog.

import { count, el, replace, setText } from "../dom.js";
import { me, openDialog, stateBadge, who } from "./dialog.js";
import { operator, setOperator } from "./drafts.js";
import { age, isActive, plugins } from "./parts.js";

export const title = "Operators' desk";
export const fills = true;

const WAIT = 20; // seconds that the daemon may keep a question for the list
const PAUSE = 300; // milliseconds between questions
const HIDDEN_PAUSE = 10_000; // while the page cannot be seen: a browser has few connections to one host
const FAILED_PAUSE = 3000;
const TICK = 5000;
const GROUPS = [
  ["Waiting", (row) => row.state === "queued"],
  ["Yours", (row) => row.state === "assigned" && row.operator === me()],
  ["Of other operators", (row) => row.state === "assigned" && row.operator !== me()],
  ["Going back to the bot", (row) => row.state === "closing"],
  ["Banned", (row) => row.state === "banned"],
];

let remembered = []; // the list as it was last seen, so that going back to it shows something at once

export function mount(root, ctx) {
  const ended = new AbortController();
  let rows = remembered;
  let version = 0;
  let open = null;
  let openId = null;
  let waiting = null;

  const name = el("input", { id: "operator", maxlength: 64, autocomplete: "off", value: operator(), placeholder: "for other operators" });
  const summary = el("p", { class: "muted desk-summary", role: "status" });
  const trouble = el("div", { role: "alert", hidden: true });
  const list = el("nav", { class: "desk-list", "aria-label": "Dialogs" });
  const room = el("section", { class: "desk-dialog", "aria-label": "Dialog" });
  const body = el("div", { class: "desk" }, list, room);
  replace(
    root,
    el("div", { class: "head" }, el("h1", {}, title), el("div", { class: "desk-name" }, el("label", { for: "operator" }, "Your name"), name)),
    el("div", {}, summary, trouble),
    body,
  );

  name.addEventListener("input", () => {
    setOperator(name.value.trim());
    name.setAttribute("aria-invalid", "false");
    open?.rename();
    showList();
  });
  const timer = setInterval(() => {
    showList();
    open?.tick();
  }, TICK);
  const visible = () => document.hidden || waiting?.abort();
  document.addEventListener("visibilitychange", visible);
  const off = ctx.live.on("state", (state) => {
    if (state !== "live") return;
    version = 0; // of another daemon, perhaps
    waiting?.abort(); // its answer may never come
  });
  choose(ctx.path.length > 0 ? ctx.path.join("/") : "");
  showList();
  follow();

  // --- the list -----------------------------------------------------------------------------------------------

  async function follow() {
    while (!ended.signal.aborted) {
      let pause = PAUSE;
      waiting = new AbortController();
      const stop = () => waiting.abort();
      ended.signal.addEventListener("abort", stop, { once: true });
      try {
        if (version === 0 && !isActive(await plugins(ctx, waiting.signal), "handoff")) {
          showOff();
          pause = HIDDEN_PAUSE;
        } else {
          const wait = version === 0 || document.hidden ? 0 : WAIT;
          const answer = await ctx.api.get(`/api/handoffs?since=${version}&wait=${wait}`, waiting.signal);
          if (document.hidden) pause = HIDDEN_PAUSE;
          if (!ended.signal.aborted) take(answer);
        }
      } catch (error) {
        if (ended.signal.aborted) return;
        if (!waiting.signal.aborted) {
          pause = FAILED_PAUSE;
          version = 0;
          showTrouble(error);
        }
      }
      ended.signal.removeEventListener("abort", stop);
      await sleep(pause, waiting.signal.aborted ? ended.signal : waiting.signal);
    }
  }

  function take(answer) {
    body.hidden = false;
    trouble.hidden = true;
    const first = version === 0;
    const before = new Set(rows.filter((row) => row.state === "queued").map((row) => row.id));
    version = answer.version;
    rows = remembered = answer.handoffs;
    const fresh = rows.filter((row) => row.state === "queued" && !before.has(row.id));
    if (!first && fresh.length > 0) ctx.announce(fresh.length === 1 ? `${who(fresh[0])} waits for an operator.` : `${fresh.length} users wait for an operator.`);
    showList();
    open?.update(rows.find((row) => row.id === openId) ?? null, version);
  }

  function showTrouble(error) {
    trouble.hidden = ctx.live.state !== "live"; // the banner says it then
    replace(trouble, el("p", { class: "error" }, `The list may be out of date: ${error.message}. It is asked again.`));
  }

  function showOff() {
    setText(summary, "");
    body.hidden = true;
    trouble.hidden = false;
    replace(trouble, el("div", { class: "panel empty" }, el("strong", {}, "Dialogs are not handed to operators"), "The plugin handoff is not active. Add a table ", el("code", {}, "[plugins.handoff]"), " to the fleet file; it may be empty. If it was switched off after failures, the page of the ", el("a", { href: "#/plugins" }, "plugins"), " says why."));
  }

  function showList() {
    const waits = rows.filter((row) => row.state === "queued").length;
    const own = rows.filter((row) => row.state === "assigned" && row.operator === me());
    const open_ = own.filter((row) => row.unanswered > 0).length;
    document.title = `${waits + open_ > 0 ? `(${waits + open_}) ` : ""}${title} · trioworkers`;
    setText(summary, rows.length === 0 ? "" : `${count(waits)} waiting, ${count(own.length)} yours, ${count(open_)} of them to be answered.`);
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.id : undefined;
    const top = list.scrollTop;
    const groups = GROUPS.map(([words, is]) => [words, rows.filter(is)]).filter(([, of]) => of.length > 0);
    if (groups.length === 0) replace(list, el("p", { class: "empty" }, el("strong", {}, "Nobody waits"), "The bots have all dialogs. Who asks for an operator appears here."));
    else replace(list, groups.map(([words, of]) => [el("h2", {}, `${words} (${count(of.length)})`), el("ul", {}, of.map(item))]));
    list.scrollTop = top;
    if (focused !== undefined) list.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  }

  function item(row) {
    const when = row.state === "queued" ? `waits ${age(row.since)}` : row.active === null ? "" : `last word ${age(row.active)} ago`;
    const open_ = row.unanswered === 0 || row.state === "banned" ? null : el("span", { class: "nav-count" }, count(row.unanswered), el("span", { class: "visually-hidden" }, " unanswered"));
    const link = el("a", { class: "desk-item", href: `#/desk/${encodeURIComponent(row.id)}`, "data-id": row.id, "aria-current": row.id === openId ? "true" : null }, el("span", { class: "desk-item-head" }, el("strong", {}, who(row)), open_), el("span", { class: "desk-item-foot" }, el("span", {}, `${row.bot ?? "?"} · ${when}`), row.state === "assigned" && row.operator !== me() ? stateBadge(row) : null));
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go(row.id);
    });
    return el("li", {}, link);
  }

  // --- one dialog ---------------------------------------------------------------------------------------------

  // Another dialog without mounting the page again; the browser's button back still works.
  function go(id) {
    const hash = id === "" ? "#/desk" : `#/desk/${encodeURIComponent(id)}`;
    if (location.hash !== hash) history.pushState(null, "", hash);
    ctx.navigate(hash, { stay: true });
    choose(id);
    showList();
    if (id === "") list.querySelector("a")?.focus();
    else room.querySelector("h2, .lines-scroll")?.scrollIntoView({ block: "nearest" });
  }

  function choose(id) {
    open?.end();
    openId = id === "" ? null : id;
    body.classList.toggle("has-dialog", openId !== null);
    if (openId === null) {
      open = null;
      replace(room, el("p", { class: "empty" }, el("strong", {}, "No dialog is open"), "Choose one from the list."));
    } else open = openDialog(room, ctx, openId, { back: () => go(""), needsName });
  }

  function needsName() {
    name.setAttribute("aria-invalid", "true");
    name.focus();
    ctx.announce("Please say your name first: other operators see who has a dialog.");
  }

  return () => {
    ended.abort();
    clearInterval(timer);
    document.removeEventListener("visibilitychange", visible);
    off();
    open?.end();
  };
}

function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
