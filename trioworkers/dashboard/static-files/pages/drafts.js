// What an operator has written and not yet said: it outlives a lost connection and a reload of the page, and is gone
// with the browser's tab.

const PREFIX = "desk.";
const NAME = "desk.operator";

export function operator() {
  return localStorage.getItem(NAME) ?? "";
}

export function setOperator(name) {
  localStorage.setItem(NAME, name);
}

// { text, unsent: [{ key, text, note, reason }] } of a dialog.
export function draftOf(id) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(PREFIX + id));
    return { text: kept?.text ?? "", unsent: kept?.unsent ?? [] };
  } catch {
    return { text: "", unsent: [] };
  }
}

export function keepDraft(id, draft) {
  try {
    if (draft.text === "" && draft.unsent.length === 0) sessionStorage.removeItem(PREFIX + id);
    else sessionStorage.setItem(PREFIX + id, JSON.stringify(draft));
  } catch {
    return; // the browser keeps nothing: it is still on the page
  }
}
