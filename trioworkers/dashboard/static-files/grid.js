// A table of many rows of which only those in sight are in the document.
//
// It is a <table> with the roles of a grid: a screen reader is told how many rows there are and which of them
// it reads. It is one stop of the Tab key; arrows, Page Up, Page Down, Home and End move within. The row that
// has the focus stays in the document when it is scrolled out of sight.

import { el, setAttribute, setText } from "./dom.js";

const MARGIN = 6; // rows in the document beyond each edge of what is seen

export class Grid {
  // `columns`: {key, label, hint, sortable, width (of a grid track), className, make(cell) -> parts,
  // show(parts, item)}; the first column is the row's header. `onSort(key)`, `onOpen(key of the row)`;
  // `onAppear(parts by column key, item)`: a row has come into sight.
  constructor({ label, columns, keyOf, onSort, onOpen, onAppear }) {
    this._columns = columns;
    this._keyOf = keyOf;
    this._onOpen = onOpen;
    this._onAppear = onAppear;
    this._isStale = false; // what rows show may have changed; scrolling alone changes nothing
    this._items = [];
    this._rows = new Map(); // in the document, by key
    this._spare = [];
    this._active = { row: -1, column: 0, key: null }; // row -1: the header
    this._frame = null;
    this._heads = columns.map((column, at) => this._makeHead(column, at, onSort));
    this._body = el("tbody", { role: "rowgroup" });
    this._head = el("tr", { role: "row", "aria-rowindex": "1" }, this._heads);
    this._table = el("table", { class: "fleet", role: "grid", "aria-label": label, "aria-colcount": columns.length }, el("thead", { role: "rowgroup" }, this._head), this._body);
    this.root = el("div", { class: "fleet-scroll" }, this._table);
    this.root.addEventListener("scroll", () => this._renderSoon(), { passive: true });
    this._table.addEventListener("keydown", (event) => this._onKey(event));
    this._table.addEventListener("focusin", (event) => this._onFocus(event));
    this._sizes = new ResizeObserver(() => this._measure());
    this._sizes.observe(this.root);
    this._height = 38;
    this._view = 0; // what is seen of the rows, kept: asking while rows change would lay them out
  }

  close() {
    this._sizes.disconnect();
    cancelAnimationFrame(this._frame);
  }

  // Whether somebody is in the rows with the keyboard.
  get hasFocus() {
    return this._body.contains(document.activeElement);
  }

  // Shows these items in this order.
  setItems(items) {
    this._items = items;
    this._isStale = true;
    setAttribute(this._table, "aria-rowcount", String(items.length + 1));
    this._body.style.height = `${items.length * this._height}px`;
    this._render();
  }

  // Shows anew what has changed in the rows that are in the document.
  refresh() {
    this._isStale = true;
    this._renderSoon();
  }

  // Calls `draw(parts by column key, item)` for each row in sight.
  each(draw) {
    for (const row of this._rows.values()) draw(row.parts, row.item);
  }

  showSort(key, isDescending) {
    this._columns.forEach((column, at) => {
      const direction = column.key === key ? (isDescending ? "descending" : "ascending") : column.sortable ? "none" : null;
      setAttribute(this._heads[at], "aria-sort", direction);
    });
  }

  _makeHead(column, at, onSort) {
    const inner = column.sortable
      ? el("button", { type: "button", tabindex: at === 0 ? "0" : "-1", title: column.hint, onclick: () => onSort(column.key) }, column.label)
      : el("span", { tabindex: "-1", title: column.hint }, column.label);
    return el("th", { role: "columnheader", class: column.className, scope: "col", "aria-colindex": at + 1 }, inner);
  }

  _measure() {
    const height = parseFloat(getComputedStyle(this._table).getPropertyValue("--row")) || 38;
    this._view = this.root.clientHeight;
    if (height !== this._height) {
      this._height = height;
      for (const row of this._rows.values()) row.at = -1; // each is placed anew
    }
    this.setItems(this._items);
  }

  _renderSoon() {
    this._frame ??= requestAnimationFrame(() => this._render());
  }

  _render() {
    cancelAnimationFrame(this._frame);
    this._frame = null;
    const isStale = this._isStale;
    this._isStale = false;
    const focused = this._table.contains(document.activeElement) ? document.activeElement : null;
    const first = Math.max(0, Math.floor(this.root.scrollTop / this._height) - MARGIN);
    const end = Math.min(this._items.length, Math.ceil((this.root.scrollTop + this._view) / this._height) + MARGIN);
    const wanted = [];
    for (let at = first; at < end; at += 1) wanted.push(at);
    const kept = this._place(focused);
    if (kept >= 0 && kept < first) wanted.unshift(kept);
    if (kept >= end) wanted.push(kept);
    const keys = new Set(wanted.map((at) => this._keyOf(this._items[at])));
    for (const [key, row] of this._rows) {
      if (keys.has(key)) continue;
      this._rows.delete(key);
      this._spare.push(row);
      row.node.remove(); // before the others are looked at: each would be moved in front of it
    }
    this._spare.length = Math.min(this._spare.length, 2 * MARGIN);
    let next = this._body.firstChild;
    for (const at of wanted) {
      const row = this._rowOf(this._items[at]);
      if (row.node === next) next = next.nextSibling;
      else this._body.insertBefore(row.node, next);
      const isNew = row.at === -1;
      if (isStale || row.at !== at) this._bind(row, this._items[at], at);
      if (isNew) this._onAppear(row.parts, row.item);
    }
    if (focused !== null && document.activeElement !== focused) this._focus({ scroll: false });
  }

  // Where the row with the focus stands now; -1 when the focus is elsewhere.
  _place(focused) {
    if (this._active.key === null) return -1;
    if (focused === null) return -1;
    const at = this._items.findIndex((item) => this._keyOf(item) === this._active.key);
    if (at >= 0) this._active.row = at;
    else {
      // it is gone: its successor has the focus now
      this._active.row = Math.min(this._active.row, this._items.length - 1);
      this._active.key = this._active.row < 0 ? null : this._keyOf(this._items[this._active.row]);
    }
    return this._active.row;
  }

  _rowOf(item) {
    const key = this._keyOf(item);
    let row = this._rows.get(key);
    if (row === undefined) {
      row = this._spare.pop() ?? this._makeRow();
      row.key = key;
      row.at = -1;
      this._rows.set(key, row);
    }
    return row;
  }

  _makeRow() {
    const parts = {};
    const cells = this._columns.map((column, at) => {
      const cell = el(at === 0 ? "th" : "td", { role: at === 0 ? "rowheader" : "gridcell", class: column.className, "aria-colindex": at + 1 });
      if (at === 0) cell.scope = "row";
      parts[column.key] = column.make(cell);
      const target = cell.querySelector("a, button") ?? cell;
      target.tabIndex = -1;
      return cell;
    });
    const node = el("tr", { role: "row" }, cells);
    const row = { node, parts, cells, key: null, at: -1, item: null };
    node.addEventListener("click", (event) => {
      if (!event.target.closest("a, button") && String(getSelection()) === "") this._onOpen(row.key);
    });
    return row;
  }

  _bind(row, item, at) {
    row.item = item;
    if (row.at !== at) {
      row.at = at;
      row.node.style.transform = `translateY(${at * this._height}px)`;
      setAttribute(row.node, "aria-rowindex", String(at + 2));
    }
    for (const column of this._columns) column.show(row.parts[column.key], item);
  }

  // --- the keyboard ------------------------------------------------------------------------------------------

  _onFocus(event) {
    const cell = event.target.closest("th, td");
    if (cell === null) return;
    const column = Number(cell.getAttribute("aria-colindex")) - 1;
    const row = [...this._rows.values()].find((one) => one.node === cell.parentNode);
    this._active = row === undefined ? { row: -1, column, key: null } : { row: row.at, column, key: row.key };
    this._moveTabStop(event.target);
  }

  _moveTabStop(target) {
    for (const old of this._table.querySelectorAll('[tabindex="0"]')) old.tabIndex = -1;
    target.tabIndex = 0;
  }

  _onKey(event) {
    if (event.altKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.root.clientHeight / this._height) - 2);
    const { row, column } = this._active;
    const last = this._items.length - 1;
    const shown = this._columns.map((_, at) => at).filter((at) => this._heads[at].offsetParent !== null);
    const place = shown.indexOf(column);
    const moves = {
      ArrowDown: [Math.min(last, row + 1), column],
      ArrowUp: [Math.max(-1, row - 1), column],
      ArrowRight: [row, shown[Math.min(shown.length - 1, place + 1)]],
      ArrowLeft: [row, shown[Math.max(0, place - 1)]],
      PageDown: [Math.min(last, row + page), column],
      PageUp: [Math.max(Math.min(0, last), row - page), column],
      Home: event.ctrlKey ? [0, shown[0]] : [row, shown[0]],
      End: event.ctrlKey ? [last, shown.at(-1)] : [row, shown.at(-1)],
    };
    if (event.key === "Enter" && row >= 0 && event.target.tagName !== "A" && event.target.tagName !== "BUTTON") {
      this._onOpen(this._active.key);
      return;
    }
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    this._active = { row: move[0], column: move[1], key: move[0] < 0 ? null : this._keyOf(this._items[move[0]]) };
    this._focus({ scroll: true });
  }

  _focus({ scroll }) {
    const { row, column } = this._active;
    if (row >= 0 && scroll) {
      const header = this._head.offsetHeight;
      const top = row * this._height;
      const view = this.root.clientHeight - header;
      if (top < this.root.scrollTop) this.root.scrollTop = top;
      else if (top + this._height > this.root.scrollTop + view) this.root.scrollTop = top + this._height - view;
      this._render();
    }
    const cell = row < 0 ? this._heads[column] : this._rows.get(this._active.key)?.cells[column];
    const target = cell?.querySelector("a, button, span[tabindex]") ?? cell;
    target?.focus({ preventScroll: true });
  }
}

// Sets the text of a cell, and what is told of it to a screen reader where the sign alone is too brief.
export function showText(node, text, label = null) {
  setText(node, text);
  setAttribute(node, "aria-label", label);
}
