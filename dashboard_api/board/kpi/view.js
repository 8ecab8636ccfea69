/**
 * How does what the board knows become what people see?
 *
 * Everything that came from outside is set as text, never as markup.
 */

import { formatAge, formatBucket, formatCount, formatTime, formatUnit, formatValue } from "../shared/format.js";
import { addsUp, headline } from "./model.js";
import { sparkline } from "./sparkline.js";
import { nameIn, textsOf } from "./texts.js";

/**
 * @typedef {{language: string, zone: string, tier: "minute" | "hour" | "day", kpis: import("../shared/format.js").Kpi[],
 *   areas: Map<string, {names: Record<string, string>}>, notLive: string, isIn: boolean}} Scene  `areas` are by list and
 *   code; `notLive` says since when, or is empty; `isIn`: not only what is public may be asked for
 */

/** @param {string} name @param {string} [className] @param {string} [text] */
export function make(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** @param {Element | null} node @param {string} text */
export function setText(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

/** @param {HTMLElement} root @param {import("./model.js").Model} model @param {Scene} scene @param {number} nowMs */
export function showTiles(root, model, scene, nowMs) {
  const t = textsOf(scene.language);
  if (scene.kpis.length === 0) return showEmpty(root, t.noKpis);
  root.querySelector(":scope > .empty")?.remove();
  scene.kpis.forEach((kpi, i) => {
    let tile = /** @type {HTMLElement | null} */ (root.querySelector(`:scope > [data-kpi="${CSS.escape(kpi.id)}"]`));
    if (!tile) {
      tile = newTile(kpi.id);
      root.insertBefore(tile, root.children[i] ?? null);
    }
    showTile(tile, kpi, model, scene, nowMs);
  });
}

/** @param {string} id */
function newTile(id) {
  const tile = make("article", "tile");
  tile.dataset.kpi = id;
  const value = make("p", "value");
  value.append(make("span", "number"), make("span", "unit"));
  tile.append(
    make("h3", "name"), value, make("p", "detail"), make("p", "bounds"), make("div", "shape"), make("p", "when"),
    make("p", "first"), make("p", "news"),
  );
  return tile;
}

/** @param {HTMLElement} tile @param {import("../shared/format.js").Kpi} kpi @param {import("./model.js").Model} model @param {Scene} scene @param {number} nowMs */
function showTile(tile, kpi, model, scene, nowMs) {
  const t = textsOf(scene.language);
  const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (tile.querySelector(`.${name}`));
  setText(part("name"), nameIn(kpi.names, scene.language, kpi.id));
  const serverNow = model.now(nowMs);
  const points = model.points(kpi.id, scene.tier, nowMs, kpi.measure);
  const shown = headline(points);
  const series = model.series.get(kpi.id);
  const zone = series?.zone ?? scene.zone;
  if (!model.loaded || !shown) {
    tile.dataset.state = model.loaded ? "empty" : "loading";
    setText(part("number"), model.loaded ? "–" : "");
    setText(part("unit"), "");
    for (const name of ["detail", "bounds", "first"]) setText(part(name), "");
    setText(part("when"), model.loaded ? t.noData : t.loading);
    setText(part("news"), scene.notLive ? scene.notLive : model.loaded && series?.lastMinute ? newsText(series.lastMinute, serverNow, kpi, t).text : "");
    part("shape").replaceChildren(sparkline([], true, t.noData));
    delete tile.dataset.drawn;
    return;
  }
  const value = /** @type {number} */ (shown.value);
  const number = formatValue(value, kpi, t.locale);
  if (part("number").textContent !== number && tile.dataset.state && tile.dataset.state !== "loading") flash(tile);
  setText(part("number"), number);
  setText(part("unit"), formatUnit(value, kpi));
  setText(part("detail"), detailText(kpi, shown, t));
  setText(part("bounds"), boundsText(kpi, shown, t));
  tile.dataset.exact = String(shown.exact ?? true);
  setText(part("first"), firstText(kpi, shown, t));
  const isNow = shown.bucket === points.at(-1)?.bucket;
  const when = formatBucket(shown.bucket, scene.tier, serverNow, t.locale, zone);
  const until = (/** @type {number} */ s) => formatTime(s * 1000, serverNow, t.locale, zone);
  // Of the past it is said how the value is known.
  const known = shown.known === "part" && shown.until !== undefined ? t.knownUntil(until(shown.until)) : shown.known === "first" ? t.asFirstClosed : "";
  setText(part("when"), known ? `${when}, ${known}` : isNow && scene.tier !== "minute" ? `${when}, ${t.soFar}` : when);
  const news = newsText(series?.lastMinute ?? null, serverNow, kpi, t);
  setText(part("news"), scene.notLive || news.text);
  tile.dataset.state = news.old ? "old" : "fresh";
  // Drawing is what costs, so an unchanged shape is left as it is.
  const drawn = JSON.stringify([scene.language, points.map((point) => [point.bucket, point.value])]);
  if (tile.dataset.drawn !== drawn) {
    tile.dataset.drawn = drawn;
    const values = points.flatMap((point) => (point.value === null ? [] : [point.value]));
    const ends = [Math.min(...values), Math.max(...values)].map((end) => formatValue(end, kpi, t.locale));
    const label = t.chart(formatCount(values.length, t.locale), ends[0], ends[1]);
    part("shape").replaceChildren(sparkline(points, addsUp(kpi.measure), label));
  }
}

/** @param {HTMLElement} tile */
function flash(tile) {
  tile.classList.remove("changed");
  void tile.offsetWidth; // restarts the animation
  tile.classList.add("changed");
}

/** @param {import("../shared/format.js").Kpi} kpi @param {import("./model.js").Point} point @param {ReturnType<typeof textsOf>} t */
function detailText(kpi, point, t) {
  if (kpi.measure === "in_time" || kpi.measure === "within" || kpi.measure === "ratio") {
    return t.share(formatCount(point.numerator ?? 0, t.locale), formatCount(point.denominator ?? point.n, t.locale));
  }
  if (kpi.measure === "percentile" && point.p50 !== undefined && point.p95 !== undefined) {
    return t.spread(formatValue(point.p50, kpi, t.locale), formatValue(point.p95, kpi, t.locale));
  }
  return "";
}

/** Between what the truth lies, where a redrawn map leaves it open. @param {import("../shared/format.js").Kpi} kpi @param {import("./model.js").Point} point @param {ReturnType<typeof textsOf>} t */
function boundsText(kpi, point, t) {
  if (point.exact ?? true) return "";
  const [lower, upper] = [point.lower, point.upper].map((bound) => (bound == null ? null : formatValue(bound, kpi, t.locale)));
  if (lower == null && upper == null) return t.inexact;
  return lower == null ? t.atMost(/** @type {string} */ (upper)) : upper == null ? t.atLeast(lower) : t.between(lower, upper);
}

/** What was first reported, where it was something else. @param {import("../shared/format.js").Kpi} kpi @param {import("./model.js").Point} point @param {ReturnType<typeof textsOf>} t */
function firstText(kpi, point, t) {
  if (!point.first) return "";
  const [first, now] = [point.first.value, point.value].map((value) => (value === null ? "–" : formatValue(value, kpi, t.locale)));
  return first === now ? "" : t.first(first);
}

/** @param {number | null} lastMinuteS @param {number} serverNowMs @param {import("../shared/format.js").Kpi} kpi @param {ReturnType<typeof textsOf>} t */
function newsText(lastMinuteS, serverNowMs, kpi, t) {
  if (lastMinuteS === null) return { text: "", old: true };
  // Only the minute is known, so the age counts from its end.
  const ageS = Math.max(0, serverNowMs / 1000 - (lastMinuteS + 60));
  if (ageS > kpi.freshness_s) return { text: t.noNews(formatAge(ageS, t.locale)), old: true };
  return { text: ageS < 60 ? t.justNow : t.updated(formatAge(ageS, t.locale)), old: false };
}

/** @param {HTMLElement} root @param {import("./model.js").Model} model @param {Scene} scene @param {number} nowMs */
export function showSources(root, model, scene, nowMs) {
  const t = textsOf(scene.language);
  if (model.loaded && model.sources.size === 0) return showEmpty(root, scene.isIn ? t.noSources : t.signInForSources);
  const rows = [...model.sources.values()].map((source) => {
    const row = make("li", "source");
    const heardMs = source.received_at ? Date.parse(source.received_at) : null;
    const ageS = heardMs === null ? null : (model.now(nowMs) - heardMs) / 1000;
    row.dataset.state = ageS === null ? "never" : ageS > source.silent_after_s ? "stale" : "fresh";
    const name = make("span", "source-name", nameIn(source.names, scene.language, source.id));
    const about = make("span", "source-about");
    if (source.simulated) about.append(make("span", "badge simulated", t.simulated));
    if (!source.declared) about.append(make("span", "badge", t.undeclared));
    about.append(make("span", "source-count", t.counted(formatCount(source.n, t.locale))));
    const age = ageS === null ? "" : formatAge(ageS, t.locale);
    const state = make("span", "source-state");
    const dot = make("span", "dot");
    dot.setAttribute("aria-hidden", "true");
    state.append(dot, ageS === null ? t.never : row.dataset.state === "stale" ? t.silent(age) : t.fresh(age));
    row.append(name, state, about);
    return row;
  });
  replaceIfChanged(root, rows);
}

/** @param {HTMLElement} root @param {import("./model.js").Model} model @param {Scene} scene @param {number} nowMs */
export function showEvents(root, model, scene, nowMs) {
  const t = textsOf(scene.language);
  if (model.loaded && model.events.length === 0) return showEmpty(root, scene.isIn ? t.noEvents : t.signInForEvents);
  replaceIfChanged(root, model.events.map((item) => eventRow(item, model, scene, t, nowMs)));
}

/** @param {import("./model.js").EventItem} item @param {import("./model.js").Model} model @param {Scene} scene @param {ReturnType<typeof textsOf>} t @param {number} nowMs */
function eventRow(item, model, scene, t, nowMs) {
  const event = item.event;
  const data = event.data ?? {};
  const row = make("li", "event");
  const head = make("p", "event-head");
  const label = /** @type {Record<string, any>} */ (t)[event.type];
  head.append(make("span", "event-type", typeof label === "string" ? label : String(event.type)));
  const severity = /** @type {Record<string, any>} */ (t)[data.severity];
  if (typeof severity === "string") head.append(make("span", `badge severity-${data.severity}`, severity));
  if (event.exercise) head.append(make("span", "badge simulated", t.exercise));
  if (model.sources.get(event.source)?.simulated) head.append(make("span", "badge simulated", t.simulated));
  const time = make("time", "", formatTime(Date.parse(event.time), model.now(nowMs), t.locale, scene.zone, true));
  time.setAttribute("datetime", String(event.time));
  head.append(time);
  const words = [data.title, data.text, data.result, data.kind, data.category].find((word) => word);
  row.append(head, make("p", "event-text", words ? String(words) : String(event.subject ?? event.id)));
  const area = scene.areas.get(`${event.arealist}/${event.area}`);
  const about = [area ? nameIn(area.names, scene.language, event.area) : String(event.area ?? "")].filter((word) => word);
  if (data.category && data.category !== words) about.push(String(data.category));
  if (data.agency) about.push(String(data.agency));
  row.append(make("p", "event-about", about.join(" · ")));
  return row;
}

/** @param {HTMLElement} root @param {string} text */
function showEmpty(root, text) {
  replaceIfChanged(root, [make(root.tagName === "DIV" ? "p" : "li", "empty", text)]);
}

/** Leaves what a reader or a screen reader is on alone when it is the same. @param {HTMLElement} root @param {HTMLElement[]} rows */
function replaceIfChanged(root, rows) {
  rows.forEach((row, i) => {
    const present = root.children[i];
    if (!present) root.append(row);
    else if (!present.isEqualNode(row)) present.replaceWith(row);
  });
  while (root.children.length > rows.length) root.lastElementChild?.remove();
}
