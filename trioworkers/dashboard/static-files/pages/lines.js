// The lines of a conversation as elements: what users and operators said, notes, and what became of the dialog.

import { bytes, el, moment, setText, time } from "../dom.js";

const REASONS = {
  handler: "the bot asked for an operator",
  command: "the user asked for an operator",
  operator: "an operator took the dialog",
  api: "asked for over the API",
  failure: "the bot failed on a message",
};
const ENDS = {
  closed: "closed by an operator",
  released: "given back by an operator",
  cancelled: "the user ended it",
  "queue timeout": "nobody took it in time",
  "idle timeout": "nobody spoke for too long",
  unbanned: "the ban was lifted",
};
const KINDS = { photo: "a photo", video: "a video", animation: "an animation", audio: "a sound file", voice: "a voice message", video_note: "a video message", document: "a file", sticker: "a sticker", location: "a location", venue: "a place", contact: "a contact", dice: "a dice", poll: "a poll", callback_query: "pressed a button", message_reaction: "reacted to a message" };
const PICTURES = ["photo", "sticker"];
const FILMS = ["video", "animation", "video_note"];
const SOUNDS = ["audio", "voice"];

// An element for a line. `id`: of the dialog; `who`: what the user is called.
export function lineNode(line, id, who) {
  if (line.who === "desk") return el("div", { class: "line line-desk" }, el("p", {}, deskWords(line), " ", time(line.at)));
  const name = line.who === "user" ? who : line.who === "note" ? `Note of ${line.name ?? "an operator"}, for operators only` : (line.name ?? "an operator");
  const text = el("p", { class: "line-text" }, line.text ?? "");
  text.hidden = !line.text;
  const kind = line.kind === "text" || line.kind === "edit" ? null : line.media ? mediaNode(line, id, who) : el("p", { class: "muted" }, `[${KINDS[line.kind] ?? line.kind.replaceAll("_", " ")}]`);
  return el("div", { class: `line line-${line.who}` }, el("div", { class: "bubble" }, el("p", { class: "line-head" }, el("strong", {}, name), " ", time(line.at), el("span", { class: "line-edited", hidden: true }, " edited")), kind, text, el("p", { class: "line-status", hidden: true })));
}

// What was said before is now said in other words.
export function edit(node, line) {
  const text = node.querySelector(".line-text");
  if (text === null) return;
  setText(text, line.text ?? "");
  text.hidden = !line.text;
  const mark = node.querySelector(".line-edited");
  mark.hidden = false;
  mark.title = `at ${moment(line.at)}`;
}

// Says how the delivery of an operator's words stands: null for delivered.
export function setStatus(node, words, isBad) {
  const status = node.querySelector(".line-status");
  if (status === null) return;
  status.hidden = words === null;
  setText(status, words ?? "");
  status.classList.toggle("bad", isBad);
}

export function deskWords(line) {
  const of = line.name ?? "an operator";
  if (line.kind === "requested") return `Waiting for an operator: ${REASONS[line.text] ?? line.text}.`;
  if (line.kind === "reason") return `The bot's reason: ${line.text}`;
  if (line.kind === "assigned") return `${line.name ?? "An operator"} has taken the dialog.`;
  if (line.kind === "closing") return `Going back to the bot: ${ENDS[line.text] ?? line.text}.`;
  if (line.kind === "returned") return "The bot has the dialog again.";
  if (line.kind === "banned") return `Banned by ${of}. Nobody answers the user.`;
  if (line.kind === "repeated") return "The user may read the next words twice: it is not known whether they were sent before.";
  if (line.kind === "undelivered") return `Not delivered: ${line.text}.`;
  return line.text ?? line.kind;
}

function mediaNode(line, id, who) {
  const address = `/api/handoffs/${encodeURIComponent(id)}/media/${line.stamp}`;
  const what = KINDS[line.media.kind] ?? "a file";
  const size = line.media.size === undefined ? "" : ` (${bytes(line.media.size)})`;
  const label = `${line.media.name ?? what.replace(/^a /, "")}${size}`;
  const link = () => el("a", { class: "media-link", href: address, target: "_blank", rel: "noopener" }, `Open ${label}`);
  if (PICTURES.includes(line.media.kind)) {
    const picture = el("img", { src: address, loading: "lazy", alt: line.text ? `${what} of ${who}: ${line.text}` : `${what} of ${who}` });
    const frame = el("a", { class: "media", href: address, target: "_blank", rel: "noopener" }, picture);
    picture.addEventListener("error", () => frame.replaceWith(el("p", { class: "media-failed" }, `${what} that cannot be shown here. `, link())), { once: true });
    return frame;
  }
  if (FILMS.includes(line.media.kind) || SOUNDS.includes(line.media.kind)) {
    const player = el(FILMS.includes(line.media.kind) ? "video" : "audio", { src: address, controls: true, preload: "none", "aria-label": `${what} of ${who}` });
    return el("div", { class: "media" }, player, el("p", { class: "small" }, link()));
  }
  return el("p", {}, el("a", { class: "media-link", href: address, download: line.media.name ?? "" }, `Download ${label}`));
}
