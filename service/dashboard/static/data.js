// The rows themselves: how one column is spread, and how two go together.

import { h } from "./dom.js";
import { ask, leftOut } from "./api.js";
import { chart, panel } from "./chart.js";
import { addCohort } from "./cohorts.js";
import { binLabel, columnField, columnName, describeColumn } from "./columns.js";
import { pointsChart } from "./importance.js";
import { boxRows, columnBars } from "./svg.js";
import { state, note, shownCohorts } from "./state.js";
import { t, num, binNames, shown } from "./texts.js";

const NUMERIC = ["number", "integer", "date"];

/** The view. */
export function dataView({ meta, refresh, go }) {
  if (!state.x) note({ x: "x0" });
  const x = state.x;
  const cohorts = shownCohorts();
  const fields = h("div", { class: "controls" },
    columnField(t("axis_x"), x, { id: "axis-x" }, (id) => { note({ x: id }); refresh(); }),
    columnField(t("axis_y"), state.y, { id: "axis-y", none: true }, (id) => { note({ y: id }); refresh(); }),
    leftOut ? null : columnField(t("color"), state.datacolor, { id: "axis-color", none: true }, (id) => { note({ datacolor: id }); refresh(); }));
  const spreads = cohorts.map((cohort) => panel((signal) => spread(cohort, x, signal, refresh)).node);
  const facts = panel((signal) => columnFacts(x, signal)).node;
  if (!state.y) return [fields, facts, spreads];
  const together = panel((signal) => pointsOrReason(cohorts[0], meta, signal, go, refresh)).node;
  const boxes = panel((signal) => boxesOf(cohorts, x, state.y, signal, refresh)).node;
  return [fields, together, leftOut ? null : boxes, spreads];
}

async function columnFacts(id, signal) {
  const column = await describeColumn(id, signal);
  const facts = [["n_missing", column.n_missing], ["n_different", column.n_different], ["min", column.min], ["mean", column.mean], ["max", column.max]];
  return h("dl", { class: "facts" }, facts.filter(([, value]) => value != null).map(([key, value]) => h("div", {}, h("dt", {}, t(key)), h("dd", { "data-value": value }, num(value)))));
}

function pointsOrReason(cohort, meta, signal, go, refresh) {
  const question = { cohort, x: state.x, y: state.y, ...(state.datacolor ? { color: state.datacolor } : {}) };
  const title = t("points_title", { x: columnName(state.x), y: columnName(state.y), cohort: shown(cohort.name) });
  return pointsChart({ question, title, signal, go, refresh, log: false, canPick: meta.capabilities.local.ok });
}

async function spread(cohort, x, signal, refresh) {
  const by = state.datacolor && !NUMERIC.includes((await describeColumn(state.datacolor, signal)).kind) ? state.datacolor : null;
  const answer = await ask("histogram", { cohort, x, ...(by ? { by } : {}) }, signal);
  const names = answer.edges ? binNames(answer.edges) : answer.categories.map((value) => (value === null ? t("others") : String(value)));
  const missing = answer.series.reduce((sum, one) => sum + one.missing, 0);
  if (missing) names.push(t("missing"));
  const series = answer.series.slice(0, 6).map((one) => ({ name: one.name ?? (by ? t("others") : ""), counts: missing ? [...one.counts, one.missing] : one.counts }));
  const title = t("spread_title", { name: columnName(x), cohort: shown(cohort.name) });
  const onPick = leftOut ? null : (bin) => addCohort(`${columnName(x)} ${names[bin]}`, cohort, filtersOf(answer, x, bin), refresh);
  return chart({
    title, sentence: `${t("spread_told", { n: num(answer.n), missing: num(missing) })} ${onPick ? t("click_bar") : ""}`, legend: series.map((one) => one.name),
    draw: (width) => columnBars({ width, label: title, names, edges: answer.edges, extra: missing ? names.length - 1 : null, kind: answer.kind, series, axis: columnName(x), yAxis: t("rows_count"), onPick }),
    table: () => ({ head: [columnName(x), ...series.map((one) => one.name || t("count"))], rows: names.map((name, i) => [name, ...series.map((one) => one.counts[i])]) }),
  });
}

/** What keeps the rows of a bin: it has its lower edge, the last one both; behind it is what is missing. */
function filtersOf({ edges, categories }, col, bin) {
  if (bin === (edges ? edges.length - 1 : categories.length) || !(edges ?? categories).length) return [{ col, op: "missing" }];
  if (edges) return [{ col, op: ">=", value: edges[bin] }, { col, op: bin === edges.length - 2 ? "<=" : "<", value: edges[bin + 1] }];
  if (categories[bin] !== null) return [{ col, op: "in", value: [categories[bin]] }];
  return [{ col, op: "not-in", value: categories.slice(0, -1) }, { col, op: "not-missing" }];
}

async function boxesOf(cohorts, x, y, signal, refresh) {
  const column = await describeColumn(y, signal);
  if (!NUMERIC.includes(column.kind) || column.kind === "date") return "";
  const answer = await ask("box", { cohorts, y, x, bins: 5 }, signal);
  const groups = answer.groups.filter((group) => group.n);
  if (!groups.length) return "";
  const title = t("box_title", { y: columnName(y), x: columnName(x) });
  const nameOf = (group) => (cohorts.length > 1 ? `${cohorts[group.cohort].name}: ` : "") + (group.bin ? binLabel(group.bin) : "");
  const onPick = (row) => { const group = groups[row]; if (group.bin) addCohort(`${columnName(x)} ${binLabel(group.bin)}`, cohorts[group.cohort], group.bin.filters, refresh); };
  return chart({
    title, sentence: `${t("box_told")} ${t("click_bar")}`,
    draw: (width) => boxRows({ width, label: title, axis: columnName(y), series: [""], onPick, rows: groups.map((group) => ({ name: nameOf(group), boxes: [group] })) }),
    table: () => ({ head: [columnName(x), t("rows_count"), "min", "low", "q1", t("median"), "q3", "high", "max", t("mean")], rows: groups.map((group) => [nameOf(group), group.n, group.min, group.low, group.q1, group.median, group.q3, group.high, group.max, group.mean]) }),
  });
}
