// What the reader looks at: kept in the fragment of the address, so that a link shows the same.

export const ALL = Object.freeze({ name: "All data" });
export const MOST_SHOWN = 3;

const DEFAULTS = {
  tab: "importance", cohorts: [ALL], shown: [0], cls: null, view: "raw",
  top: 10, sort: 0, stat: "mean_abs", feature: null, color: null, log: false,
  threshold: null, split: null, x: null, y: null, datacolor: null,
  rows: [], roworder: 0, find: "", order: null, page: 0, edits: {}, variants: [], ice: null, node: null,
};

export const state = { ...DEFAULTS };
let written = "";
let meta = null;

/** Read the address, and again whenever it changes from outside. */
export function followAddress(described, onChange) {
  meta = described;
  readAddress();
  addEventListener("hashchange", () => {
    if (location.hash.slice(1) === written) return;
    readAddress();
    onChange();
  });
}

function readAddress() {
  Object.assign(state, structuredClone(DEFAULTS));
  const saved = readSaved();
  if (saved) state.cohorts = saved;
  for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
    if (!(name in DEFAULTS)) continue;
    try { state[name] = JSON.parse(text); } catch { state[name] = text; }
  }
  mend();
  written = location.hash.slice(1);
}

/** Whatever an address says, the state is one that can be shown. */
function mend() {
  const isCohort = (cohort) => cohort && typeof cohort.name === "string";
  if (!Array.isArray(state.cohorts)) state.cohorts = [];
  state.cohorts = state.cohorts.filter(isCohort).slice(0, meta.limits.cohorts);
  if (!state.cohorts.length) state.cohorts = [ALL];
  const isThere = (position) => Number.isInteger(position) && position >= 0 && position < state.cohorts.length;
  state.shown = Array.isArray(state.shown) ? state.shown.filter(isThere).slice(0, MOST_SHOWN) : [];
  if (!state.shown.length) state.shown = [0];
  if (!isThere(state.sort) || state.sort >= state.shown.length) state.sort = 0;
  const isRow = (row) => Number.isInteger(row) && row >= 0 && row < meta.n_rows;
  state.rows = Array.isArray(state.rows) ? state.rows.filter(isRow).slice(0, 3) : [];
  if (!meta.views.some((view) => view.name === state.view)) state.view = meta.views[0].name;
  const last = meta.outputs.length;
  const isOutput = Number.isInteger(state.cls) && state.cls >= 0 && state.cls < last;
  if (!isOutput && !(state.cls === "all" && last > 1)) state.cls = null;
  if (typeof state.edits !== "object" || state.edits === null) state.edits = {};
  if (!Array.isArray(state.variants)) state.variants = [];
  state.top = Math.max(1, Number(state.top) || DEFAULTS.top);
  state.page = Math.max(0, Math.trunc(Number(state.page)) || 0);
}

/** Change what is looked at, and write it into the address. */
export function note(changes, isStep = false) {
  Object.assign(state, changes);
  mend();
  const params = new URLSearchParams();
  for (const name of Object.keys(DEFAULTS)) {
    const value = state[name];
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const usual = DEFAULTS[name];
    if (text !== (typeof usual === "string" ? usual : JSON.stringify(usual))) params.set(name, text);
  }
  const next = params.toString();
  if (next === written) return;
  written = next;
  history[isStep ? "pushState" : "replaceState"](null, "", `#${written}`);
  if ("cohorts" in changes) save();
}

function readSaved() {
  try { return JSON.parse(localStorage.getItem(`dashboard-${meta.digest}`)); } catch { return null; }
}

function save() {
  try {
    localStorage.setItem(`dashboard-${meta.digest}`, JSON.stringify(state.cohorts));
  } catch { /* the address has them all the same */ }
}

/** The cohorts that are shown side by side. */
export function shownCohorts() {
  return state.shown.map((position) => state.cohorts[position]);
}

/** The output whose importances are shown: a position, or "all". */
export function shownOutput() {
  if (state.cls !== null) return state.cls;
  if (meta.positive !== null && meta.positive !== undefined) return meta.positive;
  return meta.outputs.length > 1 ? "all" : 0;
}

/** The one output of views that show one. */
export function oneOutput() {
  const output = shownOutput();
  return output === "all" ? meta.positive ?? 0 : output;
}
