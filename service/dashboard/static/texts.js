// Texts and numbers in the reader's language.

import { en } from "./strings.en.js";
import { nl } from "./strings.nl.js";
import { ko } from "./strings.ko.js";

export const LANGUAGES = [["en", "English"], ["nl", "Nederlands"], ["ko", "한국어"]];
const DICTIONARIES = { en, nl, ko };
let language = "en";
let formats = {};

/** Take a language; an unknown one is English. */
export function speak(wanted) {
  language = DICTIONARIES[wanted] ? wanted : "en";
  document.documentElement.lang = language;
  formats = {};
}

/** A text by its key, {name} in it replaced. */
export function t(key, values = {}) {
  const text = DICTIONARIES[language][key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** A number of at most four digits that count, but with all before the point; none is a dash. */
export function num(value, digits = 4) {
  if (value == null || Number.isNaN(value)) return "–";
  if (typeof value !== "number") return shown(value);
  const size = Math.abs(value);
  const isRound = !Number.isInteger(value) || size > Number.MAX_SAFE_INTEGER || Number(value.toPrecision(4)) === value;
  if (value !== 0 && (size < 1e-4 || (size >= 1e12 && isRound))) return written({ notation: "scientific", maximumSignificantDigits: digits }, value);
  const before = size < 1 ? 0 : Math.floor(Math.log10(size)) + 1;
  return written({ maximumSignificantDigits: Math.max(digits, before) }, value);
}

/** A number with all of its digits. */
export function exact(value) {
  return num(value, typeof value === "number" ? value.toExponential().replace(/e.*|\D/g, "").length : 4);
}

function written(options, value) {
  const key = Object.values(options).join(" ");
  formats[key] ??= new Intl.NumberFormat(language, options);
  return formats[key].format(value);
}

/** How to write some numbers so that different ones look different. */
export function tellingApart(values) {
  const different = new Set(values).size;
  let digits = 4;
  while (digits < 17 && new Set(values.map((value) => num(value, digits))).size < different) digits += 1;
  return (value) => num(value, digits);
}

/** A text as it may be shown: characters that turn or hide text are made shown. */
export function shown(text) {
  return String(text).replace(/[\u0000-\u001f\u007f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

/** Bins by their edges, in words. */
export function binNames(edges) {
  const write = tellingApart(edges);
  return edges.slice(1).map((edge, i) => `${write(edges[i])} – ${write(edge)}`);
}

/** A number with its sign. */
export function signed(value) {
  return value > 0 ? `+${num(value)}` : num(value);
}

/** A share in percent. */
export function percent(value) {
  return value == null ? "–" : written({ style: "percent", maximumFractionDigits: 1 }, value);
}
