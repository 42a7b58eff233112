// What the model looks at over all rows of up to three cohorts, and how one feature acts.

import { h, button, choice, searchField, slider, tick, announce } from "./dom.js";
import { ask, askPoints, askCsv, leftOut } from "./api.js";
import { below, chart, panel, reasonNote } from "./chart.js";
import { addCohort } from "./cohorts.js";
import { columnField, columnName, featureId, phiId, shownFeatures, shownView, viewPart } from "./columns.js";
import { pointPlot, colorLegend, rampLegend, valueOf } from "./points.js";
import { barRows, boxRows, momentOf, swarmRows } from "./svg.js";
import { state, note, shownCohorts, shownOutput, oneOutput } from "./state.js";
import { t, num, shown } from "./texts.js";
import { averageCurve } from "./curves.js";

const USUAL_TOP = 20;
const MOST_BOXES = 50;

/** The view. */
export function importanceView({ meta, go, refresh }) {
  const output = shownOutput();
  const chosen = panel((signal) => (state.feature === null ? h("p", { class: "hint" }, t(meta.capabilities.local.ok ? "pick_feature" : "no_dependence")) : dependence(meta, signal, { go, refresh }, () => chosen.reload())));
  const pick = (position) => {
    note({ feature: position }, true);
    announce(t("feature_chosen", { name: shown(shownFeatures()[position]) }));
    chosen.reload();
    curve.reload();
    bars.reload();
  };
  const bars = panel((signal) => importances(meta, output, signal, pick, () => bars.reload()));
  const curve = panel((signal) => (state.feature === null || !meta.capabilities.pdp.ok || leftOut || state.view !== meta.views[0].name ? "" : averageCurve(meta, state.feature, signal)));
  return [bars.node, chosen.node, curve.node];
}

function howMany() {
  return Math.min(state.top, shownFeatures().length);
}

async function importances(meta, output, signal, pick, reload) {
  const canBox = meta.capabilities.local.ok && output !== "all";
  const isSpread = ["box", "swarm"].includes(state.stat);
  const stat = isSpread && !canBox ? "mean_abs" : state.stat;
  const top = Math.max(USUAL_TOP, howMany());
  const question = { cohorts: shownCohorts(), class: output, top: isSpread && canBox ? Math.min(top, MOST_BOXES) : top, ...viewPart() };
  if (state.sort > 0) question.sort = state.sort;
  if (isSpread && canBox) question.quantiles = true;
  if (stat === "swarm") question.swarm = true;
  if (state.find) question.search = state.find;
  const answer = await ask("importance", question, signal);
  const features = answer.features.slice(0, howMany());
  const names = shownCohorts().map((cohort) => cohort.name).slice(0, answer.cohorts.length);
  const title = t("importance_title", { output: output === "all" ? t("all_outputs") : shown(meta.outputs[output]) });
  const picked = features.findIndex((feature) => feature.position === state.feature);
  const onPick = (row) => pick(features[row].position);
  const values = stat === "mean" ? "mean" : "mean_abs";
  const axis = t(stat === values ? `stat_${stat}_axis` : "importance_axis", { scale: t(`scale_${answer.scale}`) });
  const common = { label: title, series: names, axis, onPick };
  const draw = (width) => drawn[stat]({ width, ...common });
  const drawn = {
    box: (how) => boxRows({ ...how, zero: true, rows: features.map((feature, f) => ({ name: feature.name, boxes: answer.cohorts.map((one) => boxOf(one.quantiles?.[f])) })) }),
    swarm: (how) => swarmRows({ ...how, edges: answer.swarm_edges, rows: features.map((feature, f) => ({ name: feature.name, swarms: answer.cohorts.map((one) => swarmOf(one, f)) })) }),
    mean_abs: (how) => barRows({ ...how, chosen: picked, rows: features.map((feature, f) => barRow(feature, f, answer.cohorts, values)) }),
  };
  drawn.mean = drawn.mean_abs;
  const table = () => (isSpread && canBox ? spreadTable(features, answer.cohorts, names) : importanceTable(features, answer.cohorts, names));
  const options = [["mean_abs", t("stat_mean_abs")]];
  if (answer.cohorts.some((one) => one.mean)) options.push(["mean", t("stat_mean")]);
  if (canBox) options.push(["box", t("stat_box")], ["swarm", t("stat_swarm")]);
  const controls = [
    slider("top", t("top_k"), { min: 1, max: Math.min(shownFeatures().length, isSpread && canBox ? MOST_BOXES : 100), step: 1, value: howMany(), text: num }, (value) => { note({ top: value }); reload(); }),
    choice("stat", t("stat"), options, stat, (value) => { note({ stat: value }); reload(); }),
    names.length > 1 ? choice("sort", t("sort_by"), names.map((name, i) => [String(i), name]), state.sort, (value) => { note({ sort: Number(value) }); reload(); }) : null,
    leftOut ? null : searchField("find-feature", t("find_feature"), state.find, (value) => { note({ find: value }); reload(); }),
  ];
  const told = features.length ? t("importance_told", { name: shown(features[0].name), k: num(features.length), n: num(answer.n_found ?? answer.n_features) }) : t("nothing_found");
  if (stat === "swarm") controls.push(rampLegend(t("value_low"), t("value_high")));
  const how = { box: t("box_quantiles"), swarm: t("swarm_told") }[stat];
  return chart({ title, sentence: told + (how ? ` ${how}` : "") + (stat === "mean_abs" && answer.cohorts[0]?.standard_error?.some((error) => error !== null) ? ` ${t("error_told")}` : ""), draw, table, controls, legend: names });
}

function barRow(feature, f, cohorts, values) {
  const isSize = values === "mean_abs";
  return {
    name: feature.name,
    values: cohorts.map((one) => one[values]?.[f] ?? null),
    errors: isSize ? cohorts.map((one) => one.standard_error?.[f] ?? 0) : undefined,
    floor: isSize ? cohorts.map((one) => one.noise_floor?.[f] ?? null) : undefined,
  };
}

function boxOf(quantiles) {
  const [low, q1, median, q3, high] = quantiles ?? [null, null, null, null, null];
  return { low, q1, median, q3, high };
}

function swarmOf(one, f) {
  const { low, q1, median, q3, high } = boxOf(one.quantiles[f]);
  return { ...one.swarm[f], told: `${[low, q1, median, q3, high].map((value) => num(value)).join(" · ")}; ${t("n_rows", { n: num(one.n) })}` };
}

function spreadTable(features, cohorts, names) {
  const head = [t("feature"), ...names.flatMap((name) => ["5%", "25%", "50%", "75%", "95%"].map((share) => `${share} (${name})`))];
  return { head, rows: features.map((feature, f) => [feature.name, ...cohorts.flatMap((one) => one.quantiles[f])]) };
}

function importanceTable(features, cohorts, names) {
  const head = [t("feature")];
  for (const name of names) head.push(`${t("stat_mean_abs")} (${name})`, `${t("standard_error")} (${name})`, `${t("stat_mean")} (${name})`);
  const rows = features.map((feature, f) => [feature.name, ...cohorts.flatMap((one) => [one.mean_abs?.[f], one.standard_error?.[f], one.mean?.[f]])]);
  return { head, rows };
}

async function dependence(meta, signal, ways, reload) {
  const position = Math.min(state.feature, shownFeatures().length - 1);
  const cohort = shownCohorts()[Math.min(state.sort, state.shown.length - 1)];
  const output = oneOutput();
  const [x, y] = [featureId(position), phiId(position, output)];
  if (!meta.capabilities.local.ok) return reasonNote(meta.capabilities.local.reason);
  const { rows } = shownView();
  if (!rows.ok) return reasonNote(rows.reason);
  const controls = h("div", { class: "controls" },
    leftOut ? null : columnField(t("color"), state.color, { none: true, id: "color" }, (id) => { note({ color: id }); reload(); }),
    tick("log", t("log_x"), state.log, (isOn) => { note({ log: isOn }); reload(); }));
  return below(controls, signal, async () => pointsChart({
    question: { cohort, x, y, ...(state.color ? { color: state.color } : {}) },
    title: t("dependence_title", { name: shown(shownFeatures()[position]), output: shown(meta.outputs[output]), cohort: shown(cohort.name) }),
    signal, ...ways, log: state.log, canPick: meta.capabilities.local.ok,
    boxes: leftOut ? [] : (await ask("box", { cohorts: [cohort], x, y, bins: 20 }, signal)).groups,
  }));
}

/** The median of each bin, where on the axis it is; what has no value is told in words. */
function mediansOf(boxes, { categories }) {
  const known = boxes.filter(({ bin, n }) => n && bin.filters.length && !["missing", "not-in"].includes(bin.filters[0].op));
  const number = (value) => (typeof value === "string" ? momentOf(value) : value);
  const middle = ([first, last]) => (categories ? categories.indexOf(first.value[0]) : number(first.value) / 2 + number(last.value) / 2);
  return known.map(({ bin, median }) => ({ x: middle(bin.filters), y: median }));
}

function boxesTold(boxes) {
  if (!boxes.length) return "";
  const missing = boxes.find(({ bin }) => bin.filters[0]?.op === "missing");
  return ` ${t("median_told")}${missing ? ` ${t("missing_told", { n: num(missing.n), median: num(missing.median) })}` : ""}`;
}

/** What keeps the rows of a part of a picture. */
function filtersOf({ x, y }, [xLow, xHigh, yLow, yHigh]) {
  const filter = ({ id, kind, categories }, low, high) => {
    if (categories) return { col: id, op: "in", value: categories.filter((_, i) => i >= low && i <= high) };
    return { col: id, op: "between", value: kind === "date" ? [low, high].map((moment) => new Date(moment).toISOString()) : [low, high] };
  };
  return [filter(x, xLow, xHigh), filter(y, yLow, yHigh)];
}

/** A chart of points that zooms by asking again; a click opens the row. */
export async function pointsChart({ question, title, signal, go, refresh, log, canPick, boxes = [] }) {
  const first = await askPoints(question, signal);
  const place = panel((own) => zoomed(null, own), { class: "" });
  async function zoomed(window, own) {
    const answer = window ? await askPoints({ ...question, window }, own) : first;
    const { heading } = answer;
    for (const part of ["x", "y", "color"]) if (heading[part]) heading[part].name = columnName(heading[part].id);
    const n = t("points_told", { n: num(heading.n), total: num(heading.total), missing: num(heading.missing) });
    const kind = heading.kind === "grid" ? ` ${t("grid_told")}` : "";
    const onZoom = leftOut ? null : (next) => { show(next); };
    const keep = () => addCohort(title, question.cohort, filtersOf(heading, window), refresh);
    const onPick = canPick ? (index) => go({ tab: "rows", rows: [index] }) : null;
    return chart({
      title, sentence: n + kind + boxesTold(boxes) + (canPick && heading.kind !== "grid" ? ` ${t("click_point")}` : ""),
      draw: (width) => pointPlot({ answer, width, log, medians: mediansOf(boxes, heading.x), chosen: state.rows, onPick, onZoom, label: `${title}. ${n}` }),
      table: () => pointsTable(answer),
      csv: leftOut ? null : () => askCsv({ cohort: question.cohort, columns: [question.x, question.y, question.color].filter(Boolean) }),
      controls: [window ? [button(t("whole"), () => show(null)), button(t("make_cohort"), keep)] : null, colorLegend(heading.color)],
    });
  }
  const holder = h("div", {}, place.node);
  function show(window) {
    const next = panel((own) => zoomed(window, own));
    holder.replaceChildren(next.node);
  }
  return holder;
}

function pointsTable({ heading, arrays }) {
  const write = (axis, stored) => {
    if (axis.categories) return axis.categories[Math.round(valueOf(axis, stored))];
    return axis.kind === "date" ? new Date(valueOf(axis, stored)).toISOString() : valueOf(axis, stored);
  };
  if (heading.kind === "grid") {
    const head = [heading.x.name, heading.y.name, t("count")];
    const rows = [];
    arrays.counts.forEach((count, k) => {
      if (!count || rows.length > 200) return;
      const [i, j] = [k % heading.nx, Math.floor(k / heading.nx)];
      rows.push([write(heading.x, (i + 0.5) / heading.nx), write(heading.y, (j + 0.5) / heading.ny), count]);
    });
    return { head, rows };
  }
  const axes = [["x", heading.x], ["y", heading.y], ["color", heading.color]].filter(([name, axis]) => axis && arrays[name]);
  const head = [t("column_index"), ...axes.map(([, axis]) => axis.name)];
  const rows = [...arrays.index.slice(0, 100)].map((index, i) => [index, ...axes.map(([name, axis]) => (Number.isNaN(arrays[name][i]) ? null : write(axis, arrays[name][i])))]);
  return { head, rows };
}
