/**
 * What fits on one page for a meeting?
 *
 * The indicators that have a target, the worst first, each with its light, reason and course; who is furthest behind and
 * ahead; and what is not final yet. It is kept up to date beside the board, and is what is printed.
 */

import { make } from "../shared/dom.js";
import { locale, nameOf } from "../shared/texts.js";
import { countLights } from "./cards.js";
import { light, tally } from "./light.js";
import { belowText, changeText, fullTime, hasGoal, howKnown, known, reasonText, shown, targetText, thanText, worseFirst } from "./reasons.js";
import { spark } from "./spark.js";
import { periodName } from "./state.js";
import { texts } from "./texts.js";

/** More rows than ever fit. */
const ROWS_MAX = 24;
/** What A4 leaves between its margins, less a little for a printer that counts otherwise, in pixels of 1/96 inch. */
const HEIGHT_MAX = (268 / 25.4) * 96;
const ENDS = 3;
const MULTIPLES = 3;

/** @typedef {import("./cards.js").Scene} Scene */
/** @typedef {import("./reasons.js").Item} Item */

/** What the page shows; it is made anew only when that changes. */
let drawn = "";

/**
 * Makes the page, with as many rows as it has room for.
 * @param {HTMLElement} root @param {Scene} scene @param {string} siteName @param {string} reader
 */
export function drawReport(root, scene, siteName, reader) {
  const { overview } = scene;
  const key = JSON.stringify([overview.area, overview.period, overview.as_of, locale(), siteName, reader]);
  if (key === drawn) return;
  drawn = key;
  const count = Math.min(ROWS_MAX, overview.items.filter(hasGoal).length);
  root.classList.add("measured");
  // The small charts go first, then the rows of those that stand best.
  for (let [rows, multiples] = [count, MULTIPLES]; ; [rows, multiples] = multiples > 0 ? [rows, 0] : [rows - 1, 0]) {
    fill(root, scene, siteName, reader, rows, multiples);
    if (rows <= 1 || root.offsetHeight <= HEIGHT_MAX) break;
  }
  root.classList.remove("measured");
}

/** @param {HTMLElement} root @param {Scene} scene @param {string} siteName @param {string} reader @param {number} rowsMax @param {number} multiplesMax */
function fill(root, scene, siteName, reader, rowsMax, multiplesMax) {
  const said = texts();
  const { overview, kpis, kind } = scene;
  const judged = overview.items.filter(hasGoal).sort(worseFirst);
  const rows = judged.slice(0, rowsMax);
  const counts = countLights(judged);
  const moment = (/** @type {string} */ time) => fullTime(Date.parse(time), overview.zone);
  const kpiOf = (/** @type {Item} */ item) => /** @type {import("./reasons.js").Kpi} */ (kpis.get(item.kpi));
  const parts = [
    make("header", {},
      make("p", { class: "site" }, siteName),
      make("h1", {}, `${said.reportTitle}: ${nameOf(overview.names, overview.area)}`),
      make("p", {}, make("strong", {}, `${periodName(overview.period, locale())}${overview.running ? ` (${said.soFar})` : ""}`), ` · ${said.generated(moment(overview.as_of))}`, scene.notLive === "" ? null : make("strong", { class: "not-live" }, ` · ${scene.notLive}`), reader === "" ? null : ` · ${said.reportBy(reader)}`)),
  ];
  if (judged.length === 0) {
    parts.push(make("p", { class: "nothing" }, said.nothingJudged));
  } else {
    parts.push(
      make("p", { class: "summary" }, `${said.summary(judged.length)} `, tally(counts, said.light), " ", ...legend(counts)),
      make("table", { class: "rows" },
        make("thead", {}, make("tr", {}, ...[said.light_, said.indicator, said.value, said.whyLight, said.trend].map((text) => make("th", { scope: "col" }, text)))),
        make("tbody", {}, ...rows.map((item) => row(item, kpiOf(item), kind, overview.running, overview.zone)))),
    );
    const known_ = judged.filter((item) => item.own.attainment !== undefined);
    const worst = known_.filter((item) => item.own.status !== "good").slice(0, ENDS);
    const best = known_.filter((item) => item.own.status === "good").sort((a, b) => (b.own.attainment ?? 0) - (a.own.attainment ?? 0)).slice(0, ENDS);
    const areas = [...overview.below].filter((area) => judgedOf(area) > 0);
    areas.sort((a, b) => b.counts.bad - a.counts.bad || b.counts.warning - a.counts.warning || goodShare(a) - goodShare(b) || a.code.localeCompare(b.code));
    const few = Math.min(ENDS, Math.floor(areas.length / 2));
    const ofKpi = (/** @type {Item} */ item) => `${nameOf(item.names, item.kpi)}: ${reasonText(item.own, kpiOf(item))}`;
    const ofArea = (/** @type {import("./reasons.js").Below} */ area) => `${nameOf(area.names, area.code)}: ${said.onTarget(area.counts.good, judgedOf(area))}`;
    parts.push(make("div", { class: "ends" },
      list(said.worstKpis, worst.map(ofKpi)), list(said.bestKpis, best.map(ofKpi)),
      list(said.worstAreas, areas.slice(0, few).map(ofArea)), list(said.bestAreas, areas.slice(areas.length - few).reverse().filter((area) => area.counts.good > 0).map(ofArea))));
    const charted = rows.filter((item) => item.trend.filter((value) => value !== null).length > 1).slice(0, multiplesMax);
    if (charted.length > 0) {
      parts.push(make("div", { class: "multiples" }, ...charted.map((item) => make("figure", {},
        make("figcaption", {}, make("strong", {}, nameOf(item.names, item.kpi)), ` ${ends(item, kpiOf(item))}`),
        spark(item.trend, item.own.target, nameOf(item.names, item.kpi), { width: 200, height: 60 }),
        make("p", { class: "step" }, said.trendOf(/** @type {Record<string, string>} */ (said.widths)[item.trend_step]))))));
    }
  }
  const open = judged.filter((item) => !item.own.closed).length;
  const final = overview.running ? said.notFinalRunning(moment(overview.to)) : open > 0 ? said.notFinalOpen(open) : judged.length > 0 ? said.allFinal : "";
  const left = overview.items.length - judged.length;
  parts.push(make("footer", {},
    make("p", {}, make("strong", {}, final)),
    make("p", {}, [judged.length > rows.length ? said.notShown(judged.length - rows.length) : "", left > 0 ? said.leftOut(left) : ""].filter(Boolean).join(" ")),
    make("p", { class: "quiet" }, `${said.times(overview.zone)} · ${said.position} ${overview.position}`)));
  root.replaceChildren(...parts);
  root.lang = document.documentElement.lang;
}

/** @param {Item} item @param {import("./reasons.js").Kpi} kpi @param {string} kind @param {boolean} isRunning @param {string} zone */
function row(item, kpi, kind, isRunning, zone) {
  const { own } = item;
  const change = changeText(item.change, kpi, thanText(item, isRunning));
  const how = howKnown(own, zone);
  const first = own.corrected_at && own.first ? texts().firstWas(known(own.first, kpi)) : "";
  return make("tr", { "data-kpi": item.kpi, "data-status": own.status },
    make("td", {}, light(own)),
    make("th", { scope: "row" }, nameOf(item.names, item.kpi)),
    make("td", { class: "number" }, make("strong", {}, known(own, kpi)), make("br"), make("span", { class: "goal" }, targetText(own, kpi))),
    make("td", {}, [reasonText(own, kpi), belowText(item, kind), change, first, how].filter(Boolean).join("; ")),
    make("td", {}, spark(item.trend, own.target, "")));
}

/** The first and the last value of a trend. @param {Item} item @param {import("./reasons.js").Kpi} kpi */
function ends(item, kpi) {
  const values = item.trend.filter((value) => value !== null);
  return values.length > 1 ? `${shown(values[0], kpi)} → ${shown(values[values.length - 1], kpi)}` : "";
}

/** What the shapes mean. @param {Record<string, number>} counts */
function legend(counts) {
  const words = texts().light;
  const named = /** @type {const} */ (["bad", "warning", "good", "none"]).filter((status) => counts[status] > 0).map((status) => `${counts[status]} ${words[status].toLocaleLowerCase(locale())}`);
  return [make("span", { class: "legend" }, named.join(", "))];
}

/** @param {string} title @param {string[]} lines */
function list(title, lines) {
  return lines.length === 0 ? null : make("section", {}, make("h2", {}, title), make("ol", {}, ...lines.map((line) => make("li", {}, line))));
}

/** @param {import("./reasons.js").Below} area */
const judgedOf = (area) => area.counts.good + area.counts.warning + area.counts.bad;

/** @param {import("./reasons.js").Below} area */
const goodShare = (area) => area.counts.good / Math.max(1, judgedOf(area));
