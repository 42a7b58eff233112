// Elements, made without ever reading a text as markup.

import { shown } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  const { value, ...others } = attributes ?? {};
  for (const [name, given] of Object.entries(others)) {
    if (given == null || given === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), given);
    else node.setAttribute(name, given === true ? "" : given);
  }
  const kept = children.flat(Infinity).filter((child) => child != null && child !== false);
  node.append(...kept);
  if (value !== undefined && value !== null) node.value = value;
  return node;
}

/** Make an element of HTML; strings among its children are text. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Make an element of SVG. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A name cut in its middle to a number of characters. */
export function shortened(name, most) {
  const text = shown(name);
  if (text.length <= most) return text;
  const half = Math.max(2, Math.floor((most - 1) / 2));
  return `${text.slice(0, half)}…${text.slice(-half)}`;
}

let lastId = 0;

/** An id that no other element has. */
export function freshId(start) {
  lastId += 1;
  return `${start}-${lastId}`;
}

/** Say something to those who listen instead of looking. */
export function announce(text) {
  const region = document.getElementById("live");
  if (region) region.textContent = text;
}

/** Offer a text as a file. */
export function saveFile(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** A label above what it is of. */
export function field(label, ...controls) {
  return h("label", { class: "field" }, h("span", {}, label), controls);
}

/** A field that looks for something by a part of its name, told when it is done. */
export function searchField(id, label, value, onChange) {
  const input = h("input", { id, type: "search", value, onchange: () => onChange(input.value) });
  return field(label, input);
}

/** A select with a label. options: [value, text] pairs. */
export function choice(id, label, options, value, onChange) {
  const items = options.map(([key, text]) => h("option", { value: key }, shown(text)));
  const select = h("select", { id, onchange: () => onChange(select.value) }, items);
  select.value = String(value);
  return field(label, select);
}

/** A slider with a label that shows its value; tells only when it rests. */
export function slider(id, label, { min, max, step, value, text }, onChange) {
  const output = h("output", { for: id }, text(value));
  let timer = 0;
  const input = h("input", {
    id, type: "range", min, max, step, value,
    oninput: () => {
      output.textContent = text(Number(input.value));
      clearTimeout(timer);
      timer = setTimeout(() => onChange(Number(input.value)), 150);
    },
  });
  return field(label, input, output);
}

/** A box to tick. */
export function tick(id, label, checked, onChange) {
  const input = h("input", { id, type: "checkbox", onchange: () => onChange(input.checked) });
  input.checked = checked;
  return h("label", { class: "tick" }, input, h("span", {}, label));
}

/** A button. */
export function button(text, onClick, attributes = {}) {
  return h("button", { type: "button", onclick: onClick, ...attributes }, text);
}
