// What the reader looks at: kept in the fragment of the address, so that a link shows the same.

export const ALL = Object.freeze({ name: "All data" });
export const MOST_SHOWN = 3;

const DEFAULTS = {
  tab: "importance", cohorts: [ALL], shown: [0], cls: null, view: "raw",
  top: 10, sort: 0, stat: "mean_abs", feature: null, color: null, log: false,
  threshold: null, split: null, x: null, y: null, datacolor: null,
  rows: [], roworder: 0, find: "", order: null, page: 0, edits: {}, variants: [], ice: null,
};

export const state = { ...DEFAULTS };
let written = "";
let meta = null;
let shared = null;

/** Read the address, and again whenever it changes from outside; saved: cohorts to begin with. */
export function followAddress(described, saved, onChange) {
  meta = described;
  shared = saved;
  readAddress();
  addEventListener("hashchange", () => {
    if (location.hash.slice(1) === written) return;
    readAddress();
    onChange();
  });
}

function readAddress() {
  Object.assign(state, structuredClone(DEFAULTS));
  const own = readOwn() ?? shared;
  if (own) state.cohorts = structuredClone(own);
  for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
    if (!(name in DEFAULTS)) continue;
    if (typeof DEFAULTS[name] === "string") state[name] = text;
    else try { state[name] = JSON.parse(text); } catch { state[name] = text; }
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
  const isVariant = (variant) => variant && isRow(variant.row) && variant.edits && typeof variant.edits === "object";
  state.variants = Array.isArray(state.variants) ? state.variants.filter(isVariant).slice(0, 5) : [];
  for (const name of ["feature", "ice"]) if (!(Number.isInteger(state[name]) && state[name] >= 0)) state[name] = null;
  if (!Number.isFinite(state.threshold)) state.threshold = null;
  if (!Number.isInteger(state.roworder) || state.roworder < 0) state.roworder = 0;
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
    const isUsual = text === (typeof usual === "string" ? usual : JSON.stringify(usual));
    if (!isUsual || (name === "cohorts" && shared)) params.set(name, text);
  }
  const next = params.toString();
  if (next === written) return;
  written = next;
  history[isStep ? "pushState" : "replaceState"](null, "", `#${written}`);
  if ("cohorts" in changes) keepOwn();
}

const ownKey = () => `dashboard-${meta.digest}`;

function readOwn() {
  try { return JSON.parse(localStorage.getItem(ownKey())); } catch { return null; }
}

function keepOwn() {
  try { localStorage.setItem(ownKey(), JSON.stringify(state.cohorts)); } catch { /* the address has them all the same */ }
}

/** Keep no cohorts in this browser any more: these are saved with the explanation. */
export function shareCohorts(saved) {
  shared = saved;
  try { localStorage.removeItem(ownKey()); } catch { /* none was kept */ }
}

/** The cohorts that are shown side by side. */
export function shownCohorts() {
  return state.shown.map((position) => state.cohorts[position]);
}

/** The output whose importances are shown: a position, or "all". */
export function shownOutput() {
  if (state.cls !== null) return state.cls;
  if (meta.positive != null) return meta.positive;
  return meta.outputs.length > 1 ? "all" : 0;
}

/** The one output of views that show one. */
export function oneOutput() {
  const output = shownOutput();
  return output === "all" ? meta.positive ?? 0 : output;
}
