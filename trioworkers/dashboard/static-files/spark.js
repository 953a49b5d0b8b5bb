// Sparklines as SVG: two paths each, which a browser keeps drawn while the table scrolls. Canvases have to be
// put together anew for each frame. They are hidden from screen readers: the figure stands beside each as text.

import { setAttribute } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;
const MARGIN = 5; // of HEIGHT, so that a line at an edge is not cut off

// A sparkline; `kind` names its colours: "rate" or "latency".
export function sparkLine(kind) {
  const node = document.createElementNS(SVG, "svg");
  node.setAttribute("class", `spark spark-${kind}`);
  node.setAttribute("aria-hidden", "true");
  node.setAttribute("preserveAspectRatio", "none");
  for (const part of ["area", "line"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", part);
    node.append(path);
  }
  return node;
}

// Draws `values`, the newest last; NaN are gaps. The scale goes from 0 to the largest, at least to `floor`.
// `filled`: how many of the last values there are.
export function drawSpark(node, values, { filled = values.length, floor = 1 } = {}) {
  const [area, line] = node.children;
  if (filled < 2) {
    setAttribute(area, "d", null);
    setAttribute(line, "d", null);
    return;
  }
  setAttribute(node, "viewBox", `0 0 ${values.length - 1} ${HEIGHT}`);
  let top = floor;
  for (const value of values) if (value > top) top = value;
  const parts = [];
  const areas = [];
  let start = null;
  for (let at = values.length - filled; at <= values.length; at += 1) {
    const value = at < values.length ? values[at] : NaN;
    if (Number.isNaN(value)) {
      if (start !== null) areas.push(`${parts.slice(start.part).join("")}V${HEIGHT}H${start.at}Z`);
      start = null;
      continue;
    }
    const y = Math.round(HEIGHT - MARGIN - (value / top) * (HEIGHT - 2 * MARGIN));
    if (start === null) start = { at, part: parts.length };
    parts.push(`${start.part === parts.length ? "M" : "L"}${at} ${y}`);
  }
  setAttribute(line, "d", parts.join(""));
  setAttribute(area, "d", areas.join(""));
}
