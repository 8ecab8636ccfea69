/** What do several sections show in the same way: mistakes, differences, what is empty or failed? */

import { ApiError } from "../shared/api.js";
import { make } from "../shared/dom.js";
import { nameOf } from "../shared/texts.js";
import { Refusal } from "./ask.js";
import { t } from "./texts.js";
import { effectWords, keyWords, kindName } from "./words.js";

/** @typedef {import("./ask.js").Preview} Preview @typedef {import("./ask.js").Mistake} Mistake @typedef {import("./ask.js").FileDiff} FileDiff */

/** A section's head. @param {string} title @param {...(Node | null | false)} tools */
export const head = (title, ...tools) =>
  make("div", { class: "head" }, make("h2", { id: "view-title", text: title }), make("div", { class: "row" }, ...tools));

/** @param {Mistake[]} mistakes */
export function mistakeList(mistakes) {
  const rows = mistakes.map((one) => {
    const where = one.line === null ? `${one.file}: ${one.position}` : `${one.file}, ${t().lineOf(one.line)}`;
    return make("li", {},
      make("p", {}, make("strong", { text: where }), " — ", one.reason),
      make("p", { class: "fix", text: one.fix }),
      make("a", { href: `#/files/${encodeURIComponent(one.file)}${one.line === null ? "" : `/${one.line}`}`, text: `${t().open}: ${one.file}` }));
  });
  return make("div", { class: "notice bad mistakes", role: "alert" }, make("h3", { text: `${t().wrongHead} (${mistakes.length})` }), make("ol", {}, ...rows));
}

/** What a change does, in words and line by line. @param {Preview} preview @param {{withDiff?: boolean}} [options] */
export function previewParts(preview, { withDiff = true } = {}) {
  const parts = [];
  if (preview.mistakes.length) parts.push(mistakeList(preview.mistakes));
  if (preview.changes.length) {
    parts.push(make("div", { class: "panel part" }, make("h3", { text: t().whatChanges }), make("ul", { class: "changes" }, ...preview.changes.map(changeRow))));
  }
  const cared = [...preview.effects].sort((a, b) => Number(b.needs_care) - Number(a.needs_care));
  if (cared.length) {
    const rows = cared.map((one) => make("li", { class: one.needs_care ? "care" : undefined }, make("strong", { text: one.about.join(", ") }), " ", effectWords(one)));
    parts.push(make("div", { class: "panel part" }, make("h3", { text: t().whatFollows }), make("ul", { class: "effects" }, ...rows)));
  }
  if (withDiff) parts.push(make("div", { class: "panel part" }, make("h3", { text: t().textChanges }), ...preview.diffs.map(diffNode)));
  return parts;
}

/** @param {import("./ask.js").EntryChange} one */
function changeRow(one) {
  const words = t().changeWords[one.change];
  const fields = one.fields.map((field) =>
    make("li", {}, make("span", { class: "quiet", text: `${keyWords(field.key)}: ` }), make("del", { text: shown(field.before) }), " → ", make("ins", { text: shown(field.after) })));
  return make("li", { "data-change": one.change },
    make("p", {}, make("span", { class: "badge", text: words }), " ", make("span", { class: "quiet", text: kindName(one.kind) }), " ", make("strong", { text: nameOf(one.names, one.id) }), " ", make("code", { text: one.id })),
    fields.length > 0 && make("ul", { class: "field-changes" }, ...fields));
}

/** @param {unknown} value */
function shown(value) {
  if (value === null || value === undefined) return t().nothing;
  return typeof value === "string" ? value : typeof value === "number" ? value.toLocaleString() : JSON.stringify(value);
}

/** @param {FileDiff} file */
export function diffNode(file) {
  const lines = file.diff.parts.flatMap((part, n) => [
    n > 0 && make("tr", { class: "gap" }, make("td", { colspan: "4", text: "⋯" })),
    ...part.map((line) =>
      make("tr", { "data-mark": line.mark },
        make("td", { class: "number", text: line.before === null ? "" : String(line.before) }),
        make("td", { class: "number", text: line.after === null ? "" : String(line.after) }),
        make("td", { class: "mark", text: line.mark }),
        make("td", { class: "line" }, line.mark === "-" ? make("del", { text: line.text }) : line.mark === "+" ? make("ins", { text: line.text }) : line.text))),
  ]);
  return make("figure", { class: "diff" },
    make("figcaption", {}, make("strong", { text: file.name }), " ", make("span", { class: "quiet small", text: `${t().changeWords[file.change]} · +${file.diff.added} −${file.diff.removed}` })),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": file.name }, make("table", {}, make("tbody", {}, ...lines))),
    file.diff.is_cut && make("p", { class: "quiet small", text: t().more }));
}

/** What went wrong, with what to do. @param {unknown} error */
export function failure(error) {
  if (error instanceof Refusal && error.mistakes.length) return mistakeList(error.mistakes);
  const words = error instanceof ApiError ? [error.message, error.fix ?? ""] : [String(error), ""];
  return make("div", { class: "notice bad", role: "alert" }, make("p", {}, make("strong", { text: t().failed }), ": ", words[0]), words[1] !== "" && make("p", { class: "fix", text: words[1] }));
}

/** A table. @param {string[]} heads @param {(Node | string)[][]} rows */
export function table(heads, rows) {
  return make("div", { class: "scroll" }, make("table", { class: "list-table" },
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col", text })))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)))))));
}

/** @param {string} text */
export const quiet = (text) => make("p", { class: "quiet", text });
