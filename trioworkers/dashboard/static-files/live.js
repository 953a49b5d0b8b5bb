// The live stream: a websocket that is opened again whenever it ends, and what it has told so far.

import { History } from "./history.js";

const FIRST_PAUSE = 500; // milliseconds before it is tried again, doubled up to the longest
const LONGEST_PAUSE = 5000;
const FLUSH_EVERY = 250; // listeners hear of changes four times a second, however many there are
const SAMPLE_EVERY = 1000;
const KEPT_EVENTS = 300;
const SILENCE = 10_000; // milliseconds without a message after which the daemon is asked whether it still answers
const ANSWER = 8000; // milliseconds that it has for an answer

export class Live {
  // `api`: tells why a connection was refused, since a browser does not.
  constructor(api) {
    this.rows = new Map();
    this.fleet = null;
    this.events = []; // the newest last
    this.state = "connecting"; // or "live", "offline", "signed-out"
    this.lostAt = null; // Date.now() of when the connection was lost
    this.history = new History();
    this._api = api;
    this._listeners = { rows: new Set(), event: new Set(), state: new Set(), sample: new Set() };
    this._dirty = new Set();
    this._flushing = null;
    this._pause = FIRST_PAUSE;
    this._retry = null;
    this._socket = null;
    this._seq = null;
    this._heardAt = 0; // performance.now() of the last message, or of the last answer
    this._isAsking = false;
  }

  // Calls `listener` for "rows" (the set of names that changed), "event", "state", "sample"; returns what
  // ends it.
  on(what, listener) {
    this._listeners[what].add(listener);
    return () => this._listeners[what].delete(listener);
  }

  start() {
    this._connect();
    setInterval(() => this._sample(), SAMPLE_EVERY);
    setInterval(() => this._listen(), SAMPLE_EVERY);
    const now = () => this._retry !== null && this.retry();
    addEventListener("online", now);
    document.addEventListener("visibilitychange", () => document.hidden || now());
  }

  // Tries at once, where it waits to try again.
  retry() {
    clearTimeout(this._retry);
    this._retry = null;
    this._pause = FIRST_PAUSE;
    this._connect();
  }

  signedOut() {
    clearTimeout(this._retry);
    this._retry = null;
    this._setState("signed-out");
    this._socket?.close();
  }

  // Milliseconds since the process of a row started, which the stream tells only when it changes.
  uptime(row) {
    return row.uptime_ms === null ? null : row.uptime_ms + (performance.now() - row.told_at);
  }

  _connect() {
    const address = new URL("/api/live", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    if (this._seq !== null) address.searchParams.set("since", this._seq);
    const socket = new WebSocket(address);
    this._socket?.close(); // "Try now" while it is being tried
    this._socket = socket;
    this._heardAt = performance.now();
    let isOpen = false;
    socket.addEventListener("message", (message) => {
      if (socket !== this._socket) return;
      isOpen = true;
      this._heardAt = performance.now();
      this._pause = FIRST_PAUSE;
      this._take(JSON.parse(message.data));
    });
    socket.addEventListener("close", () => {
      if (socket === this._socket) this._lost(isOpen);
    });
  }

  // A daemon that hangs and a network that is gone close no connection, and a browser does not show the pings: when
  // nothing was heard for a while, an ordinary request tells whether somebody is still there.
  async _listen() {
    const socket = this._socket;
    if (socket === null || this._isAsking || this.state === "signed-out" || performance.now() - this._heardAt < SILENCE) return;
    this._isAsking = true;
    const isThere = await this._api.get("/health", AbortSignal.timeout(ANSWER)).then(() => true, () => false);
    this._isAsking = false;
    if (socket !== this._socket) return;
    if (isThere && socket.readyState === WebSocket.OPEN) this._heardAt = performance.now();
    else this._giveUp(socket);
  }

  // Its "close" would come only after a minute, since the peer does not answer.
  _giveUp(socket) {
    this._socket = null;
    socket.close();
    this._lost(true);
  }

  _take(message) {
    if (typeof message.seq === "number") this._seq = message.seq;
    if (message.type === "snapshot") this._restart(message.data);
    else if (message.type === "change") this._change(message.bot, message.data);
    else if (message.type === "event") {
      this.events.push(message);
      if (this.events.length > KEPT_EVENTS) this.events.splice(0, this.events.length - KEPT_EVENTS);
      for (const listener of this._listeners.event) listener(message);
    }
    if (this.state !== "live" && this.fleet !== null) this._setState("live");
  }

  _restart(data) {
    if (this.fleet?.pid !== data.fleet.pid) this.history.interrupt();
    this.fleet = data.fleet;
    this.fleet.told_at = performance.now();
    for (const name of this.rows.keys()) this._dirty.add(name);
    this.rows.clear();
    for (const row of data.workers) {
      row.told_at = performance.now();
      this.rows.set(row.bot, row);
      this._dirty.add(row.bot);
    }
    this._flushSoon();
  }

  _change(bot, data) {
    if (bot === null) {
      Object.assign(this.fleet, data);
      if ("uptime_ms" in data) this.fleet.told_at = performance.now();
      this._dirty.add(null);
    } else if (data === null) {
      this.rows.delete(bot);
      this._dirty.add(bot);
    } else {
      const row = this.rows.get(bot);
      if (row === undefined) this.rows.set(bot, { bot, told_at: performance.now(), ...data });
      else {
        if ("uptime_ms" in data) row.told_at = performance.now();
        Object.assign(row, data);
      }
      this._dirty.add(bot);
    }
    this._flushSoon();
  }

  _flushSoon() {
    this._flushing ??= setTimeout(() => {
      this._flushing = null;
      const dirty = this._dirty;
      this._dirty = new Set();
      for (const listener of this._listeners.rows) listener(dirty);
    }, FLUSH_EVERY);
  }

  _sample() {
    if (this.state !== "live") return;
    this.history.sample(this.rows, performance.now());
    for (const listener of this._listeners.sample) listener();
  }

  async _lost(wasOpen) {
    this._socket = null;
    if (this.state === "signed-out") return;
    if (wasOpen || this.state === "connecting") this.history.interrupt();
    this.lostAt ??= Date.now();
    if (wasOpen) this._setState("offline");
    else {
      // refused, or nobody there: an ordinary request tells which; for a 401, signedOut() is called
      await this._api.get("/api/plugins", AbortSignal.timeout(ANSWER)).catch(() => null);
      if (this.state === "signed-out" || this._socket !== null) return; // "Try now" was faster
      this._setState("offline");
    }
    this._retry = setTimeout(() => {
      this._retry = null;
      this._connect();
    }, this._pause * (0.75 + Math.random() / 2));
    this._pause = Math.min(LONGEST_PAUSE, this._pause * 2);
  }

  _setState(state) {
    if (this.state === state) return;
    this.state = state;
    if (state === "live") this.lostAt = null;
    for (const listener of this._listeners.state) listener(state);
  }
}
