// Where the model fails: a small tree over the rows' errors; each of its nodes can be a cohort.

import { h, s, shortened } from "./dom.js";
import { ask, leftOut } from "./api.js";
import { chart, panel } from "./chart.js";
import { addCohort } from "./cohorts.js";
import { mark, picture } from "./svg.js";
import { shownCohorts } from "./state.js";
import { t, num, percent, shown } from "./texts.js";

const LEVEL = 108;

/** The view. */
export function errorTreeView({ refresh }) {
  const place = panel(async (signal) => {
    const cohort = shownCohorts()[0];
    const answer = await ask("errortree", { cohort }, signal);
    const title = t("tree_title", { cohort: shown(cohort.name) });
    const isShare = answer.target === "wrong";
    const value = isShare ? percent : num;
    const told = t(isShare ? "tree_told_wrong" : "tree_told_error", { value: value(answer.value), n: num(answer.n) });
    const paths = pathsOf(answer.nodes);
    const makeCohort = (node) => addCohort(paths.get(node.id), cohort, node.filters, refresh);
    const onPick = leftOut ? null : makeCohort;
    const worst = [...answer.nodes].filter((node) => !node.children?.length).sort((a, b) => (b.share_of_error ?? 0) - (a.share_of_error ?? 0))[0];
    const pointed = worst && answer.nodes.length > 1 ? t("tree_worst", { label: paths.get(worst.id), share: percent(worst.share_of_error), of: percent(worst.n / answer.n) }) : t("tree_alone");
    return chart({
      title, sentence: `${told} ${pointed} ${onPick ? t("click_node") : ""}`,
      draw: (width) => h("div", { class: "wide" }, treePicture(answer, Math.max(width, 640), title, value, onPick, paths)),
      table: () => ({ head: [t("group"), t("rows_count"), t(isShare ? "share_wrong" : "column_abs_error"), t("share_of_error")], rows: answer.nodes.map((node) => [paths.get(node.id), node.n, node.value, node.share_of_error]) }),
    });
  });
  return place.node;
}

/** Where each node stands: leaves side by side, parents above the middle of their children. */
function placeNodes(nodes, width) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const leaves = [];
  const places = new Map();
  const visit = (node, depth) => {
    const children = (node.children ?? []).map((id) => byId.get(id));
    if (!children.length) leaves.push(node.id);
    for (const child of children) visit(child, depth + 1);
    places.set(node.id, { depth, first: children[0]?.id, last: children.at(-1)?.id });
  };
  visit(nodes[0], 0);
  const step = width / leaves.length;
  leaves.forEach((id, i) => { places.get(id).x = (i + 0.5) * step; });
  for (const place of places.values()) if (place.first !== undefined) place.x = (places.get(place.first).x + places.get(place.last).x) / 2;
  return { places, step, depth: Math.max(...[...places.values()].map((place) => place.depth)) };
}

/** The rule of a node, in the reader's language. */
function ruleOf({ label }) {
  return shown(label).replace(/ or missing$/, ` ${t("or")} ${t("missing")}`);
}

function treePicture({ nodes, value: all }, width, label, write, onPick, paths) {
  const { places, step, depth } = placeNodes(nodes, width);
  const most = Math.max(...nodes.map((node) => node.value ?? 0), all || 0, 1e-12);
  const links = [];
  const marks = nodes.map((node) => {
    const place = places.get(node.id);
    const y = 48 + place.depth * LEVEL;
    if (node.parent !== null) {
      const above = places.get(node.parent);
      links.push(s("line", { class: "link", x1: above.x, y1: y - LEVEL + 16, x2: place.x, y2: y - 16, "stroke-width": 1 + 9 * (node.share_of_error ?? 0) }));
    }
    const tone = Math.min(5, Math.floor(((node.value ?? 0) / most) * 5.999));
    const told = `${paths.get(node.id)}: ${t("node_told", { value: write(node.value), n: num(node.n), share: percent(node.share_of_error) })}`;
    const wide = Math.min(110, step - 6);
    return mark(told, onPick && (() => onPick(node)), { "data-value": node.value, "data-n": node.n },
      s("rect", { class: `e${tone}`, x: place.x - wide / 2, y: y - 16, width: wide, height: 34, rx: 4 }),
      s("text", { class: `et${tone}`, x: place.x, y: y - 2, "text-anchor": "middle" }, write(node.value)),
      s("text", { class: `et${tone} small`, x: place.x, y: y + 12, "text-anchor": "middle" }, `n ${num(node.n)}`),
      ruleLines(node, place.x, y, Math.max(6, Math.floor(((place.depth === depth ? step : step * 1.8) - 4) / 6.8))));
  });
  return picture(width, (depth + 1) * LEVEL, label, links, marks);
}

/** The rule of a node above it: the feature's name, then the condition. */
function ruleLines(node, x, y, most) {
  const attributes = { class: "name", x, "text-anchor": "middle" };
  if (node.parent === null) return [s("text", { ...attributes, y: y - 21 }, t("all_rows"))];
  const [, name, condition] = /^(.*) ([≤><≥=≠].*)$/su.exec(ruleOf(node)) ?? [null, ruleOf(node), ""];
  if (!condition) return [s("text", { ...attributes, y: y - 21 }, shortened(name, most))];
  return [s("text", { ...attributes, y: y - 35 }, shortened(name, most)), s("text", { ...attributes, y: y - 21 }, shortened(condition, most))];
}

/** All conditions from the root down to each node, in words. */
function pathsOf(nodes) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const paths = new Map();
  for (const node of nodes) {
    const parts = [];
    for (let at = node; at && at.parent !== null; at = byId.get(at.parent)) parts.unshift(ruleOf(at));
    paths.set(node.id, parts.join(` ${t("and")} `) || t("all_rows"));
  }
  return paths;
}
