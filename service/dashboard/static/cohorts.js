// Cohorts: the list beside every view, and the editor of their filters.

import { h, button, choice, field, freshId, announce } from "./dom.js";
import { ask, askSaved, askToSave, canonical, leftOut } from "./api.js";
import { panel, refusalNote } from "./chart.js";
import { columnField, columnName, describeColumn } from "./columns.js";
import { ALL, MOST_SHOWN, state, note, shareCohorts } from "./state.js";
import { exact, t, num, percent, shown } from "./texts.js";

const OPERATORS = {
  number: ["=", "!=", "<", "<=", ">", ">=", "between", "missing", "not-missing"],
  text: ["=", "!=", "contains", "in", "not-in", "missing", "not-missing"],
  category: ["in", "not-in", "contains", "missing", "not-missing"],
};
OPERATORS.integer = OPERATORS.number;
OPERATORS.date = OPERATORS.number;
OPERATORS.boolean = OPERATORS.category;
const WITHOUT_VALUE = ["missing", "not-missing"];

function groupText({ filters = [], match }) {
  return filters.map(filterText).join(` ${t(match === "any" ? "or" : "and")} `);
}

/** What a filter says, in words. */
function filterText(filter) {
  if (filter.filters) return `(${groupText(filter)})`;
  const name = columnName(filter.col);
  if (WITHOUT_VALUE.includes(filter.op)) return `${name} ${t(`op_${filter.op}`)}`;
  const values = [filter.value].flat().map(exact);
  const sign = filter.op.length > 2 ? t(`op_${filter.op}`) : filter.op;
  return `${name} ${sign} ${values.join(", ")}`;
}

/** Add a cohort made of another and filters, and show it. */
export function addCohort(name, base, filters, refresh) {
  const limit = state.cohorts.length >= 10;
  if (leftOut || limit) return announce(t(limit ? "cohorts_full" : "no_compute"));
  const own = base.filters?.length ? [base.match === "any" ? { match: "any", filters: base.filters } : base.filters] : [];
  const cohort = { name: freeName(name), filters: [...own.flat(), ...filters] };
  const cohorts = [...state.cohorts, cohort];
  const shownNow = [...state.shown.slice(0, MOST_SHOWN - 1), cohorts.length - 1];
  note({ cohorts, shown: shownNow }, true);
  announce(t("cohort_made", { name: shown(cohort.name) }));
  refresh();
}

function freeName(name) {
  const taken = new Set(state.cohorts.map((cohort) => cohort.name));
  let free = name;
  for (let i = 2; taken.has(free); i += 1) free = `${name} (${i})`;
  return free;
}

/** The list of cohorts, at the side. */
export function cohortList(refresh) {
  const frozen = leftOut ? t("no_compute") : null;
  const place = panel(async (signal) => {
    try {
      const { cohorts } = await ask("cohorts", { cohorts: state.cohorts }, signal);
      return h("ul", { class: "cohorts" }, cohorts.map((told, position) => cohortItem(told, position, refresh, frozen)));
    } catch (error) {
      if (signal.aborted) throw error;
      const drop = () => { note({ cohorts: [ALL], shown: [0], sort: 0 }, true); refresh(); };
      return [refusalNote(error), button(t("start_cohorts"), drop)];
    }
  });
  const make = button(t("new_cohort"), () => editCohort(null, refresh), { id: "new-cohort", disabled: frozen !== null, title: frozen });
  return h("section", { "aria-label": t("cohorts") }, h("h2", {}, t("cohorts")), place.node, make, frozen ? h("p", { class: "reason" }, frozen) : savedPart(refresh));
}

let saved = null;

/** Take what is saved with the explanation. */
export function knowSaved(told) {
  saved = told;
}

/** Save the cohorts with the explanation, or show those that are. */
function savedPart(refresh) {
  if (!saved) return null;
  const isSame = canonical(state.cohorts) === canonical(saved.cohorts ?? [ALL]);
  const told = h("div", { class: "told", role: "status" }, saved.problem ? shown(saved.problem) : isSame && saved.cohorts ? t("cohorts_saved") : null);
  if (isSame) return told;
  const draw = (note) => { const part = savedPart(refresh); part.prepend(note); place.replaceWith(part); };
  const save = async () => {
    try {
      knowSaved(await askToSave(state.cohorts, saved.version ?? ""));
      shareCohorts(saved.cohorts);
      announce(t("cohorts_saved"));
      refresh();
    } catch (error) {
      knowSaved(await askSaved().catch(() => saved));
      draw(refusalNote(error));
    }
  };
  const take = () => {
    note({ cohorts: structuredClone(saved.cohorts), shown: [0], sort: 0 }, true);
    shareCohorts(saved.cohorts);
    refresh();
  };
  const place = h("div", {},
    button(t("save_cohorts"), save, { id: "save-cohorts", disabled: saved.reason !== null }),
    saved.cohorts ? button(t("take_saved"), take) : null,
    saved.reason ? h("p", { class: "hint" }, shown(saved.reason)) : null, told);
  return place;
}

function cohortItem(told, position, refresh, frozen) {
  const cohort = state.cohorts[position];
  const id = `show-cohort-${position}`;
  const place = state.shown.indexOf(position);
  const box = h("input", { id, type: "checkbox", onchange: () => showCohort(position, box.checked, refresh) });
  box.checked = place >= 0;
  box.disabled = place < 0 && state.shown.length >= MOST_SHOWN;
  const words = groupText(cohort);
  const tool = (text, act, off = false) => button(text, act, { "aria-label": `${text}: ${shown(told.name)}`, disabled: off || frozen !== null });
  const isLast = state.cohorts.length === 1;
  return h("li", {},
    h("label", { for: id }, box, place >= 0 ? h("i", { class: `k${place}` }) : null, h("bdi", {}, shown(told.name))),
    h("span", { class: "share", "data-n": told.n }, `${num(told.n)} · ${percent(told.share)}`),
    words ? h("p", { class: "words" }, words) : null,
    h("div", { class: "tools" },
      tool(t("edit"), () => editCohort(position, refresh)),
      tool(t("duplicate"), () => addCohort(cohort.name, cohort, [], refresh)),
      tool(t("delete"), () => deleteCohort(position, refresh), isLast)));
}

function showCohort(position, isOn, refresh) {
  const others = state.shown.filter((other) => other !== position);
  const next = isOn ? [...others, position] : others;
  note({ shown: next.length ? next : [position] }, true);
  refresh();
}

function deleteCohort(position, refresh) {
  const cohorts = state.cohorts.filter((_, i) => i !== position);
  const moved = state.shown.filter((i) => i !== position).map((i) => (i > position ? i - 1 : i));
  note({ cohorts, shown: moved, sort: 0 }, true);
  announce(t("cohort_deleted"));
  refresh();
  document.getElementById("new-cohort")?.focus();
}

/** Open the editor of a cohort, or of a new one. */
function editCohort(position, refresh) {
  const isNew = position === null;
  const draft = structuredClone(isNew ? { name: freeName(t("cohort_name", { n: state.cohorts.length })), filters: [] } : state.cohorts[position]);
  draft.match ??= "all";
  draft.filters ??= [];
  const name = h("input", { value: draft.name, required: true, maxlength: 200 });
  const told = h("div", { class: "told", role: "status" });
  const filters = groupEditor(draft, 0);
  const save = async (event) => {
    event.preventDefault();
    draft.name = name.value.trim() || draft.name;
    try {
      const cleaned = cleanedGroup(draft);
      await ask("cohorts", { cohorts: [cleaned] });
      const cohorts = isNew ? [...state.cohorts, cleaned] : state.cohorts.map((old, i) => (i === position ? cleaned : old));
      const shownNow = isNew ? [...state.shown.slice(0, MOST_SHOWN - 1), cohorts.length - 1] : state.shown;
      note({ cohorts, shown: shownNow }, true);
      dialog.close();
      refresh();
    } catch (error) {
      told.replaceChildren(refusalNote(error));
      pointAt(dialog, error.pointer);
    }
  };
  const form = h("form", { onsubmit: save },
    h("h2", {}, t(isNew ? "new_cohort" : "edit_cohort")),
    field(t("name"), name),
    filters, told,
    h("div", { class: "tools" },
      h("button", { type: "submit", class: "main" }, t("save")),
      button(t("count_rows"), async () => {
        try {
          const { cohorts: [counted] } = await ask("cohorts", { cohorts: [cleanedGroup(draft)] });
          told.textContent = t("rows_of", { n: num(counted.n), share: percent(counted.share) });
        } catch (error) { told.replaceChildren(refusalNote(error)); pointAt(dialog, error.pointer); }
      }),
      button(t("cancel"), () => dialog.close())));
  const dialog = h("dialog", { class: "editor", "aria-label": t(isNew ? "new_cohort" : "edit_cohort") }, form);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  name.focus();
}

/** Mark the filter that a refusal points at. */
function pointAt(dialog, pointer) {
  for (const marked of dialog.querySelectorAll(".wrong")) marked.classList.remove("wrong");
  const places = [...String(pointer ?? "").matchAll(/\/filters\/(\d+)/g)].map((found) => Number(found[1]));
  let place = dialog.querySelector(".group");
  for (const i of places) place = place?.querySelectorAll(":scope > ol > li")[i]?.firstElementChild;
  if (places.length) place?.classList.add("wrong");
}

function cleanedGroup(group) {
  const filters = group.filters.filter((filter) => filter.col || filter.filters).map((filter) => (filter.filters ? cleanedGroup(filter) : filter));
  const cleaned = group.name === undefined ? { match: group.match, filters } : { name: group.name, match: group.match, filters };
  return group.name === ALL.name && !filters.length ? ALL : cleaned;
}

function groupEditor(group, depth) {
  const list = h("ol", {});
  const draw = () => list.replaceChildren(...group.filters.map((filter, i) => {
    const remove = button(t("remove"), () => { group.filters.splice(i, 1); draw(); });
    return h("li", {}, filter.filters ? groupEditor(filter, depth + 1) : filterEditor(filter), remove);
  }));
  draw();
  const add = (filter) => { group.filters.push(filter); draw(); list.lastElementChild?.querySelector("input,select")?.focus(); };
  return h("fieldset", { class: "group" },
    h("legend", {}, t(depth ? "group" : "filters")),
    choice(freshId("match"), t("match"), [["all", t("match_all")], ["any", t("match_any")]], group.match, (value) => { group.match = value; }),
    list,
    button(t("add_filter"), () => add({ col: null, op: null, value: null })),
    depth < 3 ? button(t("add_group"), () => add({ match: depth % 2 ? "all" : "any", filters: [] })) : null);
}

function filterEditor(filter) {
  const rest = h("span", { class: "rest" });
  const fill = async () => {
    if (!filter.col) return;
    try {
      const column = await describeColumn(filter.col);
      const operators = OPERATORS[column.kind] ?? OPERATORS.text;
      if (!operators.includes(filter.op)) Object.assign(filter, { op: operators[0], value: null });
      const values = h("span", {});
      const drawValues = () => values.replaceChildren(valueEditor(filter, column));
      drawValues();
      rest.replaceChildren(choice(freshId("op"), t("operator"), operators.map((op) => [op, op.length > 2 ? t(`op_${op}`) : op]), filter.op, (op) => {
        if (op !== filter.op) Object.assign(filter, { op, value: null });
        drawValues();
      }), values);
    } catch (error) { rest.replaceChildren(refusalNote(error)); }
  };
  fill();
  return h("div", { class: "filter" }, columnField(t("column"), filter.col, {}, (id) => { Object.assign(filter, { col: id, op: null, value: null }); fill(); }), rest);
}

function valueEditor(filter, column) {
  if (WITHOUT_VALUE.includes(filter.op)) { delete filter.value; return ""; }
  const isList = filter.op === "in" || filter.op === "not-in";
  if (isList && column.categories) return categoryBoxes(filter, column);
  const isNumber = column.kind === "number" || column.kind === "integer";
  const read = (text) => (isNumber ? (text === "" ? null : Number(text)) : text);
  const type = { number: "number", integer: "number" }[column.kind] ?? "text";
  const hint = column.min == null ? null : t("range", { min: num(column.min), max: num(column.max) });
  const input = (label, value, onInput) => {
    return field(label, h("input", { type, step: "any", value: value ?? "", placeholder: hint, oninput: (event) => onInput(event.target.value) }));
  };
  if (filter.op === "between") {
    filter.value ??= [column.min, column.max];
    return h("span", {}, input(t("from"), filter.value[0], (text) => { filter.value[0] = read(text); }), input(t("to"), filter.value[1], (text) => { filter.value[1] = read(text); }));
  }
  const text = isList ? (filter.value ?? []).join("\n") : filter.value;
  if (isList) {
    return field(t("one_a_line"), h("textarea", { rows: 3, value: text, oninput: (event) => { filter.value = event.target.value.split("\n").filter(Boolean); } }));
  }
  return input(t("value"), text, (given) => { filter.value = read(given); });
}

function categoryBoxes(filter, column) {
  filter.value ??= [];
  const items = column.categories.map(({ value, n }) => {
    const box = h("input", { type: "checkbox", onchange: () => { filter.value = box.checked ? [...filter.value, value] : filter.value.filter((other) => other !== value); } });
    box.checked = filter.value.includes(value);
    return h("label", { class: "tick" }, box, h("bdi", {}, shown(value)), ` (${num(n)})`);
  });
  return h("span", { class: "boxes", role: "group", "aria-label": t("values_of", { name: shown(column.name) }) }, items);
}
