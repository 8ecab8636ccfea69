/**
 * What was the course of one indicator, as first reported and as corrected since?
 *
 * Where there was no value the line is broken; where the map was redrawn a band holds the truth.
 */

// @ts-types="../vendor/uplot.d.ts"
import * as library from "../vendor/uplot.js";
import { formatValue } from "../shared/format.js";
import { locale } from "../shared/texts.js";
import { texts } from "./texts.js";

/** The library's types name the module itself, where the module has a default. @type {typeof import("../vendor/uplot.d.ts")} */
const UPlot = /** @type {any} */ (library).default;
/** @typedef {import("../vendor/uplot.d.ts")} Plot */

const HEIGHT = 300;

/** @typedef {import("./reasons.js").Judged} Judged */

/** The colours that the page has now. @param {string} name */
const colour = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

/**
 * Draws it, wide as its place. @param {HTMLElement} root @param {Judged[]} buckets the oldest first
 * @param {import("./reasons.js").Kpi} kpi @param {(bucket: Judged) => string} named what a bucket is called
 * @returns {Plot}
 */
export function drawChart(root, buckets, kpi, named) {
  const said = texts();
  const at = buckets.map((_, number) => number);
  const exact = buckets.map((one) => (one.exact === false ? null : one.value));
  const first = buckets.map((one) => (one.closed && one.first && one.first.exact !== false ? one.first.value : null));
  const lower = buckets.map((one) => (one.exact === false ? one.lower ?? null : null));
  const upper = buckets.map((one) => (one.exact === false ? one.upper ?? null : null));
  const target = buckets.map((one) => one.target ?? null);
  const [line, quiet, grid, goal, mark, ground] = ["--accent", "--quiet", "--line", "--good", "--mark", "--panel"].map(colour);
  const written = (/** @type {number | null | undefined} */ value) => (value === null || value === undefined ? "—" : formatValue(value, kpi, locale()));
  const font = `${Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.78)}px system-ui, "Noto Sans", sans-serif`;
  const own = (/** @type {string} */ label, /** @type {Partial<import("../vendor/uplot.d.ts").Series>} */ about) => ({ label, value: (/** @type {Plot} */ _, /** @type {number} */ value) => written(value), ...about });
  /** @type {import("../vendor/uplot.d.ts").Options} */
  const options = {
    width: Math.max(280, root.clientWidth),
    height: HEIGHT,
    scales: {
      x: { time: false, range: () => [-0.5, buckets.length - 0.5] },
      y: { range: (_, low, high) => around(low, high) },
    },
    legend: { live: true },
    cursor: { drag: { x: false, y: false } },
    axes: [
      {
        stroke: quiet, font, grid: { show: false }, ticks: { stroke: grid }, space: 84,
        values: (_, splits) => splits.map((split) => (Number.isInteger(split) && buckets[split] ? named(buckets[split]) : "")),
        incrs: [1, 2, 3, 4, 6, 8, 12, 24, 48],
      },
      { stroke: quiet, font, size: 72, grid: { stroke: grid, width: 1 }, ticks: { show: false }, values: (_, splits) => splits.map((split) => formatValue(split, kpi, locale())) },
    ],
    series: [
      { label: said.period, value: (_, value) => (value === null || value === undefined || !buckets[value] ? "—" : named(buckets[value])) },
      own(said.bounds, { stroke: mark, width: 1, points: { show: true, size: 5 } }),
      own(said.bounds, { stroke: mark, width: 1, points: { show: true, size: 5 } }),
      own(said.target, { stroke: goal, width: 2, dash: [8, 5], points: { show: false }, paths: UPlot.paths.stepped?.({ align: 1 }) }),
      own(said.first, { stroke: quiet, width: 1.5, dash: [2, 4], points: { show: true, size: 7, width: 1.5, stroke: quiet, fill: ground } }),
      own(said.corrected, { stroke: line, width: 2.5, points: { show: true, size: 6, fill: line } }),
    ],
    bands: [{ series: [1, 2], fill: `color-mix(in srgb, ${mark} 22%, transparent)` }],
  };
  root.replaceChildren();
  const isRedrawn = upper.some((value) => value !== null) || lower.some((value) => value !== null);
  if (!isRedrawn && options.series) for (const number of [1, 2]) options.series[number].show = false;
  const made = new UPlot(options, [at, upper, lower, target, first, exact], root);
  // The table says the same in words.
  for (const canvas of root.querySelectorAll("canvas")) canvas.setAttribute("aria-hidden", "true");
  made.root.querySelectorAll(".u-legend tr").forEach((row, number) => row.toggleAttribute("hidden", !isRedrawn && (number === 1 || number === 2)));
  return made;
}

/** A little more than what there is. @param {number | null} low @param {number | null} high @returns {[number, number]} */
function around(low, high) {
  if (low === null || high === null) return [0, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.12;
  return [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
}
