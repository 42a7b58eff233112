// Columns by their ids, their names, and a field to choose one by typing.

import { h, field, freshId } from "./dom.js";
import { ask } from "./api.js";
import { state } from "./state.js";
import { t, shown } from "./texts.js";

const MOST_OFFERED = 60;
let meta = null;
let byId = new Map();
let byName = new Map();

/** Take what there is. */
export function knowColumns(described) {
  meta = described;
  byId = new Map();
  byName = new Map();
  const add = (id, name, group) => {
    let unique = shown(name);
    while (byName.has(unique)) unique += " ";
    byId.set(id, { id, name: unique, group });
    byName.set(unique, id);
  };
  const starts = { raw: ["x", "phi"], engineered: ["e", "ephi"] };
  for (const column of meta.columns) add(column.id, outcomeName(column), column.group);
  meta.views.forEach((view, v) => {
    const [start, phi] = starts[v === 0 ? "raw" : "engineered"];
    view.features.forEach((name, i) => add(`${start}${i}`, v === 0 ? name : t("engineered_name", { name: shown(name) }), `feature${v}`));
    if (!meta.capabilities.local.ok) return;
    view.features.forEach((name, i) => meta.outputs.forEach((output, k) => {
      const id = meta.outputs.length > 1 ? `${phi}${i}.${k}` : `${phi}${i}`;
      const values = { name: shown(name), output: shown(output) };
      add(id, t(meta.outputs.length > 1 ? "importance_for" : "importance_of", values), `phi${v}`);
    }));
  });
}

function outcomeName(column) {
  if (/^p\d+$/.test(column.id)) return t("probability_of", { name: shown(meta.classes[Number(column.id.slice(1))]) });
  const [start, target] = column.id.split(".");
  const known = t(`column_${start}`);
  const name = known === `column_${start}` ? column.name : known;
  return target || (column.id !== start) ? `${name} (${shown(meta.outputs[Number(target)] ?? target)})` : name;
}

/** The name of a column. */
export function columnName(id) {
  return byId.get(id)?.name ?? id;
}

/** What a bin is called: those of no value, and of all other categories, in the reader's language. */
export function binLabel({ label, filters: [first] }) {
  const word = { missing: "missing", "not-in": "others" }[first?.op];
  return word ? `(${t(word)})` : label;
}

/** The id of a feature of the shown view. */
export function featureId(position) {
  return `${isEngineered() ? "e" : "x"}${position}`;
}

/** The id of a feature's importance for an output. */
export function phiId(position, output) {
  const start = isEngineered() ? "ephi" : "phi";
  return meta.outputs.length > 1 ? `${start}${position}.${output}` : `${start}${position}`;
}

function isEngineered() {
  return state.view !== meta.views[0].name;
}

/** The shown view: its features, and whether their values are there. */
export function shownView() {
  return meta.views.find((view) => view.name === state.view);
}

/** The features of the shown view. */
export function shownFeatures() {
  return shownView().features;
}

/** Everything of one column: range, quantiles, categories. */
export async function describeColumn(id, signal) {
  return (await ask("columns", { columns: [id] }, signal)).columns[0];
}

/** The part of a question that says which view; the first one is not named. */
export function viewPart() {
  return isEngineered() ? { view: state.view } : {};
}

/** A field that finds a column by a part of its name. groups: as of columns; none: may be empty. */
export function columnField(label, value, { groups, none = false, id = freshId("column") }, onChange) {
  const listId = freshId("names");
  const list = h("datalist", { id: listId });
  const fits = (column) => !groups || groups.includes(column.group);
  const offer = (part) => {
    const wanted = part.toLowerCase();
    const found = [];
    for (const column of byId.values()) {
      if (!fits(column) || !column.name.toLowerCase().includes(wanted)) continue;
      found.push(h("option", { value: column.name }));
      if (found.length === MOST_OFFERED) break;
    }
    list.replaceChildren(...found);
  };
  const current = value ? columnName(value) : "";
  const input = h("input", {
    id, list: listId, autocomplete: "off", placeholder: none ? t("none") : t("type_name"),
    onfocus: () => { input.select(); offer(""); },
    oninput: () => offer(input.value),
    onchange: () => {
      if (!input.value.trim() && none) return onChange(null);
      const exact = byName.get(input.value);
      const chosen = exact ?? [...byId.values()].find((column) => fits(column) && column.name.toLowerCase().includes(input.value.toLowerCase()))?.id;
      if (chosen && fits(byId.get(chosen))) { input.value = columnName(chosen); return onChange(chosen); }
      input.setCustomValidity(t("no_column"));
      input.reportValidity();
      input.setCustomValidity("");
      input.value = current;
    },
  });
  input.value = current;
  return field(label, input, list);
}
