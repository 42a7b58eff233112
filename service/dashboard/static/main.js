// The page: its frame, its views, and what is drawn when.

import { h, button, choice } from "./dom.js";
import { askMeta, askSaved, leftOut } from "./api.js";
import { reasonNote, refusalNote, stopPanels } from "./chart.js";
import { cohortList, knowSaved } from "./cohorts.js";
import { knowColumns } from "./columns.js";
import { dataView } from "./data.js";
import { errorTreeView } from "./errortree.js";
import { importanceView } from "./importance.js";
import { performanceView } from "./performance.js";
import { rowsView } from "./rows.js";
import { whatIfView } from "./whatif.js";
import { state, note, followAddress, shownOutput } from "./state.js";
import { LANGUAGES, speak, t, num, shown } from "./texts.js";

const VIEWS = {
  performance: [performanceView, ["predictions"]],
  data: [dataView, ["rows"]],
  importance: [importanceView, ["global"]],
  rows: [rowsView, ["local"]],
  whatif: [whatIfView, ["predict"]],
  errortree: [errorTreeView, ["rows", "labels", "predictions"]],
};
const THEMES = ["auto", "light", "dark"];
let meta = null;

function remembered(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

function remember(name, value) {
  try { localStorage.setItem(name, value); } catch { /* for this visit alone */ }
}

/** Why a view cannot be, or null. */
function reasonAgainst(view) {
  const missing = VIEWS[view][1].map((name) => meta.capabilities[name]).find((capability) => capability && !capability.ok);
  if (missing) return missing.reason ?? t("no_compute");
  return leftOut && view === "whatif" ? t("no_compute") : null;
}

function taskLine() {
  const parts = [t(`task_${meta.task}`), t("n_rows", { n: num(meta.n_rows) }), t("n_features", { n: num(meta.views[0].features.length) })];
  if (meta.explanation.model_type) parts.push(shown(meta.explanation.model_type));
  if (meta.explanation.method) parts.push(shown(meta.explanation.method));
  return parts.join(" · ");
}

function settings() {
  const language = document.documentElement.lang;
  const choices = [
    choice("language", t("language"), LANGUAGES, language, (value) => { remember("dashboard-language", value); speak(value); knowColumns(meta); drawPage(); }),
    choice("theme", t("theme"), THEMES.map((name) => [name, t(`theme_${name}`)]), remembered("dashboard-theme") ?? "auto", (value) => { remember("dashboard-theme", value); dress(); drawView(); }),
  ];
  if (meta.outputs.length > 1) {
    const outputs = meta.outputs.map((name, i) => [String(i), name]);
    const options = [["all", t("all_outputs")], ...outputs];
    choices.unshift(choice("output", t(meta.classes ? "class" : "target"), options, String(shownOutput()), (value) => { note({ cls: value === "all" ? value : Number(value) }, true); drawView(); }));
  }
  if (meta.views.length > 1) {
    choices.unshift(choice("features-view", t("view"), meta.views.map((view) => [view.name, t(`view_${view.name}`)]), state.view, (value) => { note({ view: value, feature: null }, true); drawView(); }));
  }
  return h("div", { class: "settings" }, choices);
}

function dress() {
  const theme = remembered("dashboard-theme") ?? "auto";
  document.documentElement.dataset.theme = THEMES.includes(theme) ? theme : "auto";
}

function navigation() {
  const links = Object.keys(VIEWS).map((view) => {
    const reason = reasonAgainst(view);
    const isHere = state.tab === view ? "page" : null;
    const go = (event) => { event.preventDefault(); note({ tab: view, find: "" }, true); drawPage(); document.getElementById(`go-${view}`)?.focus(); };
    return h("li", {}, h("a", { id: `go-${view}`, href: `#tab=${view}`, "aria-current": isHere, class: reason ? "off" : null, title: reason, onclick: go }, t(`view_${view}`)));
  });
  return h("nav", { "aria-label": t("views") }, h("ul", {}, links));
}

function drawPage() {
  if (!(state.tab in VIEWS)) note({ tab: "importance" });
  const focused = document.activeElement?.id;
  document.title = `${shown(meta.title)} – ${t("dashboard")}`;
  const heading = h("header", {}, h("div", {}, h("h1", {}, h("bdi", {}, shown(meta.title))), h("p", {}, taskLine())), settings());
  const skip = h("a", { class: "skip", href: "#view", onclick: (event) => { event.preventDefault(); document.getElementById("view").focus(); } }, t("skip"));
  const app = document.getElementById("app");
  const missing = leftOut?.length ? [h("details", { class: "left-out" }, h("summary", {}, t("left_out")), h("ul", {}, leftOut.map((text) => h("li", {}, shown(text)))))] : [];
  const live = h("p", { id: "live", class: "unseen", "aria-live": "polite" });
  const notes = h("section", { "aria-label": t("notes") }, h("p", { class: "caveat" }, t("caveat")), missing, live);
  app.replaceChildren(skip, heading, navigation(), notes,
    h("div", { class: "frame" }, h("aside", { id: "side" }), h("main", { id: "view", tabindex: -1 })));
  drawView();
  if (focused) document.getElementById(focused)?.focus();
}

/** Draw the cohorts and the view again, for what is now looked at. */
function drawView() {
  stopPanels();
  const focused = document.activeElement?.id;
  document.getElementById("side").replaceChildren(meta.capabilities.rows.ok || meta.capabilities.local.ok ? cohortList(drawView) : "");
  const place = document.getElementById("view");
  const reason = reasonAgainst(state.tab);
  const heading = h("h2", {}, t(`view_${state.tab}`));
  if (reason) place.replaceChildren(heading, reasonNote(reason));
  else place.replaceChildren(heading, h("p", { class: "lead" }, t(`lead_${state.tab}`)), ...[VIEWS[state.tab][0]({ meta, refresh: drawView, go })].flat(Infinity).filter(Boolean));
  if (focused) document.getElementById(focused)?.focus();
}

/** Go to another view. */
function go(changes) {
  note({ find: "", ...changes }, true);
  drawPage();
  document.getElementById("view").focus();
}

async function start() {
  dress();
  speak(remembered("dashboard-language") ?? navigator.language.slice(0, 2));
  const app = document.getElementById("app");
  app.replaceChildren(h("p", { class: "waiting" }, t("loading")));
  try {
    const [described, saved] = await Promise.all([askMeta(), askSaved()]);
    meta = described;
    knowSaved(saved);
    knowColumns(meta);
    followAddress(meta, saved?.cohorts, drawPage);
  } catch (error) {
    app.replaceChildren(h("main", {}, refusalNote(error), button(t("again"), start)));
    return;
  }
  drawPage();
  document.documentElement.dataset.ready = "yes";
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => meta && drawView());
start();
