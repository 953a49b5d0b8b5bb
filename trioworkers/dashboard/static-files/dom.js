// Builds elements and formats values. Nothing that came from outside is ever read as HTML: children that are
// not nodes become text.

const PROPERTIES = new Set(["value", "checked", "selected", "indeterminate", "open"]);

// An element. `props`: `onclick` and the like are listeners, `dataset` an object, the rest attributes;
// true is an empty attribute, false, null and undefined are none. `children`: nodes, texts, lists of them.
export function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2).toLowerCase(), value);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (PROPERTIES.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

// Puts `children` in the place of whatever `node` has.
export function replace(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";

// Calls `draw`, which puts new elements in the place of those in `root`, and gives the focus to the one that is like
// the one that had it; to its neighbour when there is none. Without this, a list that is refreshed would send
// somebody with a keyboard back to the top of the page.
export function keepFocus(root, draw) {
  const old = document.activeElement;
  if (old === root || !root.contains(old)) return draw();
  const sign = (node) => [node.tagName, node.getAttribute("href"), node.closest("[aria-label]")?.getAttribute("aria-label"), node.textContent].join(" ");
  const before = [...root.querySelectorAll(FOCUSABLE)];
  const wanted = sign(old);
  const turn = before.filter((node) => sign(node) === wanted).indexOf(old);
  draw();
  if (root.contains(old)) return undefined;
  const after = [...root.querySelectorAll(FOCUSABLE)];
  const alike = after.filter((node) => sign(node) === wanted);
  const next = alike[turn] ?? alike.at(-1) ?? after[Math.min(before.indexOf(old), after.length - 1)];
  next?.focus({ preventScroll: true });
  return undefined;
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
}

// Sets the text of a node, and touches the document only where it differs.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Sets an attribute, or removes it for null; touches the document only where it differs.
export function setAttribute(node, name, value) {
  if (value === null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const thousands = new Intl.NumberFormat("en");

function dateOf(at) {
  return typeof at === "number" ? new Date(at * 1000) : new Date(at);
}

// A moment as text. `at`: Unix seconds, or an ISO 8601 string.
export function moment(at) {
  const date = dateOf(at);
  if (Number.isNaN(date.getTime())) return "–";
  return (date.toDateString() === new Date().toDateString() ? clock : day).format(date);
}

// A moment as an element, with all of it in its title. `at`: as for moment().
export function time(at) {
  const date = dateOf(at);
  if (at === null || at === undefined || Number.isNaN(date.getTime())) return el("span", {}, "–");
  return el("time", { datetime: date.toISOString(), title: whole.format(date) }, moment(at));
}

// Milliseconds in words of at most two units.
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (ms < 1) return ms > 0 ? "<1 ms" : "0 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return pair(minutes, "min", Math.floor(seconds) % 60, "s");
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return pair(hours, "h", minutes % 60, "min");
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

function pair(large, name, small, smaller) {
  return small ? `${large} ${name} ${small} ${smaller}` : `${large} ${name}`;
}

// Bytes in units of 1,024, as the fleet file reads "150MB".
export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) {
    n /= 1024;
    at += 1;
  }
  return `${n >= 100 || at === 0 ? Math.round(n) : n.toFixed(1)} ${units[at]}`;
}

// A whole number with its thousands apart.
export function count(n) {
  return n === null || n === undefined ? "–" : thousands.format(n);
}

// A rate per second, with as many digits as tell something.
export function rate(n) {
  if (n === null || n === undefined || Number.isNaN(n)) return "–";
  if (n === 0) return "0";
  if (n < 0.095) return "<0.1";
  return n < 9.95 ? n.toFixed(1) : thousands.format(Math.round(n));
}

// "1 bot", "2 bots".
export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

// The badge of a state: its word, never its colour alone.
export function badge(state) {
  return el("span", { class: "badge", "data-state": state }, state);
}
