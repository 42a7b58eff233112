// What every chart has: a title, a sentence, a picture, its table, and a file of it.

import { h, button, freshId, saveFile } from "./dom.js";
import { exact, t, num, shown } from "./texts.js";

const running = new Set();

/** Stop all that the view asks for. */
export function stopPanels() {
  for (const controller of running) controller.abort();
  running.clear();
}

/** A place that is filled by what load answers, and again with reload(). */
export function panel(load, attributes = {}) {
  const node = h("div", { class: "panel", "aria-busy": "true", ...attributes }, h("p", { class: "waiting" }, t("loading")));
  let controller = null;
  const reload = async () => {
    if (controller) { controller.abort(); running.delete(controller); }
    const mine = new AbortController();
    controller = mine;
    running.add(mine);
    node.setAttribute("aria-busy", "true");
    let content;
    try {
      content = await load(mine.signal);
    } catch (error) {
      if (mine.signal.aborted) return;
      content = refusalNote(error);
    }
    if (mine.signal.aborted) return;
    running.delete(mine);
    const focused = node.contains(document.activeElement) ? document.activeElement.id : "";
    node.replaceChildren(...[content].flat(Infinity).filter(Boolean));
    if (focused) document.getElementById(focused)?.focus();
    node.setAttribute("aria-busy", "false");
  };
  reload();
  return { node, reload };
}

/** What is loaded, below controls that stay where it is refused. */
export async function below(controls, signal, load) {
  try {
    return [controls, await load()];
  } catch (error) {
    if (signal.aborted) throw error;
    return [controls, refusalNote(error)];
  }
}

/** A refusal where the reader looks. */
export function refusalNote(error) {
  return h("p", { class: "refusal", role: "alert" }, shown(error.message ?? error));
}

/** A sentence in place of a view that cannot be. */
export function reasonNote(reason) {
  return h("p", { class: "reason" }, shown(reason));
}

/** A cell of a table; numbers carry their whole value. */
export function cell(value, attributes = {}, write = num) {
  if (typeof value === "number") return h("td", { class: "num", "data-value": value, ...attributes }, write(value));
  if (value == null) return h("td", { class: "num", ...attributes }, "–");
  if (value instanceof Node) return h("td", attributes, value);
  return h("td", attributes, h("bdi", {}, shown(value)));
}

/** A table in a frame that scrolls for itself. */
export function tableOf({ head, rows, caption, write }) {
  const top = h("tr", {}, head.map((name) => h("th", { scope: "col" }, shown(name))));
  const body = rows.map((row) => h("tr", {}, row.map((value) => cell(value, {}, write))));
  const table = h("table", {}, h("caption", {}, caption), h("thead", {}, top), h("tbody", {}, body));
  return scrolling(table, caption);
}

/** Something wide, in a frame that the keyboard scrolls too. */
export function scrolling(node, label) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, node);
}

function csvText({ head, rows }) {
  const quote = (value) => {
    const text = value == null ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [head, ...rows].map((row) => row.map(quote).join(",")).join("\r\n") + "\r\n";
}

/** A chart. draw(width) makes the picture, table() {head, rows}; csv() may answer a file instead. */
export function chart({ title, sentence, draw, table, csv, controls, legend }) {
  const place = h("div", { class: "picture" });
  const tableId = freshId("table");
  const tablePlace = h("div", { id: tableId, hidden: true });
  const toggle = button(t("show_table"), () => {
    tablePlace.hidden = !tablePlace.hidden;
    if (!tablePlace.hidden) tablePlace.replaceChildren(tableOf({ caption: title, write: exact, ...table() }));
    toggle.textContent = t(tablePlace.hidden ? "show_table" : "hide_table");
    toggle.setAttribute("aria-expanded", String(!tablePlace.hidden));
  }, { "aria-expanded": "false", "aria-controls": tableId });
  const told = h("p", { class: "told", role: "status" });
  const download = button(t("download_csv"), async () => {
    try {
      saveFile(`${title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}.csv`, csv ? await csv() : new Blob([csvText(table())], { type: "text/csv" }));
    } catch (error) {
      told.textContent = shown(error.message);
    }
  });
  let width = 0;
  const redraw = () => {
    const now = Math.floor(place.clientWidth);
    if (!now || Math.abs(now - width) < 2) return;
    width = now;
    place.replaceChildren(draw(Math.max(240, now)));
  };
  new ResizeObserver(redraw).observe(place);
  return h("figure", { class: "chart" },
    h("figcaption", {}, h("h3", {}, shown(title)), h("p", {}, sentence)),
    controls ? h("div", { class: "controls" }, controls) : null,
    legend ? seriesLegend(legend) : null,
    place, h("div", { class: "tools" }, toggle, download, told), tablePlace);
}

/** Which colour and pattern is which series. */
function seriesLegend(names) {
  if (names.length < 2) return null;
  return h("ul", { class: "legend" }, names.map((name, i) => h("li", {}, h("i", { class: `k${i % 6}` }), h("bdi", {}, shown(name)))));
}
