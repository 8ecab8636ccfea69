/**
 * Who stands where? The areas below in one indicator, with rank and light, and all their lights together.
 *
 * The areas directly below are all there, page by page. Of the smallest of a whole country only both ends are.
 */

import { make } from "../shared/dom.js";
import { nameOf } from "../shared/texts.js";
import { light, tally } from "./light.js";
import { distance, howKnown, known, reasonText } from "./reasons.js";
import { texts } from "./texts.js";

const PAGE = 25;
export const ENDS = 20;

/** @typedef {import("./reasons.js").Judged & import("./reasons.js").Area & {area: string, rank?: number, dim?: string}} Row */
/** @typedef {{rows: Row[], total: number}} Table */
/**
 * @typedef {{rows: Row[], worst: Row[] | null, total: number, sort: "best" | "worst" | "name", words: string, page: number,
 *   lights: Map<string, import("./reasons.js").Below>, kpi: import("./reasons.js").Kpi, link: (changes: Partial<import("./state.js").State>) => string,
 *   turn: (page: number) => void, pick: (id: string) => string, zone: string}} Shown  `worst` is there when only both ends are shown
 */

/** Folds a name for searching: without marks, in lower case. @param {string} text */
export function folded(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").replace(/đ/gi, "d").toLowerCase();
}

/** @param {HTMLElement} root @param {Shown} shown */
export function drawAreas(root, shown) {
  const said = texts();
  if (shown.rows.length === 0) {
    root.replaceChildren(make("p", { class: "quiet" }, said.noAreas));
    return;
  }
  if (shown.worst !== null) {
    root.replaceChildren(
      make("div", { class: "two" },
        make("section", {}, make("h3", {}, said.worstOf(shown.worst.length, shown.total)), table(shown.worst, shown)),
        make("section", {}, make("h3", {}, said.bestOf(shown.rows.length, shown.total)), table(shown.rows, shown))),
    );
    return;
  }
  const words = folded(shown.words.trim());
  const named = shown.rows.filter((row) => words === "" || folded(Object.values(row.names).join(" ")).includes(words) || row.code === words);
  if (shown.sort === "worst") named.sort((a, b) => (b.rank ?? 0) - (a.rank ?? 0) || nameOf(a.names, a.code).localeCompare(nameOf(b.names, b.code)));
  if (shown.sort === "best") named.sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity));
  if (shown.sort === "name") named.sort((a, b) => nameOf(a.names, a.code).localeCompare(nameOf(b.names, b.code)));
  const pages = Math.max(1, Math.ceil(named.length / PAGE));
  const page = Math.min(shown.page, pages - 1);
  const first = page * PAGE;
  const inside = named.slice(first, first + PAGE);
  const sorts = make("div", { class: "row", role: "group", "aria-label": said.order }, .../** @type {const} */ ([["worst", said.rankLast], ["best", said.rankFirst], ["name", said.byName]]).map(([sort, word]) =>
    make("a", { class: "button", href: shown.link({ sort }), "aria-current": shown.sort === sort ? "true" : undefined, "data-sort": sort }, word)));
  /** @type {(Node | null)[]} */
  const parts = [sorts, inside.length > 0 ? table(inside, shown) : make("p", { class: "quiet" }, said.noArea)];
  if (pages > 1) {
    parts.push(make("div", { class: "row pager" },
      button(said.prevPage, page > 0, () => shown.turn(page - 1), "prev"),
      make("span", { class: "small" }, said.page(first + 1, first + inside.length, named.length)),
      button(said.nextPage, page < pages - 1, () => shown.turn(page + 1), "next")));
  }
  root.replaceChildren(...parts.filter((part) => part !== null));
}

/** @param {string} text @param {boolean} isOn @param {() => void} act @param {string} name */
function button(text, isOn, act, name) {
  const made = make("button", { type: "button", "data-turn": name, "aria-disabled": isOn ? undefined : "true" }, text);
  if (isOn) made.addEventListener("click", act);
  return made;
}

/** @param {Row[]} rows @param {Shown} shown */
function table(rows, shown) {
  const said = texts();
  const hasGap = rows.some((row) => row.gap !== undefined);
  const isJudged = rows.some((row) => row.reason !== "no_goal");
  const isPast = rows.some((row) => row.known !== undefined);
  const hasLights = rows.some((row) => shown.lights.has(row.area));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": said.below }, make("table", { class: "areas" },
    make("thead", {}, make("tr", {},
      ...[said.rank, said.area, said.value, isPast && said.howKnown, isJudged && said.light_, hasGap && said.gap, hasLights && said.allLights].filter((text) => typeof text === "string").map((text, at) => make("th", { scope: "col", class: at === 0 || text === said.value || text === said.gap ? "number" : "" }, text)))),
    make("tbody", {}, ...rows.map((row) => {
      const name = nameOf(row.names, row.code);
      const lights = shown.lights.get(row.area);
      return make("tr", { "data-area": row.area, "data-status": row.status },
        make("td", { class: "number" }, row.rank === undefined || row.rank === null ? "—" : String(row.rank)),
        make("th", { scope: "row" }, make("a", { href: shown.pick(row.area), title: said.openArea(name) }, name)),
        make("td", { class: "number" }, known(row, shown.kpi)),
        isPast && make("td", { class: "small" }, howKnown(row, shown.zone)),
        isJudged && make("td", { title: reasonText(row, shown.kpi) }, light(row)),
        hasGap && make("td", { class: "number" }, row.gap === undefined ? "" : `${row.gap > 0 ? "+" : row.gap < 0 ? "−" : "±"}${distance(row.gap, shown.kpi)}`),
        hasLights && make("td", {}, lights ? tally(lights.counts, said.light) : ""));
    }))));
}
