/** One indicator in depth: its light and reason, its course, what it was before, its parts, and the cases behind it. */

import { ApiError, get, signInLink } from "../shared/api.js";
import { at, make } from "../shared/dom.js";
import { formatTime } from "../shared/format.js";
import { locale, nameOf } from "../shared/texts.js";
import { bigValue } from "./cards.js";
import { drawChart } from "./chart.js";
import { light } from "./light.js";
import { belowText, changeText, hasGoal, howKnown, known, monthName, newsText, partsText, reasonText, targetText, thanText } from "./reasons.js";
import { firstDay, lengthOf, moved, periodName, yearBefore } from "./state.js";
import { texts } from "./texts.js";

const EVENTS = 50;
/** Of which parts a number can be made. @type {Record<string, string[]>} */
const PARTS = { ratio: ["numerator", "denominator"], balance: ["plus", "minus"] };
/** Which widths the course of a period can have, the first one when nothing is said. @type {Record<import("./state.js").Length, string[]>} */
const WIDTHS = { day: ["day", "hour"], month: ["month", "day"], quarter: ["quarter", "month"], year: ["year", "quarter", "month"] };
const LONG_AGO = { hour: 0, day: 30, week: 0, month: 12, quarter: 8, year: 5 };

/** @typedef {import("./reasons.js").Overview} Overview */
/** @typedef {import("./reasons.js").Item} Item */
/** @typedef {import("./reasons.js").Kpi} Kpi */
/** @typedef {import("./reasons.js").Judged} Judged */
/** @typedef {import("./state.js").State} State */
/** @typedef {{source: string, id: string, type: string, subject: string | null, time: string, belongs_at: string, area: string, case: string | null, dims: Record<string, string>, counted: {part: string, measured?: number, what?: string, in_time?: boolean}[]}} Behind */
/**
 * @typedef {{overview: Overview, item: Item, kpi: Kpi, kind: string, state: State, nowMs: number, isIn: boolean, isPast: boolean,
 *   course: Judged[] | null, courseRefused: string, step: string, whole: {before: import("./reasons.js").Bucket, year: import("./reasons.js").Bucket} | null,
 *   split: (Judged & {dim?: string})[] | null, areaName: (id: string) => string, go: (changes: Partial<State>) => void,
 *   link: (changes: Partial<State>) => string}} Scene
 */

/** The question that a value answers, for the routes that take a span. @param {Overview} overview @param {Item} item @returns {Record<string, string>} */
export function spanOf(overview, item) {
  return item.standing ? { from: item.own.start, to: item.own.end } : { period: overview.period };
}

/** How wide the buckets of the course are. @param {Overview} overview @param {Item} item @param {string} asked */
export function stepOf(overview, item, asked) {
  const length = lengthOf(overview.period);
  if (item.trend_step !== length) return item.trend_step;
  return WIDTHS[length].includes(asked) ? asked : WIDTHS[length][0];
}

/** The question for the course. @param {Overview} overview @param {Item} item @param {string} step */
export function courseQuery(overview, item, step) {
  const length = lengthOf(overview.period);
  const end = overview.running ? overview.as_of : overview.to;
  let from = overview.from;
  if (step === item.trend_step) {
    const back = /** @type {Record<string, number>} */ (LONG_AGO)[step];
    const first = step === "day" ? moved(firstDay(overview.period), "day", -back) : [item.trend_from, moved(firstDay(overview.period), item.trend_step, -back)].sort()[1];
    // Noon in London is the same date in nearly every zone, and any moment of a bucket names it.
    from = `${first}T11:00:00Z`;
  }
  const query = new URLSearchParams({ area: overview.area, areas: "self", step, from, to: Date.parse(end) > Date.parse(from) ? end : overview.to, order: "code" });
  return { query, length };
}

/** What is read for this indicator alone. @param {Overview} overview @param {Item} item @param {State} state @param {AbortSignal} signal @param {Record<string, string>} when of the past as of when */
export async function readDepth(overview, item, state, signal, when) {
  const step = stepOf(overview, item, state.width);
  const { query } = courseQuery(overview, item, step);
  for (const [name, value] of Object.entries(when)) query.set(name, value);
  const id = encodeURIComponent(item.kpi);
  // Of a year the one before is also the one a year ago.
  const periods = [...new Set([yearBefore(overview.period), overview.previous, overview.period])];
  const compared = item.standing ? null : get(`/v1/kpis/${id}/compare?${new URLSearchParams({ periods: periods.join(","), areas: overview.area, ...when })}`, { signal });
  const split = state.by && !when.as_of ? get(`/v1/kpis/${id}/table?${new URLSearchParams({ area: overview.area, by: state.by, ...spanOf(overview, item) })}`, { signal }) : null;
  const course = get(`/v1/kpis/${id}/table?${query}`, { signal }).catch((error) => {
    // Hours are not kept for ever; all else is shown without them.
    if (error instanceof ApiError && error.status === 422) return { rows: [], refused: error.message };
    throw error;
  });
  const [buckets, cells, parts] = await Promise.all([course, compared, split]);
  const over = (/** @type {string} */ period) => cells.areas[0].cells.find((/** @type {{period: string}} */ cell) => cell.period === period);
  return {
    course: /** @type {Judged[]} */ (buckets.rows),
    courseRefused: /** @type {string} */ (buckets.refused ?? ""),
    step,
    whole: cells ? { year: over(yearBefore(overview.period)), before: over(overview.previous) } : null,
    split: parts ? parts.rows : null,
  };
}

/** What a bucket is called. @param {Judged} bucket @param {string} step @param {string} zone */
export function bucketName(bucket, step, zone) {
  const start = Date.parse(bucket.start);
  const day = (/** @type {Intl.DateTimeFormatOptions} */ options) => new Intl.DateTimeFormat(locale(), { timeZone: zone, ...options }).format(start);
  if (step === "hour") return day({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  if (step === "day") return day({ day: "2-digit", month: "2-digit" });
  if (step !== "quarter") return monthName(start, zone, step === "year");
  const [month, year] = monthName(start, zone).split("/");
  return `Q${Math.floor((Number(month) - 1) / 3) + 1}/${year}`;
}

/** The parts of the page that somebody may be in; they stay when the rest is drawn anew. */
export class Depth {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.head = make("div", {});
    this.trend = make("section", { class: "panel", "aria-labelledby": "trend-title" });
    this.chart = make("div", { class: "chart" });
    this.chartTable = make("div", { class: "scroll", tabindex: "0", role: "region" });
    this.trendHead = make("div", { class: "head" });
    this.chartAbout = make("p", { class: "small quiet" });
    this.trend.append(this.trendHead, this.chart, this.chartAbout, this.chartTable);
    this.compared = make("section", { class: "panel", "aria-labelledby": "compared-title" });
    this.split = make("section", { class: "panel", "aria-labelledby": "split-title" });
    this.cases = make("section", { class: "panel", "aria-labelledby": "cases-title", id: "cases" });
    root.append(this.head, this.trend, make("div", { class: "two" }, this.compared, this.split), this.cases);
    /** @type {Behind[]} */
    this.events = [];
    /** @type {string | null} */
    this.next = null;
    /** Of which question the events are. */
    this.asked = "";
    /** @type {ApiError | null} */
    this.refused = null;
    this.isReading = false;
    /** What the list of events shows. */
    this.listed = "";
    /** What the chart shows; it is made anew only when that changes. */
    this.charted = "";
  }

  /** @param {Scene} scene */
  draw(scene) {
    this.#drawHead(scene);
    this.#drawTrend(scene);
    this.#drawCompared(scene);
    this.#drawSplit(scene);
    this.#drawCases(scene);
  }

  /** @param {Scene} scene */
  #drawHead({ overview, item, kpi, kind, nowMs, link }) {
    const said = texts();
    const { own } = item;
    const goal = targetText(own, kpi);
    const facts = [howKnown(own, overview.zone), partsText(own, kpi), newsText(item, nowMs, overview.zone), item.standing || own.known ? "" : own.closed ? said.final : said.notYet].filter(Boolean).join(" · ");
    const laid = /** @type {[string, string | null][]} */ ([[said.owner, kpi.owner], [said.document, kpi.document]]).filter(([, text]) => text);
    const isHeld = this.head.contains(document.activeElement);
    this.head.replaceChildren(
      make("p", {}, make("a", { href: link({ kpi: "", width: "", by: "", cases: "", map: "" }), class: "back" }, `← ${said.back}`)),
      make("div", { class: "panel depth-head", "data-status": own.status },
        make("div", {}, make("h2", { id: "depth-title", tabindex: "-1" }, nameOf(item.names, item.kpi)), make("p", { class: "row" }, light(own), goal && make("span", { class: "quiet" }, goal))),
        bigValue(item, kpi),
        hasGoal(item) ? make("p", { class: "reason" }, [reasonText(own, kpi), belowText(item, kind)].filter(Boolean).join("; ")) : make("p", { class: "quiet" }, said.noGoal),
        make("p", { class: "small quiet" }, facts),
        laid.length > 0 && make("dl", { class: "laid small" }, ...laid.flatMap(([name, text]) => [make("dt", { class: "quiet" }, name), make("dd", {}, text ?? "")]))));
    if (isHeld) /** @type {HTMLElement | null} */ (this.head.querySelector(".back"))?.focus();
  }

  /** @param {Scene} scene */
  #drawTrend({ overview, item, kpi, course, courseRefused, step, go }) {
    const said = texts();
    const widths = item.trend_step === lengthOf(overview.period) ? WIDTHS[item.trend_step] : [item.trend_step];
    if (!this.trendHead.contains(document.activeElement)) {
      const select = make("select", { id: "width" });
      select.append(...widths.map((one) => new Option(/** @type {Record<string, string>} */ (said.widths)[one], one, false, one === step)));
      select.addEventListener("change", () => go({ width: select.value === widths[0] ? "" : select.value }));
      this.trendHead.replaceChildren(make("h3", { id: "trend-title" }, said.trend), make("label", {}, make("span", {}, said.width), select));
    }
    const buckets = course ?? [];
    const named = (/** @type {Judged} */ bucket) => bucketName(bucket, step, overview.zone);
    const key = JSON.stringify([buckets.map((one) => [one.start, one.value, one.first?.value, one.lower, one.upper, one.target]), locale(), document.documentElement.dataset.theme, matchMedia("(prefers-color-scheme: dark)").matches, this.chart.clientWidth]);
    if (key !== this.charted) {
      this.charted = key;
      this.chart.replaceChildren();
      if (buckets.length > 0) drawChart(this.chart, buckets, kpi, named);
    }
    const isRedrawn = buckets.some((one) => one.exact === false);
    const values = buckets.filter((one) => one.value !== null).length;
    this.chartAbout.textContent = courseRefused || [said.chartAbout(nameOf(item.names, item.kpi), values), values < buckets.length ? said.gapsWhy : "", isRedrawn ? said.boundsWhy : ""].filter(Boolean).join(" ");
    this.chartTable.setAttribute("aria-label", said.trend);
    // Where nothing was ever judged, two columns would say so over and over.
    const isJudged = buckets.some((one) => one.reason !== "no_goal");
    const heads = [said.period, said.corrected, said.first, ...(isJudged ? [said.target, said.light_] : []), said.state];
    this.chart.hidden = courseRefused !== "";
    this.chartTable.hidden = courseRefused !== "";
    this.chartTable.replaceChildren(make("table", { id: "course" },
      make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col", class: [said.corrected, said.first, said.target].includes(text) ? "number" : "" }, text)))),
      make("tbody", {}, ...[...buckets].reverse().map((one) => make("tr", {},
        make("th", { scope: "row" }, named(one)),
        make("td", { class: "number" }, known(one, kpi)),
        make("td", { class: "number", "data-corrected": one.corrected_at ? "yes" : "no" }, one.first ? known(one.first, kpi) : ""),
        isJudged && make("td", { class: "number" }, one.target === undefined ? "" : known({ value: one.target }, kpi)),
        isJudged && make("td", {}, light(one)),
        make("td", { class: "small" }, one.known ? howKnown(one, overview.zone) : one.corrected_at ? `${said.correctedAt} ${formatTime(Date.parse(one.corrected_at), Date.now(), locale(), overview.zone)}` : one.closed ? said.final : said.notYet))))));
  }

  /** @param {Scene} scene */
  #drawCompared({ overview, item, kpi, whole }) {
    const said = texts();
    const rows = /** @type {[string, import("./reasons.js").Bucket, string][]} */ ([
      [`${said.thisPeriod}${overview.running ? ` (${said.soFar})` : ""}`, item.own, ""],
      [thanText(item, overview.running), item.before, changeText(item.change, kpi)],
      [`${said.thanYear}${overview.running && !item.standing ? ` (${said.soFar})` : ""}`, item.year_ago, changeText(item.year_change, kpi)],
    ]);
    if (overview.running && whole) rows.push([`${said.wholeBefore} (${periodName(overview.previous, locale())})`, whole.before, ""], [`${said.wholeYear} (${periodName(yearBefore(overview.period), locale())})`, whole.year, ""]);
    this.compared.replaceChildren(make("h3", { id: "compared-title" }, said.compared), make("table", { id: "comparison" },
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, said.period), make("th", { scope: "col", class: "number" }, said.value), make("th", { scope: "col" }, said.difference))),
      make("tbody", {}, ...rows.map(([name, value, change]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "number" }, known(value, kpi)), make("td", { class: "small" }, [change, howKnown(value, overview.zone)].filter(Boolean).join("; ")))))));
  }

  /** @param {Scene} scene */
  #drawSplit({ kpi, split, state, go, isPast }) {
    const said = texts();
    this.split.hidden = kpi.dimensions.length === 0 || isPast;
    if (this.split.hidden || (document.activeElement instanceof HTMLSelectElement && this.split.contains(document.activeElement) && split === null)) return;
    const select = make("select", { id: "by" });
    select.append(new Option("—", ""), ...kpi.dimensions.map((one) => new Option(one, one, false, one === state.by)));
    select.addEventListener("change", () => go({ by: select.value }));
    const isHeld = this.split.contains(document.activeElement);
    const rows = split ?? [];
    const most = Math.max(...rows.map((row) => Math.abs(row.value ?? 0)), 0);
    /** @type {Node[]} */
    const parts = [make("div", { class: "head" }, make("h3", { id: "split-title" }, said.split), make("label", {}, make("span", { class: "aloud" }, said.split), select))];
    if (state.by && rows.length === 0) parts.push(make("p", { class: "quiet" }, said.noSplit));
    if (rows.length > 0) {
      parts.push(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": said.split }, make("table", { id: "parts" }, make("tbody", {}, ...rows.map((row) => {
        const bar = make("span", { class: "bar" });
        bar.style.inlineSize = `${most > 0 ? (100 * Math.abs(row.value ?? 0)) / most : 0}%`;
        return make("tr", {}, make("th", { scope: "row" }, row.dim === "" || row.dim === undefined ? "—" : row.dim), make("td", { class: "number" }, known(row, kpi)), make("td", { class: "bars", "aria-hidden": "true" }, bar));
      })))));
    }
    this.split.replaceChildren(...parts);
    if (isHeld) select.focus();
  }

  /** @param {Scene} scene */
  #drawCases(scene) {
    this.cases.hidden = scene.isPast;
    if (scene.isPast) return;
    const said = texts();
    const { overview, item, kpi, state, go, isIn } = scene;
    const question = JSON.stringify([overview.area, item.kpi, spanOf(overview, item), state.cases]);
    if (question !== this.asked) {
      [this.asked, this.events, this.next, this.refused] = [question, [], null, null];
      if (state.cases && isIn) void this.read(scene, question);
    }
    const key = JSON.stringify([question, isIn, locale(), this.events.length, this.next, this.refused?.status, this.isReading, this.events.map((one) => scene.areaName(one.area))]);
    if (key === this.listed) return;
    this.listed = key;
    /** @type {(Node | false)[]} */
    const parts = [make("h3", { id: "cases-title" }, said.cases)];
    if (!isIn) {
      parts.push(make("p", { class: "quiet" }, said.signInFirst, " ", make("a", { href: signInLink() }, said.signIn)));
    } else if (!state.cases) {
      const open = make("button", { type: "button", id: "show-cases" }, said.showCases);
      open.addEventListener("click", () => go({ cases: "all" }));
      parts.push(open);
    } else {
      const named = PARTS[kpi.measure] ?? [];
      if (named.length > 0) {
        parts.push(make("div", { class: "row", role: "group", "aria-label": said.part }, ...["all", ...named].map((one) =>
          make("a", { class: "button", href: scene.link({ cases: one }), "aria-current": state.cases === one ? "true" : undefined }, one === "all" ? said.allParts : /** @type {Record<string, string>} */ (said.parts)[one]))));
      }
      parts.push(make("p", { class: "small quiet" }, said.casesAbout));
      if (this.refused) {
        const words = { 401: said.signInFirst, 403: said.notForYou, 409: said.notKept };
        parts.push(make("p", { class: "notice warn" }, /** @type {Record<number, string>} */ (words)[this.refused.status] ?? this.refused.message));
      } else if (this.events.length === 0) {
        parts.push(make("p", { class: "quiet", role: "status" }, this.isReading ? said.loading : said.noEvents));
      } else {
        parts.push(this.#eventTable(scene));
      }
      if (this.next !== null) {
        const more = make("button", { type: "button", class: "wide" }, said.moreEvents);
        more.addEventListener("click", () => void this.read(scene, question));
        parts.push(more);
      }
    }
    const isHeld = this.cases.contains(document.activeElement);
    this.cases.replaceChildren(...parts.filter((part) => part !== false));
    if (isHeld) {
      const heading = at("cases-title");
      heading.tabIndex = -1;
      heading.focus();
    }
  }

  /** @param {Scene} scene */
  #eventTable({ overview, kpi, areaName }) {
    const said = texts();
    const hasMeasure = this.events.some((one) => one.counted.some((how) => how.measured !== undefined || how.in_time !== undefined));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": said.cases }, make("table", { id: "events" },
      make("thead", {}, make("tr", {}, ...[said.when, said.what, said.area, ...(hasMeasure ? [said.measured] : []), ""].map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...this.events.map((one) => make("tr", {},
        make("td", {}, make("time", { datetime: one.belongs_at }, formatTime(Date.parse(one.belongs_at), Date.now(), locale(), overview.zone))),
        make("td", {}, make("span", {}, one.subject ?? one.id), " ", make("span", { class: "small quiet" }, Object.values(one.dims).filter(Boolean).join(", "))),
        make("td", {}, areaName(one.area)),
        hasMeasure && make("td", { class: "number" }, one.counted.map((how) => measured(how, kpi)).filter(Boolean).join("; ")),
        make("td", {}, one.case !== null ? make("a", { href: `operator#${encodeURIComponent(one.case)}` }, said.openCase) : make("span", { class: "small quiet" }, `${one.source} ${one.id}`)))))));
  }

  /** The next page of the events. @param {Scene} scene @param {string} question */
  async read(scene, question) {
    const { overview, item, state } = scene;
    this.isReading = true;
    const query = new URLSearchParams({ area: overview.area, ...spanOf(overview, item), limit: String(EVENTS) });
    if (state.cases !== "all") query.set("part", state.cases);
    if (this.next !== null) query.set("before", this.next);
    try {
      const page = await get(`/v1/kpis/${encodeURIComponent(item.kpi)}/events?${query}`);
      if (question !== this.asked) return;
      this.events = [...this.events, ...page.items];
      this.next = page.next;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (question !== this.asked) return;
      this.refused = error;
    } finally {
      this.isReading = false;
      if (question === this.asked) this.#drawCases(scene);
    }
  }
}

/** @param {{part: string, measured?: number, what?: string, in_time?: boolean}} how @param {Kpi} kpi */
function measured(how, kpi) {
  const said = texts();
  if (how.in_time !== undefined) return how.in_time ? said.inTime : said.late;
  if (how.measured === undefined || how.measured === null) return how.what ?? "";
  // Of a share its parts are counted, not shared.
  return known({ value: how.measured }, kpi.measure === "ratio" ? { ...kpi, measure: "sum", unit: "1" } : kpi);
}
