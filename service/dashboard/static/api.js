// Questions to the server, which any worker can answer, or to the answers frozen in a snapshot.

import { h, freshId } from "./dom.js";
import { t } from "./texts.js";

const LONGEST = 120000;
const KEPT = 80;
const kept = new Map();

/** A refusal: its sentence, and where in the question it is. */
class Refusal extends Error {
  constructor(message, pointer = null, status = 0) {
    super(message);
    this.pointer = pointer;
    this.status = status;
  }
}

const frozen = readSnapshot();

function readSnapshot() {
  const element = document.getElementById("snapshot");
  if (!element) return null;
  const content = JSON.parse(element.textContent);
  const answers = new Map();
  for (const { call, question, answer } of content.answers) answers.set(call + canonical(question), answer);
  return { ...content, answers };
}

/** What a snapshot leaves out; null where the page is served. */
export const leftOut = frozen ? frozen.left_out ?? [] : null;

/** A value as JSON with sorted keys. */
export function canonical(value) {
  return JSON.stringify(value, (_, part) => {
    if (part === null || typeof part !== "object" || Array.isArray(part)) return part;
    return Object.fromEntries(Object.keys(part).sort().map((key) => [key, part[key]]));
  });
}

function storedKey() {
  try { return sessionStorage.getItem("dashboard-key"); } catch { return null; }
}

let asking = null;

/** Ask for the service's key, once for all calls that wait for it. */
function askForKey() {
  asking ??= new Promise((resolve, reject) => {
    const id = freshId("key");
    const input = h("input", { id, type: "password", autocomplete: "off" });
    const form = h("form", { method: "dialog" },
      h("label", { for: id }, t("key_asked")), input,
      h("button", { value: "ok" }, t("continue")));
    const dialog = h("dialog", { "aria-label": t("key_asked") }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      asking = null;
      if (!input.value) return reject(new Refusal(t("key_missing"), null, 401));
      try { sessionStorage.setItem("dashboard-key", input.value); } catch { /* kept for this call */ }
      resolve(input.value);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

async function send(call, question, signal, key = storedKey(), tries = 0) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const options = { headers, signal, credentials: "same-origin" };
  if (question !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(question);
    headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(call, options);
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Refusal(t("unreachable"));
  }
  const isPage = response.headers.get("Content-Type")?.startsWith("text/html");
  if (response.ok && isPage) throw new Refusal(t("login_again"));
  if (response.ok) return response;
  if (response.status === 401) {
    const known = storedKey(); // given meanwhile for another call
    return send(call, question, signal, known && known !== key ? known : await askForKey(), tries);
  }
  if (response.status === 429 && tries < 5) {
    await rest(1000 * Number(response.headers.get("Retry-After") ?? 1), signal);
    return send(call, question, signal, key, tries + 1);
  }
  const told = await response.json().catch(() => ({}));
  throw new Refusal(told.message ?? t("failed", { status: response.status }), told.pointer, response.status);
}

function rest(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, Math.min(milliseconds, 10000));
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); });
  });
}

function bounded(signal) {
  const limit = AbortSignal.timeout(LONGEST);
  return signal ? AbortSignal.any([signal, limit]) : limit;
}

async function remembered(call, question, signal, read) {
  const key = call + canonical(question);
  if (kept.has(key)) return kept.get(key);
  let answer;
  if (frozen) answer = thaw(key);
  else answer = await read(await send(call, question, bounded(signal)));
  kept.set(key, answer);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return answer;
}

function thaw(key) {
  const answer = frozen.answers.get(key);
  if (answer === undefined) throw new Refusal(t("not_in_snapshot"));
  if (!answer.base64) return answer;
  return unpack(Uint8Array.from(atob(answer.base64), (letter) => letter.charCodeAt(0)).buffer);
}

/** What there is to ask for. */
export async function askMeta() {
  if (frozen) return frozen.meta;
  return (await send("api/meta", undefined, bounded())).json();
}

/** The cohorts that are saved with the explanation, and why none can be; null in a snapshot. */
export async function askSaved() {
  return frozen ? null : (await send("api/saved", {}, bounded())).json();
}

/** Save cohorts in the place of those of a version. */
export async function askToSave(cohorts, version) {
  return (await send("api/save", { cohorts, version }, bounded())).json();
}

const OF_THE_MODEL = ["predict", "explain", "ice", "pdp"];
let lastOfModel = Promise.resolve();

/** Ask a question; answers are kept, as they never change for one explanation. */
export function ask(call, question, signal) {
  const asked = () => remembered(`api/${call}`, question, signal, (response) => response.json());
  if (!OF_THE_MODEL.includes(call)) return asked();
  const mine = lastOfModel.then(() => (signal?.aborted ? Promise.reject(signal.reason) : asked()));
  lastOfModel = mine.catch(() => null);
  return mine;
}

/** Ask for points: {heading, arrays by name}. */
export function askPoints(question, signal) {
  return remembered("api/points", question, signal, async (response) => unpack(await response.arrayBuffer()));
}

/** Ask for the rows of a cohort as a file. */
export async function askCsv(question) {
  return (await send("api/export.csv", question, bounded())).blob();
}

function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const heading = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  let start = 4 + length;
  for (const part of heading.arrays) {
    const Type = part.type === "u32" ? Uint32Array : Float32Array;
    arrays[part.name] = new Type(buffer, start, part.length);
    start += 4 * part.length;
  }
  return { heading, arrays };
}
