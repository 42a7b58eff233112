// Clouds of points on a canvas: drawn, picked from, zoomed into; a grid of counts where there are too many.

import { h, s, announce } from "./dom.js";
import { t, shown } from "./texts.js";
import { makeScale, axisBottom, axisLeft, axisMarks, axisText } from "./svg.js";

const RAMP = 12;
const HEIGHT = 400;

function scaleOf(axis, from, to, log, isTurned = false) {
  const pad = axis.categories ? 0.5 : axis.scale * 0.02;
  const low = axis.offset - (log ? 0 : pad);
  return makeScale(low, axis.offset + axis.scale + pad, isTurned ? to : from, isTurned ? from : to, log);
}

function mixed(index) {
  return ((Math.imul(index + 1, 2654435761) >>> 0) / 4294967296 - 0.5) * 0.6;
}

function tokens(node) {
  const style = getComputedStyle(node);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    missing: read("--muted"), chosen: read("--text"),
    ramp: Array.from({ length: RAMP }, (_, i) => read(`--r${i}`)),
    classes: Array.from({ length: 6 }, (_, i) => read(`--k${i}`)),
  };
}

/** The value of a stored one. */
export function valueOf(axis, stored) {
  return axis.offset + axis.scale * stored;
}

/** Draw an answer of api/points; onPick(index of row), onZoom(window or null). */
export function pointPlot({ answer, width, log, medians = [], chosen = [], onPick, onZoom, label }) {
  const { heading, arrays } = answer;
  const [left, bottom] = [64, HEIGHT - 44];
  const xScale = scaleOf(heading.x, left, width - 14, log);
  const yScale = scaleOf(heading.y, 10, bottom, false, true);
  const axes = s("svg", { width, height: HEIGHT, "aria-hidden": "true" },
    axisLeft(yScale, left, width - 14, heading.y.name, axisMarks(yScale, heading.y.kind, heading.y.categories)),
    axisBottom(xScale, bottom, heading.x.name, axisMarks(xScale, heading.x.kind, heading.x.categories)));
  const canvas = h("canvas", { role: "img", tabindex: 0, "aria-label": label, "data-n": heading.n, "data-kind": heading.kind });
  const zoomBox = h("div", { class: "zoom", hidden: true });
  const node = h("div", { class: "plot" }, axes, canvas, zoomBox);
  const density = Math.min(2, devicePixelRatio || 1);
  canvas.width = width * density;
  canvas.height = HEIGHT * density;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${HEIGHT}px`;
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  brush.scale(density, density);
  const places = heading.kind === "grid" ? null : placePoints(answer, xScale, yScale);
  const paint = () => {
    brush.clearRect(0, 0, width, HEIGHT);
    if (places) paintPoints(brush, answer, places, tokens(document.body), chosen);
    else paintGrid(brush, answer, xScale, yScale, tokens(document.body));
    if (medians.length) paintMedians(brush, medians.map(({ x, y }) => [xScale.at(x), yScale.at(y)]), heading.x.categories ? 20 : 0, tokens(document.body));
  };
  paint();
  if (places && onPick) pickPoints({ node, canvas, places, answer, onPick, brush, paint });
  if (onZoom) zoomInto({ canvas, zoomBox, xScale, yScale, onZoom });
  return node;
}

function placePoints({ heading, arrays }, xScale, yScale) {
  const count = arrays.index.length;
  const [px, py] = [new Float32Array(count), new Float32Array(count)];
  const [xSpread, ySpread] = [heading.x.categories ? 1 : 0, heading.y.categories ? 1 : 0];
  for (let i = 0; i < count; i += 1) {
    const shift = xSpread || ySpread ? mixed(arrays.index[i]) : 0;
    px[i] = xScale.at(valueOf(heading.x, arrays.x[i]) + xSpread * shift);
    py[i] = yScale.at(valueOf(heading.y, arrays.y[i]) + ySpread * mixed(arrays.index[i] * 7 + 3) * 1);
  }
  return { px, py };
}

/** Points of one colour are painted together: changing colours is what costs. */
function paintPoints(brush, { heading, arrays }, { px, py }, colors, chosen) {
  const count = px.length;
  const size = count > 20000 ? 1.5 : count > 2000 ? 2.5 : 4;
  const color = arrays.color;
  const isClass = Boolean(heading.color?.categories);
  const palette = isClass ? colors.classes : colors.ramp;
  const groups = new Map();
  for (let i = 0; i < count; i += 1) {
    let group = -1;
    if (!color) group = isClass ? 0 : 2;
    else if (!Number.isNaN(color[i])) group = isClass ? Math.round(valueOf(heading.color, color[i])) % 6 : Math.min(RAMP - 1, Math.floor(color[i] * RAMP));
    let list = groups.get(group);
    if (!list) groups.set(group, (list = []));
    list.push(i);
  }
  brush.globalAlpha = count > 2000 ? 0.7 : 0.85;
  for (const [group, list] of groups) {
    brush.fillStyle = group < 0 ? colors.missing : palette[group];
    for (const i of list) brush.fillRect(px[i] - size / 2, py[i] - size / 2, size, size);
  }
  brush.globalAlpha = 1;
  brush.strokeStyle = colors.chosen;
  brush.lineWidth = 2;
  const wanted = new Set(chosen);
  if (wanted.size) for (let i = 0; i < count; i += 1) if (wanted.has(arrays.index[i])) brush.strokeRect(px[i] - 5, py[i] - 5, 10, 10);
}

function paintGrid(brush, { heading, arrays }, xScale, yScale, colors) {
  const { nx, ny } = heading;
  const most = arrays.counts.reduce((high, count) => Math.max(high, count), 1);
  const cellX = (i) => xScale.at(heading.x.offset + (heading.x.scale * i) / nx);
  const cellY = (j) => yScale.at(heading.y.offset + (heading.y.scale * j) / ny);
  for (let j = 0; j < ny; j += 1) {
    for (let i = 0; i < nx; i += 1) {
      const count = arrays.counts[j * nx + i];
      if (!count) continue;
      const share = Math.log1p(count) / Math.log1p(most);
      const mean = arrays.color?.[j * nx + i];
      const tone = arrays.color && !Number.isNaN(mean) ? mean : share;
      brush.globalAlpha = 0.25 + 0.75 * share;
      brush.fillStyle = colors.ramp[Math.min(RAMP - 1, Math.floor(tone * RAMP))] ?? colors.missing;
      brush.fillRect(cellX(i), cellY(j + 1), cellX(i + 1) - cellX(i) + 0.5, cellY(j) - cellY(j + 1) + 0.5);
    }
  }
  brush.globalAlpha = 1;
}

/** A line along the medians, or a stroke for each category. */
function paintMedians(brush, places, half, colors) {
  brush.strokeStyle = colors.chosen;
  brush.lineWidth = 1.5;
  brush.beginPath();
  places.forEach(([x, y], i) => {
    if (half || !i) brush.moveTo(x - half, y);
    brush.lineTo(x + half, y);
  });
  brush.stroke();
}

function nearest({ px, py }, x, y, within) {
  let [best, found] = [within * within, -1];
  for (let i = 0; i < px.length; i += 1) {
    const distance = (px[i] - x) ** 2 + (py[i] - y) ** 2;
    if (distance < best) [best, found] = [distance, i];
  }
  return found;
}

function pickPoints({ canvas, places, answer, onPick, brush, paint }) {
  const { heading, arrays } = answer;
  let order = null;
  let here = -1;
  const tell = (i) => {
    const write = (axis, stored) => axisText(axis.kind, axis.categories)(valueOf(axis, stored));
    announce(t("point_told", { row: arrays.index[i], x: `${shown(heading.x.name)} ${write(heading.x, arrays.x[i])}`, y: `${shown(heading.y.name)} ${write(heading.y, arrays.y[i])}` }));
    paint();
    brush.strokeStyle = tokens(document.body).chosen;
    brush.strokeRect(places.px[i] - 6, places.py[i] - 6, 12, 12);
  };
  canvas.addEventListener("click", (event) => {
    if (canvas.dataset.dragged) return;
    const i = nearest(places, event.offsetX, event.offsetY, 14);
    if (i >= 0) onPick(arrays.index[i]);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10 }[event.key];
    if (step) {
      event.preventDefault();
      order ??= [...places.px.keys()].sort((a, b) => places.px[a] - places.px[b]);
      here = Math.max(0, Math.min(order.length - 1, here + step));
      if (order.length) tell(order[here]);
    } else if (event.key === "Enter" && here >= 0) onPick(arrays.index[order[here]]);
    else if (event.key === "Escape") canvas.closest("figure")?.querySelector("button")?.focus();
  });
}

function zoomInto({ canvas, zoomBox, xScale, yScale, onZoom }) {
  let start = null;
  const place = (event) => {
    const box = { left: Math.min(start.x, event.offsetX), top: Math.min(start.y, event.offsetY), width: Math.abs(event.offsetX - start.x), height: Math.abs(event.offsetY - start.y) };
    for (const [name, value] of Object.entries(box)) zoomBox.style[name] = `${value}px`;
    return box;
  };
  canvas.addEventListener("pointerdown", (event) => {
    start = { x: event.offsetX, y: event.offsetY };
    delete canvas.dataset.dragged;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!start) return;
    const box = place(event);
    zoomBox.hidden = box.width < 8 && box.height < 8;
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!start) return;
    const box = place(event);
    start = null;
    zoomBox.hidden = true;
    if (box.width < 8 || box.height < 8) return;
    canvas.dataset.dragged = "yes";
    const xs = [xScale.back(box.left), xScale.back(box.left + box.width)];
    const ys = [yScale.back(box.top + box.height), yScale.back(box.top)];
    onZoom([...xs, ...ys]);
  });
}

/** What the colours of points mean. */
export function colorLegend(color) {
  if (!color) return null;
  const name = h("span", {}, h("bdi", {}, shown(color.name)), ":");
  if (color.categories) {
    const items = color.categories.slice(0, 6).map((category, i) => h("li", {}, h("i", { class: `k${i}` }), h("bdi", {}, shown(category))));
    return h("ul", { class: "legend" }, h("li", {}, name), items, color.categories.length > 6 ? h("li", {}, "…") : null);
  }
  const write = axisText(color.kind);
  return rampLegend(write(color.offset), write(color.offset + color.scale), name);
}

/** What the colours from the least to the largest mean. */
export function rampLegend(low, high, name = null) {
  const bar = s("svg", { width: 120, height: 12, "aria-hidden": "true" }, Array.from({ length: RAMP }, (_, i) => s("rect", { class: `r${i}`, x: i * 10, y: 0, width: 10, height: 12 })));
  return h("p", { class: "legend" }, name, low, bar, high);
}
