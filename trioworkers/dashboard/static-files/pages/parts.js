// What several pages do: load something and say how that went, refresh it, and act on it.

import { duration, el, keepFocus, replace } from "../dom.js";

const SOONEST = 2000; // milliseconds before a failed load is tried again
const LATEST = 30_000;

// Loads with `load` and shows with `show(answer)` in `box`; while there is nothing yet, says that it loads or why
// it cannot. Loads again after a failure that may pass, and when the connection is back. Returns { again, end }.
export function loads(ctx, box, load, show) {
  let turn = 0;
  let ended = false;
  let shown = false;
  let said = "";
  let pause = SOONEST;
  let timer = null;
  const trouble = el("div", { hidden: true, role: "alert" });
  const content = el("div", { class: "loads" }, el("p", { class: "empty" }, "Loading…"));
  replace(box, trouble, content);

  async function again() {
    turn += 1;
    const mine = turn;
    clearTimeout(timer);
    try {
      const answer = await load();
      if (ended || mine !== turn) return;
      pause = SOONEST;
      trouble.hidden = true;
      replace(trouble);
      if (!shown) replace(content);
      shown = true;
      keepFocus(content, () => show(answer, content));
    } catch (error) {
      if (ended || mine !== turn) return;
      const words = shown ? `This could not be refreshed: ${error.message}. What you see may be out of date.` : `This could not be loaded: ${error.message}.`;
      if (trouble.hidden || words !== said) { // else it would be read out again, and the button lose the focus
        said = words;
        trouble.hidden = false;
        const retry = el("button", { class: "button", type: "button", onclick: again }, "Try again");
        replace(trouble, el("div", { class: "error trouble" }, el("span", {}, words), retry));
      }
      if (!shown) replace(content);
      if (mayPass(error)) {
        later();
        pause = Math.min(2 * pause, LATEST);
      }
    }
  }

  function later() {
    timer = setTimeout(() => (document.hidden ? later() : again()), pause);
  }

  const off = ctx.live.on("state", (state) => state === "live" && again());
  again();
  return {
    again,
    end: () => {
      ended = true;
      clearTimeout(timer);
      off();
    },
  };
}

// Whether the same request may be answered later: there was no answer, the daemon is busy, or it broke.
function mayPass(error) {
  return error.status === 0 || error.status === 429 || error.status >= 500;
}

// Calls `refresh` every `milliseconds` while the page can be seen, and soon after each event for which `isNews`
// holds. Returns what ends it.
export function refreshes(ctx, refresh, milliseconds, isNews = () => false) {
  let soon = null;
  const timer = setInterval(() => document.hidden || ctx.live.state !== "live" || refresh(), milliseconds);
  const off = ctx.live.on("event", (event) => {
    if (!isNews(event)) return;
    soon ??= setTimeout(() => {
      soon = null;
      refresh();
    }, 300);
  });
  return () => {
    clearInterval(timer);
    clearTimeout(soon);
    off();
  };
}

// Does something once at a time by a button, which is disabled meanwhile; what goes wrong is said.
export async function act(ctx, button, what, done) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  try {
    const answer = await what();
    done(answer);
  } catch (error) {
    ctx.announce(error.status === 0 ? `Nothing was done: ${error.message}.` : `It was refused: ${error.message}`);
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = ctx.live.state !== "live";
  }
}

// How long ago something was, in whole seconds: it is looked at every few of them.
export function age(at) {
  const seconds = Math.max(0, Math.floor(Date.now() / 1000 - at));
  return seconds < 60 ? `${seconds} s` : duration(seconds * 1000);
}

// Keeps buttons that need the daemon from being pressed while it does not answer. Returns what ends it.
export function needDaemon(ctx, ...buttons) {
  const show = () => {
    for (const button of buttons) button.disabled = ctx.live.state !== "live" || button.getAttribute("aria-busy") === "true";
  };
  show();
  return ctx.live.on("state", show);
}

// The rows of the plugins; `isActive(rows, name)` tells whether its endpoints may be asked.
export async function plugins(ctx, signal) {
  return (await ctx.api.get("/api/plugins", signal)).plugins;
}

export function isActive(rows, name) {
  return rows.some((row) => row.name === name && row.state === "active");
}

// A link to a bot's page; a bot that is not here any more is a text.
export function botLink(ctx, name) {
  return ctx.live.rows.has(name) ? el("a", { href: `#/bots/${encodeURIComponent(name)}` }, name) : name;
}
