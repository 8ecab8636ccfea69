/**
 * How are numbers, ages and times written?
 *
 * Pure functions of a value and a locale.
 */

const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86400;

/** How people write what UCUM writes otherwise. @type {Record<string, string>} */
const WRITTEN = { "1": "", By: "B", "[mi_i]/h": "mph", Cel: "°C", "m/s": "m/s", "km/h": "km/h", "ug/m3": "µg/m³", "[ppth]": "‰" };

/**
 * A KPI's number without its unit; a share of 1 is written in percent. A time of minutes or more comes with its unit.
 * @param {number} value @param {Kpi} kpi @param {string} locale
 */
export function formatValue(value, kpi, locale) {
  if (isLongTime(value, kpi)) return formatDuration(value, locale);
  const shown = isShare(kpi) ? value * 100 : value;
  const size = Math.abs(shown);
  const digits = Number.isInteger(shown) || size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 1 : 3;
  const options = size >= 1e6
    ? { notation: /** @type {const} */ ("compact"), maximumFractionDigits: 2 }
    : { maximumFractionDigits: digits };
  return new Intl.NumberFormat(locale, options).format(shown);
}

/** @param {number} value @param {string} locale */
export function formatCount(value, locale) {
  return new Intl.NumberFormat(locale, { maximumFractionDigits: 0 }).format(value);
}

/**
 * The unit as people write it: UCUM's `1` is none, and `{report}` is an annotation.
 * @param {number} value @param {Kpi} kpi
 */
export function formatUnit(value, kpi) {
  if (isLongTime(value, kpi)) return "";
  if (isShare(kpi)) return "%";
  return WRITTEN[kpi.unit] ?? kpi.unit.replace(/^\{(.*)\}$/, "$1");
}

/** Whether seconds would be too many to read. @param {number} value @param {Kpi} kpi */
function isLongTime(value, kpi) {
  return kpi.unit === "s" && Math.abs(value) >= 2 * MINUTE_S;
}

/** A time in minutes, hours or days, to one decimal. @param {number} seconds @param {string} locale */
function formatDuration(seconds, locale) {
  const size = Math.abs(seconds);
  const [width, unit] = size < 2 * HOUR_S ? [MINUTE_S, "minute"] : size < 2 * DAY_S ? [HOUR_S, "hour"] : [DAY_S, "day"];
  const options = { style: /** @type {const} */ ("unit"), unit, unitDisplay: /** @type {const} */ ("short"), maximumFractionDigits: 1 };
  return new Intl.NumberFormat(locale, options).format(seconds / width);
}

/** Whether the value is a part of 1. @param {Kpi} kpi */
function isShare(kpi) {
  return kpi.measure === "in_time" || kpi.measure === "within" || (kpi.measure === "ratio" && kpi.unit === "1" && kpi.per === 1);
}

/** An age in its largest whole unit. @param {number} seconds @param {string} locale */
export function formatAge(seconds, locale) {
  const age = Math.max(0, Math.floor(seconds));
  const [value, unit] = age < MINUTE_S
    ? [age, "second"]
    : age < HOUR_S
      ? [Math.floor(age / MINUTE_S), "minute"]
      : age < 2 * DAY_S
        ? [Math.floor(age / HOUR_S), "hour"]
        : [Math.floor(age / DAY_S), "day"];
  return new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "long" }).format(value);
}

/** A time of day, with the date when it is not today's. @param {number} ms @param {number} nowMs @param {string} locale @param {string} zone @param {boolean} [seconds] */
export function formatTime(ms, nowMs, locale, zone, seconds = false) {
  const date = new Intl.DateTimeFormat(locale, { timeZone: zone, day: "2-digit", month: "2-digit", year: "numeric" });
  const time = new Intl.DateTimeFormat(locale, {
    timeZone: zone,
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    ...(seconds ? { second: "2-digit" } : {}),
  }).format(ms);
  return date.format(ms) === date.format(nowMs) ? time : `${formatDay(ms, locale, zone)} ${time}`;
}

/** @param {number} ms @param {string} locale @param {string} zone */
export function formatDay(ms, locale, zone) {
  return new Intl.DateTimeFormat(locale, { timeZone: zone, day: "2-digit", month: "2-digit" }).format(ms);
}

/** What a bucket covers, in words. @param {number} bucketS @param {Tier} tier @param {number} nowMs @param {string} locale @param {string} zone */
export function formatBucket(bucketS, tier, nowMs, locale, zone) {
  const ms = bucketS * 1000;
  if (tier === "day") return formatDay(ms, locale, zone);
  if (tier === "minute") return formatTime(ms, nowMs, locale, zone);
  const end = new Intl.DateTimeFormat(locale, { timeZone: zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  return `${formatTime(ms, nowMs, locale, zone)}–${end.format(ms + HOUR_S * 1000)}`;
}

/** @typedef {"minute" | "hour" | "day"} Tier */
/** @typedef {"count" | "sum" | "mean" | "min" | "max" | "latest" | "percentile" | "distinct" | "in_time" | "within" | "ratio" | "balance" | "silent"} Measure */
/** @typedef {{id: string, names: Record<string, string>, unit: string, measure: Measure, per: number, freshness_s: number}} Kpi */
