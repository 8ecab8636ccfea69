/**
 * What does the address of the board say?
 *
 * Which area and period is shown, which indicator in depth, in what order and under which filters. Whoever opens the
 * same address sees the same. A period that is named by its length alone is the one that is running.
 */

export const LENGTHS = /** @type {const} */ (["day", "month", "quarter", "year"]);
/** @typedef {typeof LENGTHS[number]} Length */

/**
 * @typedef {{area: string, period: string, kpi: string, order: "worst" | "pillar", show: string, light: string,
 *   chosen: string, scope: "children" | "leaves", sort: "best" | "worst" | "name", width: string, map: string, by: string, cases: string}} State
 *   `period` is a length or a calendar period; `show` a pillar or group; `cases` a part of the number, or `all`
 */

/** @type {State} */
const DEFAULTS = {
  area: "", period: "month", kpi: "", order: "worst", show: "", light: "", chosen: "", scope: "children", sort: "worst",
  width: "", map: "", by: "", cases: "",
};

/** @param {string} search @returns {State} */
export function readState(search) {
  const given = new URLSearchParams(search);
  const state = /** @type {Record<string, string>} */ ({ ...DEFAULTS });
  for (const name of Object.keys(DEFAULTS)) state[name] = given.get(name) ?? state[name];
  if (!["worst", "pillar"].includes(state.order)) state.order = DEFAULTS.order;
  if (!["children", "leaves"].includes(state.scope)) state.scope = DEFAULTS.scope;
  if (!["best", "worst", "name"].includes(state.sort)) state.sort = DEFAULTS.sort;
  return /** @type {State} */ (state);
}

/** What the address says besides, for all pages. */
const SHARED = ["language", "theme", "as_of", "speed", "drill"];

/** The address of a view. @param {State} state @param {string} [search] what it says now */
export function addressOf(state, search = location.search) {
  const said = new URLSearchParams([...new URLSearchParams(search)].filter(([name]) => SHARED.includes(name)));
  for (const [name, value] of Object.entries(state)) {
    if (value !== /** @type {Record<string, string>} */ (DEFAULTS)[name]) said.set(name, value);
  }
  return said.size > 0 ? `leader?${said}` : "leader";
}

/** How long a period is. @param {string} period @returns {Length} */
export function lengthOf(period) {
  if (LENGTHS.includes(/** @type {Length} */ (period))) return /** @type {Length} */ (period);
  if (/Q/.test(period)) return "quarter";
  return period.length === 4 ? "year" : period.length === 7 ? "month" : "day";
}

/** The calendar period that a state means. @param {string} period @param {number} nowMs @param {string} zone */
export function calendarPeriod(period, nowMs, zone) {
  if (!LENGTHS.includes(/** @type {Length} */ (period))) return period;
  return periodWith(dayOf(nowMs, zone), /** @type {Length} */ (period));
}

/** The date by the clocks of a zone, as 2026-09-30. @param {number} nowMs @param {string} zone */
export function dayOf(nowMs, zone) {
  return new Intl.DateTimeFormat("en-CA", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" }).format(nowMs);
}

/** The period of this length that holds a date. @param {string} day @param {Length} length */
export function periodWith(day, length) {
  const [year, month] = day.split("-");
  if (length === "year") return year;
  if (length === "quarter") return `${year}-Q${Math.floor((Number(month) - 1) / 3) + 1}`;
  return length === "month" ? `${year}-${month}` : day;
}

/** The first date of a period. @param {string} period */
export function firstDay(period) {
  const quarter = /^(\d{4})-Q([1-4])$/.exec(period);
  if (quarter) return `${quarter[1]}-${String(Number(quarter[2]) * 3 - 2).padStart(2, "0")}-01`;
  return `${period}${"-01-01".slice(period.length === 4 ? 0 : period.length === 7 ? 3 : 6)}`;
}

/** The same period of the year before; 29 February has none of its own. @param {string} period */
export function yearBefore(period) {
  const before = `${Number(period.slice(0, 4)) - 1}${period.slice(4)}`;
  return before.endsWith("-02-29") ? `${before.slice(0, 4)}-02-28` : before;
}

/** A date so many days, months or years later. @param {string} day @param {Length} length @param {number} count */
export function moved(day, length, count) {
  const [year, month, date] = day.split("-").map(Number);
  if (length === "day") return new Date(Date.UTC(year, month - 1, date + count)).toISOString().slice(0, 10);
  const months = { month: 1, quarter: 3, year: 12 }[length] * count;
  return new Date(Date.UTC(year, month - 1 + months, 1)).toISOString().slice(0, 10);
}

/** A period in words. @param {string} period @param {string} locale */
export function periodName(period, locale) {
  const length = lengthOf(period);
  const isVi = locale.startsWith("vi");
  const year = period.slice(0, 4);
  if (length === "year") return isVi ? `Năm ${year}` : year;
  if (length === "quarter") return isVi ? `Quý ${period.slice(6)} năm ${year}` : `Q${period.slice(6)} ${year}`;
  const at = Date.parse(`${firstDay(period)}T00:00:00Z`);
  if (length === "month") {
    return isVi ? `Tháng ${Number(period.slice(5))} năm ${year}` : new Intl.DateTimeFormat(locale, { timeZone: "UTC", month: "long", year: "numeric" }).format(at);
  }
  return new Intl.DateTimeFormat(locale, { timeZone: "UTC", dateStyle: "long" }).format(at);
}
