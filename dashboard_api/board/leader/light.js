/** What does a light look like? A shape and a word; the colour only helps. */

import { make } from "../shared/dom.js";
import { lightWord } from "./reasons.js";

const SVG = "http://www.w3.org/2000/svg";

/** A circle is good, a triangle a warning, a square bad, a dashed ring none. @type {Record<string, [string, Record<string, string>]>} */
const SHAPES = {
  good: ["circle", { cx: "8", cy: "8", r: "6.5" }],
  warning: ["path", { d: "M8 1.2L15.2 14.5H.8Z" }],
  bad: ["rect", { x: "1.5", y: "1.5", width: "13", height: "13", rx: "1.5" }],
  none: ["circle", { cx: "8", cy: "8", r: "6", class: "hollow" }],
};

/** @param {string} name @param {Record<string, string | number>} attributes @param {...Node} inside */
export function svg(name, attributes, ...inside) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...inside);
  return made;
}

/** The shape alone. @param {string} status */
export function shape(status) {
  const [name, attributes] = SHAPES[status] ?? SHAPES.none;
  return svg("svg", { viewBox: "0 0 16 16", class: "shape", "data-status": status, "aria-hidden": "true" }, svg(name, attributes));
}

/** The shape and the word. @param {import("./reasons.js").Judged} own */
export function light(own) {
  return make("span", { class: "light", "data-status": own.status }, shape(own.status), lightWord(own));
}

/** How many there are of each status. @param {Record<string, number>} counts @param {Record<string, string>} words */
export function tally(counts, words) {
  const list = make("span", { class: "tally" });
  for (const status of ["bad", "warning", "good", "none"]) {
    if (!counts[status]) continue;
    list.append(make("span", { class: "light", "data-status": status, title: words[status] }, shape(status), String(counts[status]), make("span", { class: "aloud" }, ` ${words[status]}; `)));
  }
  return list;
}
