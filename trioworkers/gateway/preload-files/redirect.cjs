// Loaded into a bot's Node.js before its own code (NODE_OPTIONS): requests for the Bot API server go to the daemon.
// Without the variables that the daemon sets it does nothing. Tried with Node.js 20: node-fetch, request, global fetch.
"use strict";

const base = process.env.TRIOWORKERS_API_BASE;
const hosts = new Set((process.env.TRIOWORKERS_REDIRECT || "").split(",").filter(Boolean));

if (base && hosts.size) {
  const http = require("http");
  const https = require("https");
  const { syncBuiltinESMExports } = require("module");
  const { fields } = process.env.TRIOWORKERS_PROBE ? require("./probe.cjs") : { fields: () => null };
  const daemon = new URL(base);
  hosts.add(daemon.host); // of a bot that was told the address: its requests have fields, too
  const agent = new http.Agent({ keepAlive: true });
  const request = http.request;

  const isFor = (host, port, usual) => hosts.has(!port || Number(port) === usual ? host : `${host}:${port}`);

  // A request's headers, with what the probe adds. They may be an object, or a list of names and values.
  const marked = (headers) => {
    const more = fields();
    if (!more || !Array.isArray(headers)) return more ? { ...headers, ...more } : headers;
    const pairs = Object.entries(more);
    return headers.concat(Array.isArray(headers[0]) ? pairs : pairs.flat());
  };

  // The options of a request to the daemon instead, or null: it is for somebody else.
  const redirected = (url, options, usual) => {
    const host = options.hostname || options.host || (url && url.hostname) || "localhost";
    const port = options.port || (url && url.port);
    if (!isFor(host, port, usual)) return null;
    const path = options.path || (url ? url.pathname + url.search : "/");
    const changed = { path, protocol: "http:", hostname: daemon.hostname, host: daemon.hostname, port: daemon.port, agent };
    const headers = marked(options.headers);
    const kept = { ...options, ...changed, ...(headers && { headers }) };
    for (const name of ["href", "servername", "auth", "defaultPort", "createConnection", "_defaultAgent"]) delete kept[name];
    return kept;
  };

  for (const [module, usual] of [[http, 80], [https, 443]]) {
    const original = module.request;
    const wrapped = function (first, second, third) {
      const url = typeof first === "string" ? new URL(first) : first instanceof URL ? first : null;
      const options = url ? (second && typeof second === "object" ? second : {}) : first || {};
      const callback = [second, third].find((one) => typeof one === "function");
      const changed = redirected(url, options, usual);
      return changed ? request.call(http, changed, callback) : original.apply(this, arguments);
    };
    module.request = wrapped;
    module.get = function (...args) {
      const made = wrapped.apply(this, args);
      made.end();
      return made;
    };
  }
  syncBuiltinESMExports();

  const fetch = globalThis.fetch;
  if (fetch) {
    globalThis.fetch = (input, init) => {
      const address = typeof input === "string" ? input : input instanceof URL ? input.href : input.url;
      let url;
      try {
        url = new URL(address);
      } catch {
        return fetch(input, init);
      }
      if (!isFor(url.hostname, url.port, url.protocol === "https:" ? 443 : 80)) return fetch(input, init);
      const target = base + url.pathname + url.search;
      const asked = typeof input === "string" || input instanceof URL ? target : new Request(target, input);
      const more = fields();
      if (!more) return fetch(asked, init);
      const headers = new Headers((init && init.headers) || asked.headers);
      for (const [name, value] of Object.entries(more)) headers.set(name, value);
      return fetch(asked, { ...init, headers });
    };
  }
}
