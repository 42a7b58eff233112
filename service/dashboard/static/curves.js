// How the model answers when one feature moves: of single rows (ICE), and on average (PDP).

import { ask } from "./api.js";
import { chart } from "./chart.js";
import { shownFeatures } from "./columns.js";
import { lineChart, momentOf } from "./svg.js";
import { oneOutput, shownCohorts } from "./state.js";
import { t, num, shown } from "./texts.js";

/** How a grid lies on an axis: categories by their positions, dates as times. */
function gridAxis(grid, kind, label) {
  const x = kind === "date" ? grid.map((value) => value && momentOf(value)) : grid;
  if (x.every((value) => typeof value === "number" || value === null)) {
    const known = x.filter((value) => value !== null);
    return { x, across: { label, low: Math.min(...known), high: Math.max(...known), kind } };
  }
  const categories = grid.map((value) => (value === null ? t("missing") : String(value)));
  return { x: [...grid.keys()], across: { label, low: -0.5, high: grid.length - 0.5, categories } };
}

function spanOf(values) {
  const known = values.flat().filter((value) => typeof value === "number");
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const pad = (high - low) * 0.05;
  return { low: low - pad, high: high + pad };
}

/** The mean curve of a cohort's rows, and where eight of ten of them lie. */
export async function averageCurve(meta, feature, signal) {
  const cohort = shownCohorts()[0];
  const output = oneOutput();
  const answer = await ask("pdp", { cohort, feature, class: output }, signal);
  const name = shownFeatures()[feature];
  if (!answer.grid?.length || !answer.mean?.some((value) => value !== null)) return "";
  const { x, across } = gridAxis(answer.grid, answer.kind, name);
  const scale = answer.scale ? t(`scale_${answer.scale}`) : t("prediction");
  const title = t("pdp_title", { name: shown(name), cohort: shown(cohort.name) });
  return chart({
    title, sentence: t("pdp_told", { n: num(answer.n), of: num(answer.of), output: shown(meta.outputs[output]) }),
    draw: (width) => lineChart({ width, label: title, across, up: { label: scale, ...spanOf([answer.mean, answer.low, answer.high]) }, series: [{ name: t("mean"), x, y: answer.mean, low: answer.low, high: answer.high }] }),
    table: () => ({ head: [name, t("mean"), t("low10"), t("high90")], rows: answer.grid.map((value, i) => [value, answer.mean[i], answer.low[i], answer.high[i]]) }),
  });
}

/** A curve for each row and changed row; a click on one takes its value. */
export async function rowCurves(meta, { rows, records, names, feature, onTake }, signal) {
  const output = oneOutput();
  const answer = await ask("ice", { rows, records, feature, class: output }, signal);
  const name = shownFeatures()[feature];
  const { x, across } = gridAxis(answer.grid, answer.kind, name);
  const title = t("ice_title", { name: shown(name), output: shown(meta.outputs[output]) });
  const series = answer.curves.map((curve, i) => ({ name: names[i], x, y: curve.y }));
  const [first] = answer.curves;
  const marker = x[answer.grid.indexOf(first?.current)] ?? null;
  return chart({
    title, sentence: t("ice_told"), legend: names,
    draw: (width) => lineChart({ width, label: title, across, marker, up: { label: t(`scale_${answer.scale}`), ...spanOf(answer.curves.map((curve) => curve.y)) }, series, onPick: (i, k) => onTake(answer.grid[k]) }),
    table: () => ({ head: [name, ...names], rows: answer.grid.map((value, k) => [value, ...answer.curves.map((curve) => curve.y[k])]) }),
  });
}
