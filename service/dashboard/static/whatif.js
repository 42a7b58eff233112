// What if this row were different: a form, the model's answer live, and curves of one feature.

import { h, button, field, searchField, freshId, announce } from "./dom.js";
import { ask } from "./api.js";
import { panel, reasonNote, tableOf } from "./chart.js";
import { rowCurves } from "./curves.js";
import { columnField } from "./columns.js";
import { askRows, rowChart } from "./rows.js";
import { state, note, oneOutput } from "./state.js";
import { t, num, shown } from "./texts.js";

const REST = 300;
const FIELDS = 30;

/** The view. */
export function whatIfView({ meta, go }) {
  const place = panel(async (signal) => {
    if (!meta.capabilities.rows.ok) return reasonNote(meta.capabilities.rows.reason);
    if (!state.rows.length) note({ rows: [0] });
    note({ view: meta.views[0].name });
    const [row] = await askRows([state.rows[0]], signal);
    return laid(meta, row, go, () => place.reload());
  });
  return place.node;
}

function recordOf(meta, row, edits) {
  return Object.fromEntries(meta.views[0].features.map((name, i) => [name, String(i) in edits ? edits[i] : row.values[i]]));
}

function laid(meta, row, go, reload) {
  const answer = panel((signal) => predicted(meta, row, signal));
  const reasons = panel((signal) => explained(meta, row, signal));
  const curves = panel((signal) => curvesOf(meta, row, signal, changed));
  let timer = 0;
  function changed(isForm) {
    clearTimeout(timer);
    timer = setTimeout(() => { answer.reload(); reasons.reload(); curves.reload(); if (!isForm) form.reload(); }, isForm ? REST : 0);
  }
  const form = panel((signal) => formOf(meta, row, signal, () => changed(true), reload));
  const pick = h("input", { id: "whatif-row", type: "number", min: 0, max: meta.n_rows - 1, step: 1, value: row.index, onchange: () => { note({ rows: [Number(pick.value)], edits: {} }, true); reload(); } });
  const top = h("div", { class: "controls" },
    field(t("row_position"), pick),
    h("span", {}, `${t("column_row")}: `, h("bdi", {}, shown(row.id))),
    button(t("start_again"), () => { note({ edits: {} }, true); reload(); }),
    button(t("save_variant"), () => {
      note({ variants: [...state.variants, { name: t("variant_name", { n: state.variants.length + 1, row: row.id }), row: row.index, edits: { ...state.edits } }].slice(-5) }, true);
      announce(t("variant_saved"));
      curves.reload();
      variants.reload();
    }));
  const variants = panel(async () => variantList(reload, () => { curves.reload(); variants.reload(); }));
  return [top, h("p", { class: "hint" }, t("whatif_note")), h("div", { class: "halves" }, form.node, h("div", {}, answer.node, variants.node, reasons.node)), curves.node];
}

function variantList(reload, changed) {
  if (!state.variants.length) return "";
  const items = state.variants.map((variant, i) => h("li", {},
    button(shown(variant.name), () => { note({ rows: [variant.row], edits: { ...variant.edits } }, true); reload(); }),
    button(t("delete"), () => { note({ variants: state.variants.filter((_, k) => k !== i) }, true); changed(); }, { "aria-label": `${t("delete")}: ${shown(variant.name)}` })));
  return h("section", {}, h("h3", {}, t("variants")), h("ul", { class: "variants" }, items));
}

async function formOf(meta, row, signal, changed, reload) {
  const part = (state.find ?? "").toLowerCase();
  const found = [...meta.views[0].features.keys()].filter((i) => meta.views[0].features[i].toLowerCase().includes(part));
  const order = found.sort((a, b) => Math.abs(row.phi?.[b] ?? 0) - Math.abs(row.phi?.[a] ?? 0)).slice(0, FIELDS);
  const columns = await ask("columns", { columns: order.map((i) => `x${i}`) }, signal);
  const fields = order.map((i, k) => fieldOf(columns.columns[k], i, row, changed));
  const left = meta.views[0].features.length - order.length;
  return h("form", { class: "fields", onsubmit: (event) => event.preventDefault() },
    searchField("find-field", t("find_feature"), state.find, (value) => { note({ find: value }); reload(); }), fields,
    left > 0 ? h("p", { class: "hint" }, t("fields_left", { n: num(left) })) : null);
}

/** One feature's field; a tick says that its value is missing. */
function fieldOf(column, i, row, changed) {
  const value = String(i) in state.edits ? state.edits[i] : row.values[i];
  const id = freshId("field");
  const set = (next) => {
    const edits = { ...state.edits, [i]: next };
    if (next === row.values[i]) delete edits[i];
    note({ edits });
    missing.checked = next === null;
    holder.classList.toggle("edited", String(i) in edits);
    changed();
  };
  const control = controlOf(column, id, value, set);
  const missing = h("input", { type: "checkbox", "aria-label": t("missing_of", { name: shown(column.name) }), onchange: () => { control.disabled = missing.checked; set(missing.checked ? null : readControl(column, control)); } });
  missing.checked = value === null;
  control.disabled = value === null;
  const range = typeof column.min === "number" ? t("range", { min: num(column.min), max: num(column.max) }) : "";
  const holder = h("div", { class: String(i) in state.edits ? "one edited" : "one" },
    h("label", { for: id, title: shown(column.name) }, h("bdi", {}, shown(column.name))), control,
    h("label", { class: "tick" }, missing, t("missing")), h("small", {}, range));
  return holder;
}

function readControl(column, control) {
  if (column.kind === "number" || column.kind === "integer") return control.value === "" ? null : Number(control.value);
  if (column.kind === "boolean") return control.value === "true";
  return control.value;
}

function controlOf(column, id, value, set) {
  const isNumber = column.kind === "number" || column.kind === "integer";
  if (column.kind === "boolean") {
    const options = ["false", "true"].map((text) => h("option", { value: text }, text));
    return h("select", { id, value: String(value), onchange: (event) => set(event.target.value === "true") }, options);
  }
  const listId = column.categories ? freshId("values") : null;
  const input = h("input", { id, type: isNumber ? "number" : "text", step: "any", list: listId, value: value ?? "", oninput: () => { if (input.reportValidity()) set(readControl(column, input)); } });
  if (!listId) return input;
  const list = h("datalist", { id: listId }, column.categories.map((category) => h("option", { value: String(category.value) })));
  input.append(list);
  queueMicrotask(() => input.after(list));
  return input;
}

async function predicted(meta, row, signal) {
  const question = { records: [recordOf(meta, row, {}), recordOf(meta, row, state.edits)] };
  const answer = await ask("predict", question, signal);
  const output = oneOutput();
  const title = t("answer_title");
  const rows = [];
  if (answer.probabilities) meta.classes.forEach((name, k) => rows.push([t("probability_of", { name: shown(name) }), answer.probabilities[0][k], answer.probabilities[1][k], answer.probabilities[1][k] - answer.probabilities[0][k]]));
  const [before, after] = answer.predicted;
  const flatBefore = Array.isArray(before) ? before[output] : before;
  const flatAfter = Array.isArray(after) ? after[output] : after;
  const difference = typeof flatAfter === "number" && typeof flatBefore === "number" && !meta.classes ? flatAfter - flatBefore : null;
  rows.unshift([t("prediction"), flatBefore, flatAfter, difference]);
  const table = { head: [t("name"), t("before"), t("after"), t("difference")], rows };
  const warnings = (answer.warnings?.[1] ?? []).map((warning) => h("li", {}, h("bdi", {}, shown(warning.feature)), ": ", shown(warning.message)));
  return h("section", { class: "answer", "aria-live": "polite" }, tableOf({ caption: title, ...table }), warnings.length ? h("ul", { class: "warnings" }, warnings) : null);
}

async function explained(meta, row, signal) {
  if (!meta.capabilities.explain.ok) return reasonNote(meta.capabilities.explain.reason);
  const output = oneOutput();
  const answer = await ask("explain", { records: [recordOf(meta, row, {}), recordOf(meta, row, state.edits)], class: output }, signal);
  const [before, after] = answer.rows;
  const order = [...after.phi.keys()].sort((a, b) => Math.abs(after.phi[b] - before.phi[b]) - Math.abs(after.phi[a] - before.phi[a]) || Math.abs(after.phi[b]) - Math.abs(after.phi[a]));
  const told = { scale: answer.scale, output: answer.output, features: answer.features };
  const figure = rowChart(meta, { ...told, ...after, id: row.id, title: t("changed_row") }, order.slice(0, state.top), null);
  const change = { head: [t("feature"), t("before"), t("after"), t("difference")], rows: order.slice(0, state.top).map((i) => [answer.features[i], before.phi[i], after.phi[i], after.phi[i] - before.phi[i]]) };
  const details = h("details", {}, h("summary", {}, t("change_of_importances")), tableOf({ caption: t("change_of_importances"), ...change }));
  return [figure, details];
}

async function curvesOf(meta, row, signal, changed) {
  if (!meta.capabilities.ice.ok) return reasonNote(meta.capabilities.ice.reason);
  const order = [...(row.phi ?? [0]).keys()].sort((a, b) => Math.abs(row.phi?.[b] ?? 0) - Math.abs(row.phi?.[a] ?? 0));
  const feature = Math.min(state.ice ?? order[0], meta.views[0].features.length - 1);
  const place = panel(async (own) => {
    const variants = state.variants.filter((variant) => variant.row !== undefined).slice(0, 3);
    const others = await askRows(variants.map((variant) => variant.row), own);
    const records = [recordOf(meta, row, state.edits), ...variants.map((variant, i) => recordOf(meta, others[i], variant.edits))];
    const names = [t("row_named", { row: row.id }), ...state.rows.slice(1).map((other) => t("row_named", { row: other })), t("changed_row"), ...variants.map((variant) => variant.name)];
    const onTake = (value) => { note({ edits: { ...state.edits, [feature]: value } }, true); changed(false); };
    return rowCurves(meta, { rows: state.rows, records, names, feature, onTake }, own);
  });
  const field = columnField(t("ice_feature"), `x${feature}`, { id: "ice-feature", groups: ["feature0"] }, (id) => { note({ ice: Number(id.slice(1)) }); changed(true); });
  return [h("h3", {}, t("ice_heading")), h("div", { class: "controls" }, field), place.node];
}
