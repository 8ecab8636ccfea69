/**
 * Why is a light red, and what has changed?
 *
 * Words for what the centre has judged. Pure functions of its answers.
 */

import { formatCount, formatUnit, formatValue } from "../shared/format.js";
import { locale } from "../shared/texts.js";
import { duration } from "../shared/time.js";
import { dayOf } from "./state.js";
import { texts } from "./texts.js";

/** @typedef {"good" | "warning" | "bad" | "none"} Status */
/** @typedef {import("../shared/format.js").Kpi & {direction: "higher" | "lower" | null, thresholds: {warning: number, bad: number} | null, pillar: string | null, group: string | null, owner: string | null, document: string | null, dimensions: string[], parts: string[], target: object[]}} Kpi */
/** @typedef {{value: number | null, n?: number, numerator?: number | null, denominator?: number | null, exact?: boolean, lower?: number | null, upper?: number | null}} Value */
/** @typedef {Value & {start: string, end: string, closed?: boolean, first?: Value, corrected_at?: string, known?: "final" | "first" | "part" | "none", until?: string}} Bucket */
/** @typedef {Bucket & {status: Status, reason: string, target?: number, attainment?: number, gap?: number}} Judged */
/** @typedef {{absolute: number | null, relative?: number, better?: boolean, exact?: boolean}} Change */
/** @typedef {{id: string, code: string, list: string, kind: string, names: Record<string, string>}} Area */
/** @typedef {{area: string, names: Record<string, string>, value: number, status: Status}} Placed */
/**
 * @typedef {{kpi: string, names: Record<string, string>, own: Judged, standing: boolean, before: Bucket, change: Change,
 *   year_ago: Bucket, year_change: Change, trend_step: import("./state.js").Length, trend_from: string,
 *   trend: (number | null)[], counts: Record<Status, number> | null, best: Placed[], worst: Placed[],
 *   freshness: "fresh" | "stale" | "never", heard_at: string | null, pillar: string | null, group: string | null}} Item
 */
/** @typedef {Area & {counts: Record<Status, number>, has_below: boolean}} Below */
/** @typedef {{list: string, valid_from: string | null, valid_to: string | null, areas: (Area & {whole: boolean})[]}} OtherMap */
/**
 * @typedef {{area: string, names: Record<string, string>, kind: string, list: string, zone: string, path: Area[],
 *   maps: OtherMap[], below: Below[], period: string, previous: string, next: string, from: string, to: string,
 *   running: boolean, before_to: string, position: string, as_of: string, items: Item[]}} Overview
 */

/** The statuses, the worst first. */
export const STATUSES = /** @type {const} */ (["bad", "warning", "good", "none"]);

/** A number with its unit. @param {number} value @param {Kpi} kpi */
export function shown(value, kpi) {
  const unit = formatUnit(value, kpi);
  return `${formatValue(value, kpi, locale())}${unit ? `\u00a0${unit}` : ""}`;
}

/** A value as far as it is known: the number, or its bounds. @param {Value} value @param {Kpi} kpi */
export function known(value, kpi) {
  if (value.exact !== false) return value.value === null ? "—" : shown(value.value, kpi);
  const said = texts();
  const [lower, upper] = [value.lower ?? null, value.upper ?? null];
  if (lower !== null && lower === upper) return shown(lower, kpi);
  if (lower !== null && upper !== null) return said.between(shown(lower, kpi), shown(upper, kpi));
  if (lower !== null) return said.atLeast(shown(lower, kpi));
  return upper !== null ? said.atMostIs(shown(upper, kpi)) : said.inexact;
}

/** How it is known what a value of the past was. @param {Bucket} bucket @param {string} zone */
export function howKnown(bucket, zone) {
  const said = texts();
  if (bucket.known === "part" && bucket.until) return said.knownUntil(fullTime(Date.parse(bucket.until), zone));
  return bucket.known ? said.known[bucket.known] : "";
}

/** How far apart two values are: of shares in points. @param {number} gap @param {Kpi} kpi */
export function distance(gap, kpi) {
  if (formatUnit(1, kpi) !== "%") return shown(Math.abs(gap), kpi);
  const points = Math.abs(gap) * (kpi.unit === "%" ? 1 : 100);
  return texts().points(new Intl.NumberFormat(locale(), { maximumFractionDigits: points < 1 ? 2 : points < 10 ? 1 : 0 }).format(points));
}

/** What the light is called. @param {Judged} own */
export function lightWord(own) {
  const words = /** @type {Record<string, string>} */ (texts().light);
  return own.status === "none" ? words[own.reason] ?? words.none : words[own.status];
}

/** The target as it is read. @param {Judged} own @param {Kpi} kpi */
export function targetText(own, kpi) {
  return own.target === undefined ? "" : texts().targetIs(kpi.direction === "lower" ? "≤" : "≥", shown(own.target, kpi));
}

/** Why the light is what it is. @param {Judged} own @param {Kpi} kpi */
export function reasonText(own, kpi) {
  const said = texts();
  const value = known(own, kpi);
  const [warning, bad] = [kpi.thresholds?.warning ?? 0, kpi.thresholds?.bad ?? 0];
  if (own.reason === "no_goal") return said.noGoal;
  if (own.reason === "no_value") return said.noValue;
  if (own.reason === "uncertain") return said.uncertainBecause(value);
  if (own.target !== undefined) {
    const isLower = kpi.direction === "lower";
    const against = isLower ? said.atMost(value, shown(own.target, kpi)) : said.ofTarget(value, shown(own.target, kpi));
    const gap = own.gap === undefined || own.gap === 0 ? "" : distance(own.gap, kpi);
    if (own.reason === "target_reached") return `${against}: ${isLower ? said.kept : said.reached}`;
    return `${against}: ${isLower ? said.over(gap) : said.short(gap)}`;
  }
  if (own.reason === "past_bad") return said.pastBad(value, shown(bad, kpi));
  return own.reason === "past_warning" ? said.pastWarning(value, shown(warning, kpi)) : said.withinLimits(value, shown(warning, kpi));
}

/** How the areas below stand. @param {Item} item @param {string} kind what these areas are called */
export function belowText(item, kind) {
  const said = texts();
  if (item.counts === null) return "";
  const { good, warning, bad, none } = item.counts;
  const judged = good + warning + bad;
  if (judged === 0) return "";
  const told = bad + warning > 0 ? said.behind(bad + warning, judged, kind) : said.noneBehind(judged, kind);
  return none > 0 ? `${told}, ${said.unheard(none, kind)}` : told;
}

/** What areas of these kinds are called together. @param {{kind: string}[]} areas */
export function kindOf(areas) {
  const kinds = new Set(areas.map((area) => area.kind));
  const words = /** @type {Record<string, string>} */ (texts().kinds);
  return kinds.size === 1 ? words[[...kinds][0]] ?? texts().areasBelow : texts().areasBelow;
}

/** How a value has changed, and than what if that is said. @param {Change} change @param {Kpi} kpi @param {string} [than] */
export function changeText(change, kpi, than) {
  const said = texts();
  if (change.absolute === null || change.exact === false) return "";
  if (change.absolute === 0) return than === undefined ? said.same : said.sameAs(than);
  const isShare = formatUnit(1, kpi) === "%";
  const by = isShare || change.relative === undefined
    ? distance(change.absolute, kpi)
    : new Intl.NumberFormat(locale(), { style: "percent", maximumFractionDigits: Math.abs(change.relative) < 0.1 ? 1 : 0 }).format(Math.abs(change.relative));
  const moved = change.absolute > 0 ? said.more(by) : said.less(by);
  const told = than === undefined ? moved : said.change(moved, than);
  return change.better === undefined || change.better === null ? told : `${told} (${change.better ? said.better : said.worse})`;
}

/** Than what it has changed. @param {Item} item @param {boolean} isRunning */
export function thanText(item, isRunning) {
  return item.standing ? texts().thanStood : isRunning ? texts().thanBeforeSoFar : texts().thanBefore;
}

/** Whether there is news. @param {Item} item @param {number} nowMs @param {string} zone */
export function newsText(item, nowMs, zone) {
  const said = texts();
  if (item.heard_at === null) return said.never;
  const heardMs = Date.parse(item.heard_at);
  if (item.standing) {
    const text = said.standing(monthName(heardMs, zone, item.trend_step === "year"));
    return item.freshness === "stale" ? `${text}; ${said.noNews(duration((nowMs - heardMs) / 1000))}` : text;
  }
  const age = duration((nowMs - heardMs) / 1000);
  return item.freshness === "stale" ? said.noNews(age) : said.newsAgo(age);
}

/** A month as 09/2026, or a year. @param {number} ms @param {string} zone @param {boolean} [isYear] */
export function monthName(ms, zone, isYear = false) {
  const [year, month] = dayOf(ms, zone).split("-");
  return isYear ? year : `${month}/${year}`;
}

/** A moment with its date in full, as 14:05 30/09/2026. @param {number} ms @param {string} zone */
export function fullTime(ms, zone) {
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(ms);
  return `${clock} ${dayOf(ms, zone).split("-").reverse().join("/")}`;
}

/** Part of whole, where a value has them. @param {Value} value @param {Kpi} kpi */
export function partsText(value, kpi) {
  if (kpi.measure !== "ratio" || value.numerator === undefined || value.numerator === null || !value.denominator) return "";
  return texts().nOf(formatCount(value.numerator, locale()), formatCount(value.denominator, locale()));
}

/** Orders by need: the red ones first, among these the one that is furthest from its target. @param {Item} a @param {Item} b */
export function worseFirst(a, b) {
  return rank(a) - rank(b) || (a.own.attainment ?? 9) - (b.own.attainment ?? 9);
}

/** @param {Item} item */
function rank({ own }) {
  if (own.status !== "none") return { bad: 0, warning: 1, good: 4 }[own.status];
  return own.reason === "uncertain" ? 2 : own.reason === "no_value" && own.target !== undefined ? 3 : own.reason === "no_value" ? 5 : 6;
}

/** Whether anything is there to be judged by. @param {Item} item */
export const hasGoal = (item) => item.own.reason !== "no_goal";
