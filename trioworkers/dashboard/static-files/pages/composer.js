// Where an operator writes: nothing that was written is lost, and what was not sent says why.

import { el, replace, setText } from "../dom.js";
import { draftOf, keepDraft } from "./drafts.js";

const LONGEST = 4096; // characters; Telegram's limit

// `does`: { say(text, key), note(text), canSay() }. Returns { node, show(), saidAre(sources), hasWords(), end() }.
export function composer(ctx, id, does) {
  const draft = draftOf(id);
  for (const one of draft.unsent) {
    one.busy = false;
    one.reason ??= "the page was loaded anew before it was known to be sent";
  }
  let said = new Set();

  const box = el("textarea", { id: "words", rows: 3, maxlength: LONGEST, value: draft.text });
  const send = el("button", { class: "button button-primary", type: "button" }, "Send");
  const noteIt = el("button", { class: "button", type: "button" }, "Note for operators");
  const hint = el("p", { class: "small composer-hint", id: "words-hint" });
  const unsent = el("ul", { class: "unsent", "aria-label": "Not sent" });
  box.setAttribute("aria-describedby", "words-hint");
  const node = el("form", { class: "composer" }, unsent, el("label", { for: "words", class: "visually-hidden" }, "Your message"), box, el("div", { class: "composer-row" }, hint, el("div", { class: "composer-buttons" }, noteIt, send)));

  node.addEventListener("submit", (event) => event.preventDefault());
  box.addEventListener("input", () => {
    draft.text = box.value;
    keepDraft(id, draft);
    show();
  });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!send.disabled) submit(false);
  });
  send.addEventListener("click", () => submit(false));
  noteIt.addEventListener("click", () => submit(true));

  function submit(isNote) {
    const text = box.value.trim();
    if (text === "") return;
    const one = { key: newKey(), text, note: isNote, reason: null };
    draft.unsent.push(one);
    draft.text = box.value = "";
    keepDraft(id, draft);
    box.focus();
    deliver(one);
  }

  async function deliver(one) {
    one.reason = null;
    one.busy = true;
    show();
    try {
      await (one.note ? does.note(one.text) : does.say(one.text, one.key));
      forget(one);
    } catch (error) {
      one.reason = error.status === 0 ? "there is no connection to the daemon" : error.message;
    }
    one.busy = false;
    keepDraft(id, draft);
    show();
  }

  function forget(one) {
    const at = draft.unsent.indexOf(one);
    if (at >= 0) draft.unsent.splice(at, 1);
    keepDraft(id, draft);
  }

  function show() {
    const offline = ctx.live.state !== "live";
    const can = does.canSay();
    const empty = box.value.trim() === "";
    send.disabled = empty || !can;
    noteIt.disabled = empty;
    const words = offline
      ? "No connection to the daemon. What you write is kept here, and is not sent by itself."
      : can
        ? "Enter sends, Shift+Enter begins a new line."
        : "Take the dialog to answer. A note is possible at any time.";
    setText(hint, words);
    hint.classList.toggle("bad", offline);
    hint.classList.toggle("muted", !offline);
    const seen = draft.unsent.filter((one) => !said.has(`say.${one.key}`));
    const key = JSON.stringify([seen, can]);
    if (unsent.dataset.key === key) return;
    unsent.dataset.key = key;
    replace(unsent, seen.map((one) => entry(one, can)));
  }

  function entry(one, can) {
    const what = one.note ? "Note" : "Message";
    if (one.busy) return el("li", { class: "unsent-line" }, el("p", {}, one.text), el("p", { class: "small muted" }, "Being sent…"));
    const again = el("button", { class: "button", type: "button", disabled: !can && !one.note, onclick: () => deliver(one) }, "Send again");
    const back = el("button", { class: "button", type: "button", onclick: () => {
      forget(one);
      draft.text = box.value = box.value === "" ? one.text : `${one.text}\n${box.value}`;
      keepDraft(id, draft);
      show();
      box.focus();
    } }, "Edit");
    const drop = el("button", { class: "button button-quiet", type: "button", onclick: () => { forget(one); show(); box.focus(); } }, "Discard");
    return el("li", { class: "unsent-line unsent-failed" }, el("p", {}, one.text), el("p", { class: "small bad", role: "alert" }, `${what} not sent: ${one.reason}.`), el("div", { class: "composer-buttons" }, again, back, drop));
  }

  show();
  return {
    node,
    show,
    // What stands in the transcript was said, whether or not its answer was seen.
    saidAre: (sources) => {
      said = sources;
      for (const one of draft.unsent.filter((other) => said.has(`say.${other.key}`) && !other.busy)) forget(one);
      show();
    },
    hasWords: () => box.value.trim() !== "" || draft.unsent.some((one) => !one.busy),
    end: () => keepDraft(id, draft),
  };
}

// crypto.randomUUID is missing where a page is served without TLS to another host.
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");
}
