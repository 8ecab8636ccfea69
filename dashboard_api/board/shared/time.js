/**
 * How are moments, ages and clocks written, and since when is nothing certain any more?
 *
 * Pure functions of a value, a language and "now", and one small watch.
 */

import { formatAge, formatTime } from "./format.js";
import { language, locale } from "./texts.js";

/** A moment with its day when it is not today's, in the site's zone. @param {string | number} moment @param {number} nowMs @param {string} zone */
export function absolute(moment, nowMs, zone) {
  return formatTime(ms(moment), nowMs, locale(), zone);
}

/** How long ago, as "5 minutes ago". @param {string | number} moment @param {number} nowMs */
export function relative(moment, nowMs) {
  const seconds = (nowMs - ms(moment)) / 1000;
  const far = duration(Math.abs(seconds));
  if (Math.abs(seconds) < 1) return language() === "vi" ? "vừa xong" : "just now";
  if (seconds < 0) return language() === "vi" ? `${far} nữa` : `in ${far}`;
  return language() === "vi" ? `${far} trước` : `${far} ago`;
}

/** What remains of a clock, as "12 minutes left" or "2 hours overdue". @param {number} seconds negative when it ran out */
export function remaining(seconds) {
  const far = exact(Math.abs(seconds));
  if (seconds < 0) return language() === "vi" ? `quá hạn ${far}` : `${far} overdue`;
  return language() === "vi" ? `còn ${far}` : `${far} left`;
}

/** Hours with their minutes, as "3 hours 59 minutes": half of what remains would be too coarse. @param {number} seconds */
function exact(seconds) {
  const hours = Math.floor(seconds / 3600), minutes = Math.floor((seconds % 3600) / 60);
  return hours >= 1 && hours < 48 && minutes > 0 ? `${duration(hours * 3600)} ${duration(minutes * 60)}` : duration(seconds);
}

/** A time in its largest whole unit. @param {number} seconds */
export function duration(seconds) {
  return formatAge(seconds, locale());
}

/** @param {string | number} moment */
export function ms(moment) {
  return typeof moment === "number" ? moment : Date.parse(moment);
}

/** A `<time>` that says both how long ago and when exactly. @param {string} moment @param {number} nowMs @param {string} zone */
export function timeNode(moment, nowMs, zone) {
  const node = document.createElement("time");
  node.dateTime = moment;
  node.title = absolute(moment, nowMs, zone);
  node.textContent = relative(moment, nowMs);
  return node;
}

/** When was the centre last heard? A page that polls or listens calls `heard`, and shows what `isStale` says. */
export class Freshness {
  constructor() {
    /** @type {number | null} */
    this.heardAtMs = null;
    /** The server's clock less ours. */
    this.offsetMs = 0;
  }

  /** @param {string} [serverTime] @param {number} [nowMs] */
  heard(serverTime, nowMs = Date.now()) {
    this.heardAtMs = nowMs;
    if (serverTime) this.offsetMs = Date.parse(serverTime) - nowMs;
  }

  /** Now, by the server's clock. @param {number} [nowMs] */
  now(nowMs = Date.now()) {
    return nowMs + this.offsetMs;
  }

  /** @param {number} afterMs its period and the grace @param {number} [nowMs] */
  isStale(afterMs, nowMs = Date.now()) {
    return this.heardAtMs === null || nowMs - this.heardAtMs > afterMs;
  }
}
