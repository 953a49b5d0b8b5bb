// One dialog: the conversation, and what an operator does in it. The daemon decides whose it is; the page says so.

import { badge, el, plural, replace, setText } from "../dom.js";
import { composer } from "./composer.js";
import { operator } from "./drafts.js";
import { edit, lineNode, setStatus } from "./lines.js";
import { act, age } from "./parts.js";

const PAGE = 60; // lines
const END = "9".repeat(17);
const OVERLAP = 60_000_000; // microseconds that are read again: of two lines, the later one may be there first
const NEAR = 48; // pixels from the end that count as the end
const AGAIN = 3000; // milliseconds until a refresh that failed is tried again: the list may not change for long
const STATES = { bot: ["idle", "the bot has it"], queued: ["warn", "waiting"], assigned: ["good", "taken"], closing: ["draining", "going back to the bot"], banned: ["bad", "banned"] };

export function who(row) {
  return row.user?.name ?? `Chat ${row.chat_id}`;
}

export function me() {
  return `api:${operator()}`;
}

export function stateBadge(row) {
  const [state, word] = STATES[row.state];
  const made = badge(state);
  made.textContent = row.state === "assigned" ? (row.operator === me() ? "yours" : `taken by ${row.name ?? row.operator}`) : word;
  return made;
}

// `desk`: { back(), needsName() }. Returns { update(row, version), end() }; `update` is given the dialog's row of the
// list, or null when it is in none, and the list's version.
export function openDialog(box, ctx, id, desk) {
  const lines = new Map();
  const nodes = new Map();
  const address = `/api/handoffs/${encodeURIComponent(id)}`;
  const given = new AbortController();
  let row = null;
  let sending = new Set();
  let previous = null;
  let unseen = 0;
  let busy = false;
  let again = false;
  let known = 0;
  let latest = null; // what the list said last
  let isBehind = false; // the last attempt to refresh failed
  let pinned = true; // to the end: it stays in sight while pictures load and the composer grows

  const head = el("div", { class: "dialog-head" });
  const notice = el("div", { class: "dialog-notice", role: "status" });
  const older = el("button", { class: "button button-quiet", type: "button", hidden: true, onclick: earlier }, "Show earlier messages");
  const log = el("div", { class: "talk", role: "log", "aria-label": "Conversation" });
  const scroll = el("div", { class: "lines-scroll", tabindex: 0, role: "region", "aria-label": "Messages" }, older, log);
  const toEnd = el("button", { class: "button to-end", type: "button", hidden: true });
  const compose = composer(ctx, id, { say, note, canSay: () => row?.state === "assigned" && row.operator === me() });
  replace(box, head, notice, el("div", { class: "lines-frame" }, scroll, toEnd), compose.node);
  replace(log, el("p", { class: "empty" }, "Loading…"));
  toEnd.addEventListener("click", () => goToEnd());
  scroll.addEventListener("scroll", () => {
    pinned = isAtEnd();
    if (pinned) seen();
  });
  const grown = new ResizeObserver(() => {
    if (pinned) scroll.scrollTop = scroll.scrollHeight;
  });
  grown.observe(log);
  grown.observe(scroll);
  const off = ctx.live.on("state", (state) => {
    compose.show();
    if (row !== null) showHead();
    if (state === "live") refresh();
  });
  load();

  // --- reading ------------------------------------------------------------------------------------------------

  // One answer at a time, here and in refresh: an older one that comes later would undo what a newer one said.
  async function load() {
    busy = true;
    again = false;
    try {
      const answer = await ctx.api.get(`${address}?before=${END}&limit=${PAGE}`, given.signal);
      replace(log);
      previous = answer.previous;
      take(answer);
      goToEnd();
      compare(); // the list may have changed while this was loaded
    } catch (error) {
      if (given.signal.aborted) return;
      const words = error.status === 404 ? "There is no such dialog, or nothing of it is kept any more." : `The conversation could not be loaded: ${error.message}.`;
      replace(log, el("div", { class: "error trouble" }, el("span", {}, words), error.status === 404 ? null : el("button", { class: "button", type: "button", onclick: refresh }, "Try again")));
    } finally {
      busy = false;
    }
    if (again) refresh();
  }

  async function earlier() {
    const height = scroll.scrollHeight;
    await act(ctx, older, () => ctx.api.get(`${address}?before=${previous}&limit=${PAGE}`, given.signal), (answer) => {
      previous = answer.previous;
      for (const line of answer.transcript) lines.set(line.stamp, line);
      draw();
      scroll.scrollTop += scroll.scrollHeight - height; // what one reads stays where it is
    });
  }

  async function refresh() {
    if (busy) {
      again = true;
      return null;
    }
    if (row === null) return load();
    busy = true;
    try {
      do {
        again = false;
        let after = stampBefore([...lines.keys()].sort().at(-1));
        while (after !== null) {
          const answer = await ctx.api.get(`${address}?after=${after}&limit=200`, given.signal);
          if (isBehind) replace(notice);
          isBehind = false;
          take(answer);
          after = answer.next;
        }
      } while (again);
    } catch (error) {
      if (given.signal.aborted) return null;
      isBehind = true;
      setTimeout(() => {
        if (isBehind && !given.signal.aborted) refresh();
      }, AGAIN);
      if (error.status !== 0) say_(`The conversation could not be refreshed: ${error.message}. It is tried again.`, true);
    } finally {
      busy = false;
    }
    return null;
  }

  // What the list says of this dialog may be newer than what is shown.
  function compare() {
    if (row === null || latest === null) return;
    const { listed, version } = latest;
    // a dialog that has left the list may still get lines: those of its end
    if (listed === null ? isBehind || version > row.version : isBehind || listed.changed > known || listed.state !== row.state || listed.user?.name !== row.user?.name) {
      known = listed?.changed ?? known;
      refresh();
    }
  }

  function take(answer) {
    const before = row;
    row = answer;
    known = Math.max(known, answer.changed);
    sending = new Set(answer.sending);
    const wasAtEnd = pinned;
    let fresh = 0;
    if (before !== null && who(before) !== who(row)) {
      for (const one of log.querySelectorAll(".line-user .line-head strong")) setText(one, who(row));
    }
    for (const line of answer.transcript) {
      if (!lines.has(line.stamp) && before !== null && line.who !== "desk" && line.name !== operator()) fresh += 1;
      lines.set(line.stamp, line);
    }
    draw();
    if (wasAtEnd) goToEnd();
    else unseen += fresh;
    showUnseen();
    showHead();
    tellChange(before);
    compose.show();
  }

  function tellChange(before) {
    if (before === null || (before.state === row.state && before.operator === row.operator)) return;
    const kept = compose.hasWords() ? " What you have written is kept below." : "";
    if (row.state === "assigned" && row.operator === me()) say_("The dialog is yours. The bot is silent in it.", false);
    else if (row.state === "bot") say_(`The bot has this dialog again.${kept}`, false);
    else if (before.state === "assigned" && before.operator === me()) {
      if (row.state === "assigned") say_(`${row.name ?? row.operator} has taken this dialog over.${kept}`, true);
      else if (row.state === "banned") say_(`The user is banned.${kept}`, true);
      else say_(`This dialog is not yours any more: it goes back to the bot.${kept}`, true);
    } else replace(notice);
  }

  function say_(words, isBad) {
    replace(notice, el("p", { class: isBad ? "notice bad" : "notice" }, words));
  }

  // --- drawing ------------------------------------------------------------------------------------------------

  function draw() {
    older.hidden = previous === null;
    const failed = new Map();
    const said = new Set();
    const byMessage = new Map();
    let at = log.firstChild;
    for (const stamp of [...lines.keys()].sort()) {
      const line = lines.get(stamp);
      if (line.source !== undefined) {
        if (line.kind === "undelivered") failed.set(line.source, line.text);
        else said.add(line.source);
      }
      if (line.kind === "edit") {
        const of = byMessage.get(`${line.who} ${line.message_id}`);
        if (of !== undefined) {
          edit(of, line);
          continue;
        }
      }
      if (line.kind === "undelivered" && said.has(line.source)) continue;
      let node = nodes.get(stamp);
      if (node === undefined) {
        node = lineNode(line, id, who(row));
        nodes.set(stamp, node);
      }
      if (line.message_id !== undefined) byMessage.set(`${line.who} ${line.message_id}`, node);
      if (node === at) at = at.nextSibling;
      else log.insertBefore(node, at);
    }
    for (const [stamp, line] of lines) {
      if (line.source === undefined || line.kind === "undelivered") continue;
      const why = failed.get(line.source);
      const waits = sending.has(line.source);
      const words = why !== undefined ? `Not delivered: ${why}.` : waits ? "Being sent…" : null;
      if (nodes.has(stamp)) setStatus(nodes.get(stamp), words, why !== undefined);
    }
    if (lines.size > 0) log.querySelector(":scope > .empty")?.remove();
    else if (log.childElementCount === 0) replace(log, el("p", { class: "empty" }, "Nothing has been said since the dialog was handed over."));
    compose.saidAre(said);
  }

  function isAtEnd() {
    return scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR;
  }

  function goToEnd() {
    scroll.scrollTop = scroll.scrollHeight;
    pinned = true;
    seen();
  }

  function seen() {
    unseen = 0;
    showUnseen();
  }

  function showUnseen() {
    toEnd.hidden = unseen === 0;
    setText(toEnd, `${plural(unseen, "new message")} below`);
  }

  function showHead() {
    const focused = document.activeElement?.dataset?.act;
    const name = operator();
    const isMine = row.state === "assigned" && row.operator === me();
    const holder = row.state === "assigned" ? row.operator : "";
    const button = (key, words, kind, onclick) => el("button", { class: `button ${kind}`, type: "button", "data-act": key, disabled: ctx.live.state !== "live", onclick }, words);
    const buttons = [];
    const take_ = (event) => takeOver(event.currentTarget, holder);
    if (row.state === "queued" || row.state === "bot") buttons.push(button("take", row.state === "bot" ? "Take from the bot" : "Take", "button-primary", take_));
    if (row.state === "assigned" && !isMine) buttons.push(button("take", `Take over from ${row.name ?? row.operator}`, "", take_));
    if (isMine || row.state === "queued") buttons.push(button("release", "Give back to the bot", "", (event) => release(event.currentTarget, holder)));
    if (row.state === "banned") buttons.push(button("unban", "Lift the ban", "", (event) => post(event.currentTarget, "unban", { operator: name })));
    else if (row.state !== "closing") buttons.push(button("ban", "Ban", "button-danger", (event) => ban(event.currentTarget)));
    const user = row.user?.username ? `@${row.user.username} · ` : "";
    replace(
      head,
      el("a", { class: "button dialog-back", href: "#/desk", onclick: (event) => { event.preventDefault(); desk.back(); } }, "Back to the list"),
      el("div", { class: "dialog-who" }, el("h2", {}, who(row)), el("p", { class: "muted small" }, `${user}chat ${row.chat_id} · `, row.bot ?? "a bot that is not here")),
      stateBadge(row),
      row.state === "queued" ? el("span", { class: "warn small" }, `for ${age(row.since)}`) : null,
      el("div", { class: "dialog-actions" }, buttons),
    );
    if (focused !== undefined) head.querySelector(`[data-act="${focused}"]`)?.focus();
  }

  // --- acting -------------------------------------------------------------------------------------------------

  async function takeOver(button, holder) {
    if (operator() === "") return desk.needsName();
    if (holder !== "" && !(await ctx.confirm(`${row.name ?? holder} has this dialog. Take it over?`, "Take over"))) return null;
    return post(button, "take", { operator: operator(), expected: holder });
  }

  async function release(button, holder) {
    if (compose.hasWords() && !(await ctx.confirm("You have written something that was not sent. Give the dialog back to the bot all the same?", "Give back"))) return null;
    return post(button, "release", { expected: holder });
  }

  async function ban(button) {
    if (operator() === "") return desk.needsName();
    if (!(await ctx.confirm(`Ban ${who(row)}? What the user writes is dropped, and nobody answers, until the ban is lifted.`, "Ban"))) return null;
    return post(button, "ban", { operator: operator() });
  }

  function post(button, what, body) {
    return act(ctx, button, async () => {
      try {
        return await ctx.api.post(`${address}/${what}`, body);
      } finally {
        refresh(); // also of what was refused: somebody else was faster
      }
    }, () => refresh());
  }

  async function say(text, key) {
    const answer = await ctx.api.post(`${address}/say`, { operator: operator(), text, key, expected: me() });
    refresh();
    if (answer.delivered === false) ctx.announce(`Not delivered: ${answer.reason}.`);
  }

  async function note(text) {
    await ctx.api.post(`${address}/note`, { operator: operator() || "operator", text });
    refresh();
  }

  return {
    update: (listed, version) => {
      latest = { listed, version };
      compare();
    },
    tick: () => row?.state === "queued" && showHead(),
    rename: () => {
      if (row !== null) showHead();
      compose.show();
    },
    end: () => {
      given.abort();
      off();
      grown.disconnect();
      compose.end();
    },
  };
}

function stampBefore(stamp) {
  if (stamp === undefined) return "0";
  return String(Math.max(0, Number(stamp) - OVERLAP)).padStart(17, "0");
}
