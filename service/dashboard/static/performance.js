// How well the model does on each cohort: metrics with intervals, confusion, curves.

import { h, button, slider } from "./dom.js";
import { ask, leftOut } from "./api.js";
import { below, chart, panel, cell, scrolling, tableOf } from "./chart.js";
import { addCohort } from "./cohorts.js";
import { binLabel, columnField, columnName } from "./columns.js";
import { columnBars, lineChart } from "./svg.js";
import { state, note, shownCohorts, oneOutput } from "./state.js";
import { t, num, percent, binNames, shown } from "./texts.js";

const FALLING = ["fpr", "fnr", "log_loss", "brier", "mae", "rmse", "median_ae"];
const MOST_CLASSES = 25;
const WITHOUT_ORDER = ["selection_rate", "mean_prediction", "mean_error"];

/** The view. */
export function performanceView({ meta, refresh }) {
  const place = panel(async (signal) => {
    const question = { cohorts: shownCohorts(), class: oneOutput() };
    if (state.threshold !== null) question.threshold = state.threshold;
    if (state.split) question.split = { col: state.split, bins: 4 };
    return below(controls(meta, () => place.reload()), signal, async () => {
      const answer = await ask("performance", question, signal);
      return charts(meta, answer, answer.groups.map(nameOf), refresh);
    });
  });
  return place.node;
}

function nameOf(group) {
  const name = shownCohorts()[group.cohort].name;
  return group.bin ? `${name}: ${columnName(state.split)} ${binLabel(group.bin)}` : name;
}

function controls(meta, reload) {
  if (leftOut) return null;
  const parts = [];
  if (meta.task === "binary" && meta.capabilities.probabilities.ok) {
    const value = state.threshold ?? 0.5;
    parts.push(slider("threshold", t("threshold"), { min: 0, max: 1, step: 0.01, value, text: (at) => num(at) }, (at) => { note({ threshold: at }); reload(); }));
    parts.push(button(t("own_predictions"), () => { note({ threshold: null }); reload(); }, { "aria-pressed": String(state.threshold === null) }));
  }
  parts.push(columnField(t("split_by"), state.split, { none: true, id: "split", groups: ["feature0", "outcome"] }, (id) => { note({ split: id }); reload(); }));
  return h("div", { class: "controls" }, parts);
}

function charts(meta, answer, names, refresh) {
  const few = answer.groups.slice(0, 6);
  const fewNames = names.slice(0, 6);
  const parts = [metricTable(answer, names, refresh)];
  const aside = (charts) => { if (charts.length) parts.push(h("div", { class: "several" }, charts)); };
  const each = (kind, draw) => aside([...few.keys()].filter((i) => few[i][kind]).map((i) => draw(few[i][kind], fewNames[i])));
  each("confusion", confusionTable);
  if (meta.task === "multiclass") each("per_class", classTable);
  const positive = meta.classes ? shown(meta.classes[answer.class]) : "";
  aside([curveChart(few, fewNames, "roc", positive), curveChart(few, fewNames, "pr", positive), calibration(few, fewNames, positive)].filter(Boolean));
  each("histogram", (told, name) => histogram(meta, told, name, positive));
  each("residuals", residuals);
  return parts.filter(Boolean);
}

/** Which of several groups does worst by a metric; -1 where that means nothing. */
function worstOf(groups, name) {
  const values = groups.map((group) => group.metrics[name]?.value);
  const known = values.filter((value) => typeof value === "number");
  if (known.length < 2 || WITHOUT_ORDER.includes(name)) return -1;
  const worst = FALLING.includes(name) ? Math.max(...known) : Math.min(...known);
  return Math.max(...known) === Math.min(...known) ? -1 : values.indexOf(worst);
}

function metricTable(answer, names, refresh) {
  const metrics = [...new Set(answer.groups.flatMap((group) => Object.keys(group.metrics ?? {})))];
  const worst = Object.fromEntries(metrics.map((name) => [name, worstOf(answer.groups, name)]));
  const headings = answer.groups.map((group, g) => {
    const make = group.bin && !leftOut ? button(t("make_cohort"), () => addCohort(names[g], shownCohorts()[group.cohort], group.bin.filters, refresh), { "aria-label": `${t("make_cohort")}: ${shown(names[g])}` }) : null;
    return h("th", { scope: "col" }, h("bdi", {}, shown(names[g])), " ", make);
  });
  const head = h("tr", {}, h("th", { scope: "col" }, t("cohort")), headings);
  const counts = h("tr", {}, h("th", { scope: "row" }, t("rows_count")), answer.groups.map((group) => cell(group.n)));
  const rows = [counts, ...metrics.map((name) => h("tr", {}, h("th", { scope: "row" }, t(`metric_${name}`)), answer.groups.map((group, g) => metricCell(group.metrics[name], name, worst[name] === g))))];
  const table = h("table", { class: "metrics" }, h("caption", {}, t("metrics")), h("thead", {}, head), h("tbody", {}, rows));
  const flat = () => ({
    head: [t("cohort"), t("rows_count"), ...metrics.flatMap((name) => [name, `${name} low`, `${name} high`])],
    rows: answer.groups.map((group, g) => [names[g], group.n, ...metrics.flatMap((name) => [group.metrics[name]?.value, group.metrics[name]?.low, group.metrics[name]?.high])]),
  });
  const sentence = answer.labels ? t("metrics_told") : t("metrics_unlabelled");
  return chart({ title: t("metrics"), sentence, draw: () => scrolling(table, t("metrics")), table: flat });
}

function metricCell(metric, name, isWorst) {
  if (!metric) return h("td", { class: "num" }, "–");
  const hasInterval = metric.low != null;
  const interval = hasInterval ? h("small", {}, `${num(metric.low)} – ${num(metric.high)}`) : null;
  const flag = isWorst ? h("small", { class: "worst" }, t("worst")) : null;
  return h("td", { class: "num", "data-metric": name, "data-value": metric.value ?? "" }, num(metric.value), interval, flag);
}

/** The classes that are taken for others, and others for them, most often; all where they are few. */
function mostConfused(counts) {
  const wrong = counts.map((row, i) => row.reduce((sum, count, j) => sum + (i === j ? 0 : count + counts[j][i]), 0));
  const order = [...counts.keys()].sort((a, b) => wrong[b] - wrong[a]);
  return order.slice(0, MOST_CLASSES).sort((a, b) => a - b);
}

function confusionTable({ classes, counts }, name) {
  const title = t("confusion_title", { name: shown(name) });
  const kept = mostConfused(counts);
  const draw = () => {
    const head = h("tr", {}, h("th", { scope: "col" }, t("true_predicted")), kept.map((i) => h("th", { scope: "col" }, h("bdi", {}, shown(classes[i])))));
    const rows = kept.map((i) => {
      const sum = counts[i].reduce((a, b) => a + b, 0);
      return h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, shown(classes[i]))), kept.map((j) => heatCell(counts[i][j], sum, i === j)));
    });
    return scrolling(h("table", { class: "heat" }, h("caption", {}, title), h("thead", {}, head), h("tbody", {}, rows)), title);
  };
  const part = kept.length < classes.length ? ` ${t("confusion_part", { k: num(kept.length), n: num(classes.length) })}` : "";
  return chart({ title, sentence: t("confusion_told") + part, draw, table: () => ({ head: [t("true_predicted"), ...classes], rows: counts.map((row, i) => [classes[i], ...row]) }) });
}

function heatCell(count, sum, isRight) {
  const share = sum ? count / sum : 0;
  const node = h("td", { class: `num heat-${isRight ? "right" : "wrong"}`, "data-value": count }, num(count), h("small", {}, sum ? percent(share) : "–"));
  node.style.setProperty("--heat", `${Math.round(share * 45)}%`);
  return node;
}

function classTable(classes, name) {
  const title = t("per_class_title", { name: shown(name) });
  const table = () => ({
    head: [t("class"), t("rows_count"), t("metric_precision"), t("metric_recall"), t("metric_f1")],
    rows: classes.map((one) => [one.class, one.n, one.precision, one.recall, one.f1]),
  });
  return chart({ title, sentence: t("per_class_told"), draw: () => tableOf({ caption: title, ...table() }), table });
}

function curveChart(groups, names, kind, positive) {
  const there = groups.map((group, i) => ({ curve: group[kind], name: names[i] })).filter(({ curve }) => curve);
  if (!there.length) return null;
  const area = kind === "roc" ? "area" : "average_precision";
  const title = t(`${kind}_title`, { positive });
  const sums = there.map(({ curve, name }) => `${shown(name)}: ${num(curve[area])}`).join(" · ");
  const series = there.map(({ curve, name }) => ({ name, x: curve.x, y: curve.y, notes: curve.threshold.map((at) => t("at_threshold", { at: num(at) })) }));
  const rows = there.flatMap(({ curve, name }) => curve.x.map((x, i) => [name, x, curve.y[i], curve.threshold[i]]));
  const canCut = !leftOut;
  return chart({
    title, sentence: `${t(`${kind}_told`)} ${sums}`, legend: there.map(({ name }) => name),
    draw: (width) => lineChart({ width: Math.min(width, 620), label: title, series, diagonal: kind === "roc", across: { label: t(`${kind}_x`), low: 0, high: 1 }, up: { label: t(`${kind}_y`), low: 0, high: 1 }, onPick: canCut ? (i, k) => cutAt(there[i].curve.threshold[k]) : null }),
    table: () => ({ head: [t("cohort"), t(`${kind}_x`), t(`${kind}_y`), t("threshold")], rows }),
  });
}

function cutAt(threshold) {
  const input = document.getElementById("threshold");
  if (!input || threshold === null) return;
  input.value = threshold;
  input.dispatchEvent(new Event("input"));
}

function calibration(groups, names, positive) {
  const there = groups.map((group, i) => ({ curve: group.calibration, name: names[i] })).filter(({ curve }) => curve);
  if (!there.length) return null;
  const title = t("calibration_title", { positive });
  const series = there.map(({ curve, name }) => ({ name, x: curve.predicted, y: curve.observed, notes: curve.n.map((n) => t("n_rows", { n: num(n) })) }));
  return chart({
    title, sentence: t("calibration_told"), legend: there.map(({ name }) => name),
    draw: (width) => lineChart({ width: Math.min(width, 620), label: title, series, diagonal: true, across: { label: t("calibration_x"), low: 0, high: 1 }, up: { label: t("calibration_y"), low: 0, high: 1 } }),
    table: () => ({ head: [t("cohort"), t("calibration_x"), t("calibration_y"), t("rows_count")], rows: there.flatMap(({ curve, name }) => curve.predicted.map((x, i) => [name, x, curve.observed[i], curve.n[i]])) }),
  });
}

function histogram(meta, { edges, series }, name, positive) {
  const isError = meta.task === "regression" && meta.labels;
  const axis = isError ? t("column_error") : meta.task === "regression" ? t("prediction") : t("probability_of", { name: positive });
  const title = t("histogram_title", { axis, name: shown(name) });
  const labels = binNames(edges);
  return chart({
    title, sentence: t("histogram_told"), legend: series.map((one) => one.name ?? ""),
    draw: (width) => columnBars({ width, label: title, names: labels, edges, series, axis, yAxis: t("rows_count") }),
    table: () => ({ head: [t("from"), t("to"), ...series.map((one) => one.name ?? t("count"))], rows: labels.map((_, i) => [edges[i], edges[i + 1], ...series.map((one) => one.counts[i])]) }),
  });
}

function residuals({ edges, q1, median, q3, n }, name) {
  const title = t("residuals_title", { name: shown(name) });
  const x = median.map((_, i) => (edges[i] + edges[i + 1]) / 2);
  const known = [...q1, ...q3, 0].filter((value) => value !== null);
  return chart({
    title, sentence: t("residuals_told"),
    draw: (width) => lineChart({ width, label: title, series: [{ name: t("median"), x, y: median, low: q1, high: q3, notes: n.map((count) => t("n_rows", { n: num(count) })) }], across: { label: t("prediction"), low: edges[0], high: edges.at(-1) }, up: { label: t("column_error"), low: Math.min(...known), high: Math.max(...known) } }),
    table: () => ({ head: [t("from"), t("to"), "q1", t("median"), "q3", t("rows_count")], rows: x.map((_, i) => [edges[i], edges[i + 1], q1[i], median[i], q3[i], n[i]]) }),
  });
}
