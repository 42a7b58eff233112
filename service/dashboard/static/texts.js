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
  const make = (options) => new Intl.NumberFormat(language, options);
  formats = {
    whole: make({ maximumFractionDigits: 0 }),
    usual: make({ maximumSignificantDigits: 4 }),
    science: make({ notation: "scientific", maximumSignificantDigits: 4 }),
    share: make({ style: "percent", maximumFractionDigits: 1 }),
  };
}

/** A text by its key, {name} in it replaced. */
export function t(key, values = {}) {
  const text = DICTIONARIES[language][key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** A number of at most four digits that count, whole ones in full; none is a dash. */
export function num(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (typeof value !== "number") return shown_text(value);
  if (value === 0) return formats.whole.format(0);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return formats.whole.format(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return formats.science.format(value);
  return formats.usual.format(value);
}

function shown_text(value) {
  return String(value).replace(/[\u0000-\u001f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

/** A number with its sign. */
export function signed(value) {
  return value > 0 ? `+${num(value)}` : num(value);
}

/** A share in percent. */
export function percent(value) {
  return value === null || value === undefined ? "–" : formats.share.format(value);
}
