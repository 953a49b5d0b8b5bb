// The shell: which page is shown, the navigation, the connection's banner, confirmations and announcements.

import { makeApi } from "./api.js";
import { el, moment, replace, setText } from "./dom.js";
import { isUnwell } from "./health.js";
import { Live } from "./live.js";

const PAGES = [
  { path: "", label: "Overview", load: () => import("./overview.js") },
  { path: "bots", label: "Bots", load: () => import("./fleet.js"), count: unwell },
  { path: "letters", label: "Dead letters", load: () => import("./pages/letters.js"), count: dead },
  { path: "desk", label: "Operators' desk", load: () => import("./pages/desk.js") },
  { path: "alerts", label: "Alerts", load: () => import("./pages/alerts.js") },
  { path: "reloads", label: "Reloads", load: () => import("./pages/reloads.js") },
  { path: "plugins", label: "Plugins", load: () => import("./pages/plugins.js") },
];
const TOAST_TIME = 7000; // milliseconds

const main = document.getElementById("main");
const banner = document.getElementById("banner");
const announcer = document.getElementById("announcer");
const api = makeApi(() => live.signedOut());
export const live = new Live(api);
let unmount = null;
let shown = null; // the page and what it was given, so that its own changes of the address do not mount it again
let turn = 0;

const ctx = { api, live, navigate, announce, confirm, path: [], query: new URLSearchParams() };

function unwell() {
  let count = 0;
  for (const row of live.rows.values()) if (isUnwell(row)) count += 1;
  return count;
}

function dead() {
  let count = 0;
  for (const row of live.rows.values()) count += row.queue.dead;
  return count;
}

// --- pages ---------------------------------------------------------------------------------------------------

// Goes to "#/…", or changes the address of the page that is shown without mounting it again (`stay`).
function navigate(hash, { stay = false } = {}) {
  const address = hash.startsWith("#") ? hash : `#${hash}`;
  if (stay) {
    history.replaceState(null, "", address);
    shown = address;
  } else location.hash = address;
}

function readAddress() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").map(decode), query: new URLSearchParams(query ?? "") };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function show({ focus }) {
  if (shown === location.hash && unmount !== null) return;
  shown = location.hash;
  const { parts, query } = readAddress();
  const [first, ...rest] = parts;
  const page = PAGES.find((one) => one.path === first);
  const isBot = first === "bots" && rest.length > 0 && rest[0] !== "";
  turn += 1;
  const mine = turn;
  let module;
  try {
    module = page === undefined ? missing(first) : await (isBot ? import("./bot.js") : page.load());
  } catch {
    module = broken(page.label);
  }
  if (mine !== turn) return; // another page was asked for meanwhile
  unmount?.();
  unmount = null;
  document.body.classList.toggle("fills", module.fills === true);
  main.className = module.fills === true ? "fills" : "";
  replace(main);
  mark(first);
  const title = isBot ? rest[0] : module.title;
  document.title = `${title} · trioworkers`;
  try {
    unmount = module.mount(main, { ...ctx, path: rest, query }) ?? (() => {});
  } catch (error) {
    unmount = () => {};
    replace(main, el("h1", {}, title), el("p", { class: "error" }, `This page failed: ${error.message}`));
    console.error(error);
  }
  if (focus) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function missing(name) {
  return {
    title: "Not found",
    mount: (root) => {
      replace(root, el("h1", {}, "There is no such page"), el("p", {}, `Nothing is at “${name}”. `, el("a", { href: "#/" }, "To the overview")));
    },
  };
}

// Loads again by itself once the daemon is back. All of it: a browser may remember that a module could not be loaded.
function broken(label) {
  return {
    title: label,
    mount: (root) => {
      const again = el("button", { class: "button", onclick: () => location.reload() }, "Load again");
      replace(root, el("h1", {}, label), el("p", { class: "error" }, "This page could not be loaded. The daemon may have been stopped or upgraded."), el("p", {}, again));
      let wasAway = live.state === "offline"; // else a module that is not there would be asked for without end
      return live.on("state", (state) => {
        if (state === "offline") wasAway = true;
        else if (state === "live" && wasAway) location.reload();
      });
    },
  };
}

// --- navigation ----------------------------------------------------------------------------------------------

const counts = new Map();
const links = new Map();

function buildNavigation() {
  const items = PAGES.map((page) => {
    const number = el("span", { class: "nav-count", hidden: true }, el("span"), el("span", { class: "visually-hidden" }, page.path === "bots" ? " not well" : " waiting"));
    const link = el("a", { href: `#/${page.path}` }, page.label, " ", number);
    links.set(page.path, link);
    if (page.count !== undefined) counts.set(page, number);
    return el("li", {}, link);
  });
  replace(document.getElementById("nav"), items);
}

function mark(path) {
  for (const [one, link] of links) {
    if (one === path) {
      link.setAttribute("aria-current", "page");
      const box = link.closest("nav"); // on a telephone, not all fit; scrollIntoView would move where Tab begins
      box.scrollLeft = link.offsetLeft - (box.clientWidth - link.offsetWidth) / 2;
    } else link.removeAttribute("aria-current");
  }
}

function showCounts() {
  for (const [page, node] of counts) {
    const count = page.count();
    node.hidden = count === 0;
    setText(node.firstElementChild, String(count));
  }
  setText(document.getElementById("fleet-name"), live.fleet?.name ?? "");
}

// --- the connection ------------------------------------------------------------------------------------------

const STATES = { live: "live", connecting: "connecting", offline: "no connection", "signed-out": "signed out" };

function showConnection(state) {
  document.body.dataset.link = state;
  const sign = document.getElementById("link-state");
  sign.dataset.state = state;
  setText(sign, STATES[state]);
  if (state === "offline") {
    const since = moment((live.lostAt ?? Date.now()) / 1000);
    const words = live.fleet === null ? "Trying again…" : `What you see is from ${since} and may be out of date. This page goes on by itself when the daemon is back.`;
    const now = el("button", { class: "button", type: "button", onclick: () => live.retry() }, "Try now");
    replace(banner, el("div", { class: "banner" }, el("span", {}, "The daemon does not answer."), el("span", { class: "why" }, words), now));
  } else if (state === "signed-out") {
    const again = el("button", { class: "button button-primary", type: "button", onclick: () => location.reload() }, "Sign in");
    const words = "Your session has ended: it was too old, or the daemon was started anew. What you see is out of date.";
    replace(banner, el("div", { class: "banner" }, el("span", {}, "Please sign in again."), el("span", { class: "why" }, words), again));
  } else replace(banner);
}

// --- what pages ask of the shell -----------------------------------------------------------------------------

let toast = null;

// Tells something in passing, to eyes and to screen readers.
function announce(text) {
  clearTimeout(toast);
  setText(announcer, text);
  announcer.classList.add("shown");
  toast = setTimeout(() => {
    announcer.classList.remove("shown");
    setText(announcer, "");
  }, TOAST_TIME);
}

// Asks before something is done: resolves to whether `action`, the word on the button, was chosen.
function confirm(text, action) {
  const dialog = document.getElementById("confirm");
  setText(document.getElementById("confirm-text"), text);
  setText(document.getElementById("confirm-yes"), action);
  dialog.returnValue = "no";
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
    document.getElementById("confirm-no").focus();
  });
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the page
  main.focus();
});
addEventListener("hashchange", () => show({ focus: true }));
buildNavigation();
live.on("rows", showCounts);
live.on("state", (state) => {
  showConnection(state);
  showCounts();
});
showConnection(live.state);
live.start();
show({ focus: false });
