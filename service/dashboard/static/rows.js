// Single rows: a table to find them in, and what each of up to three owes to its features.

import { h, button, searchField, slider, choice, announce } from "./dom.js";
import { ask, askCsv, leftOut } from "./api.js";
import { below, chart, panel, cell, scrolling } from "./chart.js";
import { columnField, columnName, viewPart } from "./columns.js";
import { barRows, waterfall } from "./svg.js";
import { state, note, shownCohorts, oneOutput } from "./state.js";
import { t, num, signed, shown } from "./texts.js";

const SIZE = 50;
const MOST = 3;

/** The view. */
export function rowsView({ meta, go }) {
  const chosen = panel((signal) => explanations(meta, signal, go, () => chosen.reload()));
  const choose = (index) => {
    const others = state.rows.filter((row) => row !== index);
    const isNew = others.length === state.rows.length;
    note({ rows: isNew ? [...others, index].slice(-MOST) : others }, true);
    announce(t(isNew ? "row_chosen" : "row_left", { row: index }));
    chosen.reload();
    table.reload();
  };
  const table = panel((signal) => rowTable(meta, signal, choose, () => table.reload()));
  return [chosen.node, table.node];
}

function columnsOf(meta) {
  const known = meta.columns.filter((column) => column.group === "outcome").map((column) => column.id).slice(0, 6);
  const features = meta.capabilities.rows.ok ? meta.views[0].features.slice(0, 4).map((_, i) => `x${i}`) : [];
  const sorted = state.order?.col ?? "row";
  return [...new Set([...known, ...(sorted === "row" ? [] : [sorted]), ...features])];
}

async function rowTable(meta, signal, choose, reload) {
  const cohort = shownCohorts()[0];
  const question = { cohort, page: state.page, size: SIZE };
  const columns = leftOut ? null : columnsOf(meta);
  if (columns) question.columns = columns;
  if (state.order) question.sort = state.order;
  if (state.find) question.search = state.find;
  const reset = leftOut || !state.order ? null : button(t("usual_order"), () => { note({ order: null, page: 0 }); reload(); });
  return below(reset, signal, async () => tableOfRows(await ask("rows", question, signal), { columns, cohort, choose, reload }));
}

function tableOfRows(answer, { columns, cohort, choose, reload }) {
  const last = Math.max(0, Math.ceil(answer.total / SIZE) - 1);
  const turn = (page) => { note({ page: Math.min(last, Math.max(0, page)) }); reload(); };
  const sortBy = (col) => {
    const isSame = state.order?.col === col;
    note({ order: { col, descending: isSame ? !state.order.descending : true }, page: 0 });
    reload();
  };
  const heading = (id) => {
    const isSorted = state.order?.col === id;
    const direction = isSorted ? (state.order.descending ? "descending" : "ascending") : null;
    return h("th", { scope: "col", "aria-sort": direction }, leftOut ? columnName(id) : button(columnName(id), () => sortBy(id), { class: "sort" }));
  };
  const head = h("tr", {}, h("th", { scope: "col" }, t("column_row")), answer.columns.map(heading));
  const body = answer.rows.map((row) => {
    const isChosen = state.rows.includes(row.index);
    const pick = button(shown(row.id), () => choose(row.index), { "aria-pressed": String(isChosen), "data-index": row.index, id: `row-${row.index}` });
    return h("tr", { class: isChosen ? "chosen" : null }, h("th", { scope: "row" }, pick), row.values.map((value) => cell(value)));
  });
  const tools = [
    leftOut ? null : searchField("find-row", t("find_row"), state.find, (value) => { note({ find: value, page: 0 }); reload(); }),
    leftOut ? null : button(t("random_order"), () => { note({ order: { random: Math.floor(Math.random() * 1e6) }, page: 0 }); reload(); }),
    leftOut ? null : columnField(t("sort_column"), state.order?.col ?? null, { none: true, id: "sort-column" }, (id) => { note({ order: id ? { col: id, descending: true } : null, page: 0 }); reload(); }),
    button(t("previous"), () => turn(state.page - 1), { id: "previous", disabled: state.page === 0 }),
    h("span", {}, t("page_of", { page: num(state.page + 1), last: num(last + 1) })),
    button(t("next"), () => turn(state.page + 1), { id: "next", disabled: state.page >= last }),
  ];
  const title = t("rows_title", { cohort: shown(cohort.name) });
  const flat = () => ({ head: [t("column_row"), ...answer.columns.map(columnName)], rows: answer.rows.map((row) => [row.id, ...row.values]) });
  return chart({
    title, sentence: t("rows_told", { n: num(answer.rows.length), total: num(answer.total) }), controls: tools, table: flat,
    csv: leftOut ? null : () => askCsv({ cohort, columns, ...(state.order ? { sort: state.order } : {}) }),
    draw: () => scrolling(h("table", { class: "rows" }, h("caption", {}, title), h("thead", {}, head), h("tbody", {}, body)), title),
  });
}

/** What is known of rows by their positions; one question each, as a snapshot has them. */
export async function askRows(rows, signal) {
  const question = (row) => ({ class: oneOutput(), rows: [row], ...viewPart() });
  const answers = await Promise.all(rows.map((row) => ask("row", question(row), signal)));
  return answers.map((answer) => ({ ...answer, ...answer.rows[0] }));
}

async function explanations(meta, signal, go, reload) {
  if (!state.rows.length) return h("p", { class: "hint" }, t("pick_row"));
  const rows = await askRows(state.rows, signal);
  const orders = rows.map((row, i) => [String(i), t("order_of", { row: row.id })]);
  const first = rows[Math.min(state.roworder, rows.length - 1)];
  const order = [...first.phi.keys()].sort((a, b) => Math.abs(first.phi[b]) - Math.abs(first.phi[a]));
  const top = Math.min(state.top, order.length);
  const controls = h("div", { class: "controls" },
    slider("top", t("top_k"), { min: 1, max: Math.min(100, order.length), step: 1, value: top, text: num }, (value) => { note({ top: value }); reload(); }),
    rows.length > 1 ? choice("row-order", t("sort_by"), orders, Math.min(state.roworder, rows.length - 1), (value) => { note({ roworder: Number(value) }); reload(); }) : null);
  const compare = rows.length > 1 ? comparison(rows, order.slice(0, top)) : null;
  return [controls, compare, ...rows.map((row) => rowChart(meta, row, order.slice(0, top), go))];
}

function comparison(rows, order) {
  const title = t("compare_title");
  const names = rows.map((row) => row.id);
  return chart({
    title, sentence: t("compare_told"), legend: names,
    draw: (width) => barRows({ width, label: title, series: names, text: signed, axis: t(`scale_${rows[0].scale}`), rows: order.map((i) => ({ name: rows[0].features[i], values: rows.map((row) => row.phi[i]) })) }),
    table: () => ({ head: [t("feature"), ...names], rows: order.map((i) => [rows[0].features[i], ...rows.map((row) => row.phi[i])]) }),
  });
}

/** The steps of a row: those shown, and the rest in one. */
function stepsOf(row, order) {
  const items = order.map((i) => ({ name: row.features[i], value: row.values ? row.values[i] : undefined, phi: row.phi[i] }));
  const others = row.phi.length - order.length;
  if (!others) return items;
  const rest = row.sum - items.reduce((sum, item) => sum + item.phi, 0);
  return [...items, { name: t("other_features", { n: num(others) }), value: undefined, phi: rest }];
}

/** How base and importances come to what the model said. */
function additivity(row) {
  const scale = t(`scale_${row.scale}`);
  const sum = t("adds_up", { base: num(row.base), sum: num(row.sum), total: num(row.total), scale });
  const residual = row.residual == null ? t("model_unsaved") : t("residual_told", { model: num(row.model), residual: num(row.residual) });
  return h("p", { class: "sum", "data-base": row.base, "data-sum": row.sum, "data-total": row.total, "data-model": row.model ?? "" }, sum, " ", residual);
}

function outcomeLine(meta, row) {
  const parts = [];
  if (row.true != null) parts.push(`${t("column_true")}: ${num(row.true)}`);
  if (row.predicted != null) parts.push(`${t("column_predicted")}: ${num(row.predicted)}`);
  if (row.probabilities) parts.push(row.probabilities.map((p, k) => ({ p, k })).sort((a, b) => b.p - a.p).slice(0, 5).map(({ p, k }) => `${shown(meta.classes[k])} ${num(p)}`).join(", "));
  return parts.join(" · ");
}

/** The waterfall of a row. */
export function rowChart(meta, row, order, go) {
  const items = stepsOf(row, order);
  const title = t("waterfall_title", { row: shown(row.title ? `${row.id} (${row.title})` : row.id), output: shown(row.output ?? "") });
  const all = [...row.phi.keys()].sort((a, b) => Math.abs(row.phi[b]) - Math.abs(row.phi[a]));
  let running = row.base;
  const table = () => {
    running = row.base;
    const rows = all.map((i) => { running += row.phi[i]; return [row.features[i], row.values?.[i] ?? null, row.phi[i], running]; });
    return { head: [t("feature"), t("value"), t("importance"), t("running_total")], rows: [[t("base_value"), null, row.base, row.base], ...rows] };
  };
  const names = { base: t("base_value"), total: t("prediction") };
  const figure = chart({
    title, sentence: outcomeLine(meta, row), table,
    draw: (width) => waterfall({ width, label: title, base: row.base, total: row.total, items, names, axis: t(`scale_${row.scale}`) }),
    controls: go && row.index !== undefined ? [
      button(t("try_changes"), () => go({ tab: "whatif", rows: [row.index, ...state.rows.filter((other) => other !== row.index)], edits: {} })),
      button(t("put_away"), () => go({ rows: state.rows.filter((other) => other !== row.index) })),
    ] : null,
  });
  figure.querySelector("figcaption").append(additivity(row));
  return figure;
}
