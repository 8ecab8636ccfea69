/** What is the shape of a trend, and where in it is the target? */

import { svg } from "./light.js";

/**
 * A line that is broken where there is nothing; the target is dashed. It is drawn in a box of its own units and stretches.
 * @param {(number | null)[]} values @param {number | undefined} target @param {string} label @param {{width?: number, height?: number}} [size]
 */
export function spark(values, target, label, { width = 200, height = 40 } = {}) {
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": label });
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return root;
  const all = target === undefined ? known : [...known, target];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const pad = 4;
  const x = (/** @type {number} */ at) => pad + (at * (width - 2 * pad)) / Math.max(1, values.length - 1);
  const y = (/** @type {number} */ value) => (high === low ? height / 2 : height - pad - ((value - low) / (high - low)) * (height - 2 * pad));
  if (target !== undefined) root.append(svg("path", { class: "spark-target", d: `M0 ${y(target).toFixed(1)}H${width}` }));
  let path = "";
  let isDown = false;
  values.forEach((value, at) => {
    if (value === null) {
      isDown = false;
      return;
    }
    const isAlone = !isDown && (values[at + 1] ?? null) === null;
    path += `${isDown ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}${isAlone ? "h0.1" : ""}`;
    isDown = true;
  });
  root.append(svg("path", { class: "spark-line", d: path }));
  const last = values[values.length - 1] ?? null;
  // A line of no length with round ends is a dot, however the box is stretched.
  if (last !== null) root.append(svg("path", { class: "spark-now", d: `M${x(values.length - 1).toFixed(1)} ${y(last).toFixed(1)}h0.1` }));
  return root;
}
