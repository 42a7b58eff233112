// Marks that can be counted: bars, boxes, lines, a waterfall, and their axes.

import { s, shortened } from "./dom.js";
import { exact, num, signed, shown, t, tellingApart } from "./texts.js";

/** Round numbers from low to high, about count of them. */
function niceTicks(low, high, count = 5) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999) * power;
  const ticks = niceMultiples(low, high, step);
  return ticks.length ? ticks : [low];
}

/** Powers of ten between two positive numbers, else round numbers. */
function logTicks(low, high) {
  const ticks = [];
  for (let power = Math.ceil(Math.log10(low) - 1e-9); 10 ** power <= high * 1.0000001; power += 1) ticks.push(10 ** power);
  const every = Math.ceil(ticks.length / 6);
  return ticks.length > 1 ? ticks.filter((_, i) => i % every === 0) : niceTicks(low, high, 4);
}

/** From values to pixels and back; a range of one value is widened. */
export function makeScale(low, high, from, to, log = false) {
  let [least, most] = [low, high];
  if (!Number.isFinite(least) || !Number.isFinite(most)) [least, most] = [0, 1];
  if (least === most) {
    const pad = Math.abs(least) * 0.05 || 0.5;
    [least, most] = [least - pad, most + pad];
  }
  const isLog = log && least > 0;
  const bend = isLog ? Math.log : (value) => value;
  const unbend = isLog ? Math.exp : (value) => value;
  const slope = (to - from) / (bend(most) - bend(least));
  return {
    low: least, high: most, from, to, isLog,
    at: (value) => from + (bend(value) - bend(least)) * slope,
    back: (pixel) => unbend(bend(least) + (pixel - from) / slope),
    ticks: isLog ? logTicks(least, most) : niceTicks(least, most),
  };
}

/** A moment as milliseconds; where no zone is named it is that of all. */
export function momentOf(text) {
  return Date.parse(/T/.test(text) && !/(Z|[+-]\d\d:?\d\d)$/.test(text) ? `${text}Z` : text);
}

const DAY = 86_400_000;

/** Beginnings of years, months, days, hours or seconds from low to high, about six of them. */
function dateTicks(low, high) {
  const span = high - low;
  const months = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 12000].find((step) => span / step < 6.5 * 30.5 * DAY);
  if (span < 70 * DAY || !months) {
    const step = [1000, 5000, 15000, 60000, 300000, 900000, 3600000, 6 * 3600000, DAY, 2 * DAY, 7 * DAY, 14 * DAY].find((size) => span / size < 7);
    return step ? niceMultiples(low, high, step) : niceTicks(low, high);
  }
  const start = new Date(low);
  const first = Math.ceil((start.getUTCFullYear() * 12 + start.getUTCMonth()) / months) * months;
  const ticks = Array.from({ length: 9 }, (_, i) => Date.UTC(1970, first - 1970 * 12 + i * months));
  return ticks.filter((moment) => moment >= low && moment <= high);
}

function niceMultiples(low, high, step) {
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: Math.max(0, Math.min(60, count)) }, (_, i) => (first + i) * step);
}

function dateText(moment) {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return "–";
  const [day, time] = date.toISOString().replace(/(:00)?\.\d+Z$/, "").split("T");
  return time === "00:00" ? day : `${day} ${time}`;
}

/** How the edges of bins of moments are written: without hours where they span weeks. */
function dayTexts(edges) {
  const isLong = momentOf(edges.at(-1)) - momentOf(edges[0]) > 20 * DAY;
  return (edge) => dateText(momentOf(edge)).slice(0, isLong ? 10 : undefined);
}

/** How a value of an axis is written. */
export function axisText(kind, categories) {
  if (kind === "date") return dateText;
  if (categories) return (value) => shown(categories[Math.round(value)] ?? "");
  return num;
}

/** Where an axis has ticks, and how they are written there. */
export function axisMarks(scale, kind, categories) {
  if (categories) return [axisText(kind, categories), [...categories.keys()]];
  if (kind === "date") return [dateText, dateTicks(scale.low, scale.high)];
  return [tellingApart(scale.ticks), scale.ticks];
}

/** An axis below; labels that would touch are left out. */
export function axisBottom(scale, y, label, [text, ticks] = axisMarks(scale)) {
  const group = s("g", { class: "axis", "aria-hidden": "true" });
  group.append(s("line", { x1: scale.from, x2: scale.to, y1: y, y2: y }));
  let free = -Infinity;
  for (const value of ticks) {
    const x = scale.at(value);
    const words = shortened(text(value), 22);
    const half = words.length * 3.4;
    group.append(s("line", { x1: x, x2: x, y1: y, y2: y + 4 }));
    if (x - half < free || x + half > scale.to + 30) continue;
    free = x + half + 6;
    group.append(s("text", { x, y: y + 16, "text-anchor": "middle" }, words));
  }
  if (label) group.append(s("text", { class: "label", x: (scale.from + scale.to) / 2, y: y + 34, "text-anchor": "middle" }, shortened(label, Math.floor((scale.to - scale.from) / 7))));
  return group;
}

/** An axis at the left, with lines across the plot. */
export function axisLeft(scale, x, right, label, [text, ticks] = axisMarks(scale)) {
  const group = s("g", { class: "axis", "aria-hidden": "true" });
  let free = Infinity;
  for (const value of ticks) {
    const y = scale.at(value);
    group.append(s("line", { class: "grid", x1: x, x2: right, y1: y, y2: y }));
    if (y > free) continue;
    free = y - 13;
    group.append(s("text", { x: x - 6, y: y + 4, "text-anchor": "end" }, shortened(text(value), 9)));
  }
  const middle = (scale.from + scale.to) / 2;
  if (label) group.append(s("text", { class: "label", transform: `rotate(-90 12 ${middle})`, x: 12, y: middle + 4, "text-anchor": "middle" }, shortened(label, Math.floor(Math.abs(scale.from - scale.to) / 7))));
  return group;
}

/** A mark that arrows reach; onPick makes it a button. */
export function mark(label, onPick, attributes, ...shapes) {
  const clicks = onPick ? { role: "button", onclick: onPick } : { role: "img" };
  return s("g", { ...attributes, ...clicks, class: `mark ${attributes?.class ?? ""}`, tabindex: -1, "aria-label": label }, s("title", {}, label), shapes);
}

/** Where a click counts, though little is drawn there. */
function hitArea(x, y, width, height) {
  return s("rect", { class: "hit", x, y, width, height });
}

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** Make a picture of marks one stop of the tab key, its marks reached by arrows. */
export function picture(width, height, label, ...children) {
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label }, children);
  const marks = [...svg.querySelectorAll(".mark")];
  if (marks.length) marks[0].setAttribute("tabindex", 0);
  const go = (to) => {
    for (const each of marks) each.setAttribute("tabindex", -1);
    to.setAttribute("tabindex", 0);
    to.focus();
  };
  svg.addEventListener("keydown", (event) => {
    const here = marks.indexOf(document.activeElement);
    if (here < 0) return;
    const places = { Home: 0, End: marks.length - 1 };
    const next = places[event.key] ?? (event.key in STEPS ? here + STEPS[event.key] : null);
    if (next !== null && marks[next]) { event.preventDefault(); go(marks[next]); }
    else if (event.key === "Enter" || event.key === " ") { event.preventDefault(); marks[here].dispatchEvent(new MouseEvent("click", { bubbles: true })); }
    else if (event.key === "Escape") svg.closest("figure")?.querySelector("button")?.focus();
  });
  return svg;
}

function sideOf(width) {
  return Math.round(Math.min(230, Math.max(90, width * 0.32)));
}

function rowName(name, side, y) {
  return s("text", { class: "name", x: side - 8, y, "text-anchor": "end" }, s("title", {}, shown(name)), shortened(name, Math.floor((side - 8) / 7.3)));
}

const finite = (value) => typeof value === "number" && Number.isFinite(value);

/** Horizontal bars, one group a row: rows {name, values, errors?, floor?}. */
export function barRows({ width, label, rows, series, axis, onPick, text = num, chosen }) {
  const side = sideOf(width);
  const each = series.length > 1 ? 13 : 16;
  const pitch = each * series.length + 10;
  const height = rows.length * pitch + 44;
  const numbers = rows.flatMap((row) => row.values.map((value, i) => (finite(value) ? value + Math.sign(value || 1) * (row.errors?.[i] ?? 0) : 0)));
  const scale = makeScale(Math.min(0, ...numbers), Math.max(0, ...numbers), side, width - 64);
  const parts = [axisBottom(scale, height - 40, axis)];
  rows.forEach((row, r) => {
    const top = 4 + r * pitch;
    parts.push(rowName(row.name, side, top + (each * series.length) / 2 + 4));
    row.values.forEach((value, i) => {
      const y = top + i * each;
      const end = finite(value) ? scale.at(value) : scale.at(0);
      const from = scale.at(0);
      const bar = s("rect", { class: `s${i}`, x: Math.min(from, end), y, width: Math.max(0.5, Math.abs(end - from)), height: each - 2 });
      const error = row.errors?.[i];
      const whisker = error ? s("line", { class: "whisker", x1: scale.at(value - error), x2: scale.at(value + error), y1: y + each / 2 - 1, y2: y + each / 2 - 1 }) : null;
      const floor = finite(row.floor?.[i]) ? s("line", { class: "floor", x1: scale.at(row.floor[i]), x2: scale.at(row.floor[i]), y1: y, y2: y + each - 2 }) : null;
      const past = Math.max(end, from, error ? scale.at(value + error) : 0) + 5;
      const written = s("text", { class: "number", x: past, y: y + each - 4 }, text(value));
      const told = series.length > 1 || series[0] ? `${shown(row.name)}, ${shown(series[i] ?? "")}: ${text(value)}` : `${shown(row.name)}: ${text(value)}`;
      const isChosen = chosen === r ? "chosen" : "";
      parts.push(mark(told, onPick && (() => onPick(r, i)), { class: isChosen, "data-value": value }, ...[hitArea(side, y - 1, width - side, each), bar, whisker, floor, written].filter(Boolean)));
    });
  });
  return picture(width, height, label, parts);
}

/** Horizontal boxes: rows {name, boxes: [{low,q1,median,q3,high}]}. */
export function boxRows({ width, label, rows, series, axis, onPick, axisKind, zero = false }) {
  const side = sideOf(width);
  const pitch = 14 * series.length + 10;
  const height = rows.length * pitch + 44;
  const ends = rows.flatMap((row) => row.boxes.flatMap((box) => [box.low, box.high])).filter(finite);
  const scale = makeScale(Math.min(...ends, ...(zero ? [0] : [])), Math.max(...ends, ...(zero ? [0] : [])), side, width - 24);
  const write = axisText(axisKind);
  const parts = [axisBottom(scale, height - 40, axis, axisMarks(scale, axisKind))];
  if (zero) parts.push(s("line", { class: "zero", x1: scale.at(0), x2: scale.at(0), y1: 0, y2: height - 40 }));
  rows.forEach((row, r) => {
    const top = 4 + r * pitch;
    parts.push(rowName(row.name, side, top + 7 * series.length + 4));
    row.boxes.forEach((box, i) => {
      const told = `${shown(row.name)}, ${shown(series[i] ?? "")}: ${["low", "q1", "median", "q3", "high"].map((part) => write(box[part])).join(" · ")}`;
      parts.push(mark(told, onPick && (() => onPick(r, i)), {}, hitArea(side, top + i * 14, width - side, 13), finite(box.median) ? boxShapes(scale, box, top + i * 14 + 6, i) : []));
    });
  });
  return picture(width, height, label, parts);
}

function boxShapes(scale, box, y, i) {
  return [
    s("line", { class: "whisker", x1: scale.at(box.low), x2: scale.at(box.high), y1: y, y2: y }),
    s("rect", { class: `s${i}`, x: scale.at(box.q1), y: y - 5, width: Math.max(1, scale.at(box.q3) - scale.at(box.q1)), height: 10 }),
    s("line", { class: "median", x1: scale.at(box.median), x2: scale.at(box.median), y1: y - 6, y2: y + 6 }),
  ];
}

/** Swarms: every row counts; rows {name, swarms: [{counts, color, told}]}, edges of the bins. */
export function swarmRows({ width, label, rows, series, edges, axis, onPick }) {
  const side = sideOf(width);
  const each = series.length > 1 ? 22 : 30;
  const pitch = each * series.length + 6;
  const height = rows.length * pitch + 44;
  const scale = makeScale(edges[0], edges.at(-1), side, width - 24);
  const parts = [axisBottom(scale, height - 40, axis), s("line", { class: "zero", x1: scale.at(0), x2: scale.at(0), y1: 0, y2: height - 40 })];
  rows.forEach((row, r) => {
    const top = 2 + r * pitch;
    parts.push(rowName(row.name, side, top + (each * series.length) / 2 + 4));
    row.swarms.forEach(({ counts, color, told }, i) => {
      const middle = top + (i + 0.5) * each;
      const most = Math.max(...counts);
      const bins = [...counts.keys()].filter((b) => counts[b]).map((b) => {
        const tall = Math.max(1.5, ((each - 2) * counts[b]) / most);
        const [from, to] = [scale.at(edges[b]), scale.at(edges[b + 1])];
        const tone = color[b] === null ? `s${i}` : `r${Math.min(11, Math.floor(color[b] * 12))}`;
        return s("rect", { class: tone, x: from, y: middle - tall / 2, width: to - from + 0.3, height: tall, "data-n": counts[b] });
      });
      const name = series.length > 1 ? `${shown(row.name)}, ${shown(series[i])}: ${told}` : `${shown(row.name)}: ${told}`;
      parts.push(mark(name, onPick && (() => onPick(r, i)), {}, hitArea(side, middle - each / 2, width - side, each), bins));
    });
  });
  return picture(width, height, label, parts);
}

/** Upright bars over bins: names of the bins, series of counts; edges place the ticks; extra is a bin beside them. */
export function columnBars({ width, label, names, edges, series, axis, yAxis, onPick, kind, extra = null }) {
  const height = 260;
  const [left, bottom] = [58, height - 44];
  if (!names.length) return picture(width, 20, label);
  const most = Math.max(1, ...series.flatMap((one) => one.counts));
  const up = makeScale(0, most, bottom, 10);
  const step = (width - left - 12) / names.length;
  const parts = [axisLeft(up, left, width - 12, yAxis)];
  const gap = Math.min(6, step * 0.15);
  const thick = (step - gap) / series.length;
  names.forEach((name, b) => {
    series.forEach((one, i) => {
      const y = up.at(one.counts[b]);
      const bar = s("rect", { class: `s${i % 3}${b === extra ? " extra" : ""}`, x: left + b * step + gap / 2 + i * thick, y, width: Math.max(0.5, thick - 1), height: Math.max(0, bottom - y) });
      const told = one.name === null || one.name === "" ? `${shown(name)}: ${num(one.counts[b])}` : `${shown(name)}, ${shown(one.name)}: ${num(one.counts[b])}`;
      parts.push(mark(told, onPick && (() => onPick(b, i)), { "data-value": one.counts[b] }, hitArea(left + b * step + gap / 2 + i * thick, 10, thick, bottom - 10), bar));
    });
  });
  const across = makeScale(0, names.length, left, left + names.length * step);
  const edgeText = kind === "date" ? dayTexts(edges) : tellingApart(edges ?? []);
  const write = (place) => (edges && Number.isInteger(place) ? edgeText(edges[place]) : names[Math.floor(place)]);
  const every = Math.ceil(names.length / Math.max(1, (width - left) / 60));
  const places = [...names.keys()].filter((i) => i % every === 0 && i !== extra).map((i) => (edges ? i : i + 0.5));
  parts.push(axisBottom(across, bottom, axis, [write, places]));
  if (extra !== null) parts.push(s("text", { class: "label", x: across.to, y: bottom + 32, "text-anchor": "end" }, names[extra]));
  return picture(width, height, label, parts);
}

/** Lines: series {name, x, y, low?, high?}; across {label, low, high, log?, kind?, categories?}. */
export function lineChart({ width, label, series, across, up, onPick, height = 280, diagonal = false, marker }) {
  const [left, bottom] = [58, height - 44];
  const write = axisText(across.kind, across.categories);
  const x = makeScale(across.low, across.high, left, width - 16, across.log);
  const y = makeScale(up.low, up.high, bottom, 10);
  const parts = [axisLeft(y, left, width - 16, up.label), axisBottom(x, bottom, across.label, axisMarks(x, across.kind, across.categories))];
  if (diagonal) parts.push(s("line", { class: "zero", x1: x.at(x.low), y1: y.at(y.low), x2: x.at(x.high), y2: y.at(y.high) }));
  if (finite(marker)) parts.push(s("line", { class: "floor", x1: x.at(marker), x2: x.at(marker), y1: 10, y2: bottom }));
  series.forEach((one, i) => {
    const kept = [...one.x.keys()].filter((k) => finite(one.x[k]) && finite(one.y[k]));
    if (one.low) parts.push(s("path", { class: `band b${i % 3}`, d: bandPath(one, kept, x, y) }));
    const path = kept.map((k, j) => `${j ? "L" : "M"}${x.at(one.x[k]).toFixed(1)} ${y.at(one.y[k]).toFixed(1)}`).join("");
    parts.push(s("path", { class: `line l${i % 6}`, d: path }));
    for (const k of kept) {
      const told = `${shown(one.name)}: ${write(one.x[k])}, ${num(one.y[k])}${one.notes ? `, ${one.notes[k]}` : ""}`;
      const dot = s("circle", { class: `dot ${kept.length > 40 && i < 900 ? "hidden" : ""} l${i % 6}`, cx: x.at(one.x[k]), cy: y.at(one.y[k]), r: 3.5 });
      parts.push(mark(told, onPick && (() => onPick(i, k)), { "data-value": one.y[k] }, dot));
    }
  });
  return picture(width, height, label, parts);
}

function bandPath(one, kept, x, y) {
  const there = kept.map((k) => `${x.at(one.x[k]).toFixed(1)} ${y.at(one.low[k]).toFixed(1)}`);
  const back = kept.map((k) => `${x.at(one.x[k]).toFixed(1)} ${y.at(one.high[k]).toFixed(1)}`).reverse();
  return kept.length ? `M${[...there, ...back].join("L")}Z` : "";
}

const valueText = (value) => (value === null ? t("missing") : exact(value));

/** From the base to the total, one step a feature: items {name, value, phi}. */
export function waterfall({ width, label, base, total, items, names, axis, onPick }) {
  const side = sideOf(width);
  const pitch = 24;
  const height = (items.length + 2) * pitch + 48;
  let running = base;
  const steps = items.map((item) => {
    const from = running;
    running += item.phi;
    return { ...item, from, to: running };
  });
  const all = [base, total, ...steps.map((step) => step.to)].filter(finite);
  const scale = makeScale(Math.min(...all), Math.max(...all), side, width - 70);
  const parts = [axisBottom(scale, height - 40, axis)];
  const end = (name, value, row) => {
    const y = 6 + row * pitch;
    parts.push(rowName(name, side, y + 13));
    parts.push(mark(`${name}: ${num(value)}`, null, { "data-value": value },
      s("line", { class: "total", x1: scale.at(value), x2: scale.at(value), y1: y, y2: y + 18 }),
      s("text", { class: "number", x: scale.at(value) + 6, y: y + 13 }, num(value))));
  };
  end(names.base, base, 0);
  steps.forEach((step, i) => {
    const y = 6 + (i + 1) * pitch;
    const [low, high] = [Math.min(step.from, step.to), Math.max(step.from, step.to)].map(scale.at);
    const name = step.value === undefined || side < 160 ? step.name : `${shown(step.name)} = ${valueText(step.value)}`;
    parts.push(s("line", { class: "link", x1: scale.at(step.from), x2: scale.at(step.from), y1: y - 6, y2: y }));
    parts.push(rowName(name, side, y + 13));
    parts.push(mark(`${shown(step.name)}${step.value === undefined ? "" : ` = ${valueText(step.value)}`}: ${signed(step.phi)}`, onPick && (() => onPick(i)), { "data-value": step.phi },
      s("rect", { class: step.phi < 0 ? "minus" : "plus", x: low, y, width: Math.max(1, high - low), height: 18 }),
      s("text", { class: "number", x: high + 5, y: y + 13 }, signed(step.phi))));
  });
  end(names.total, total, items.length + 1);
  return picture(width, height, label, parts);
}
