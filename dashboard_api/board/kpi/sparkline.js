/**
 * What is the shape of a series?
 *
 * Counts are bars from zero; what is measured is a line, broken where there was nothing to measure.
 */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240;
const HEIGHT = 48;
const PAD = 3;

/** @param {string} name @param {Record<string, string | number>} attributes */
function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/** @param {import("./model.js").Point[]} points @param {boolean} bars @param {string} label */
export function sparkline(points, bars, label) {
  const svg = element("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": label,
  });
  const values = points.map((point) => point.value).filter((value) => value !== null);
  if (values.length === 0) return svg;
  const top = Math.max(...values);
  const bottom = bars ? Math.min(0, ...values) : Math.min(...values);
  const span = top - bottom || 1;
  const step = WIDTH / Math.max(1, points.length);
  const y = (/** @type {number} */ value) =>
    top === bottom && !bars ? HEIGHT / 2 : HEIGHT - PAD - ((value - bottom) / span) * (HEIGHT - 2 * PAD);
  if (bars) {
    svg.append(element("path", { class: "spark-base", d: `M0 ${y(0)}H${WIDTH}` }));
    points.forEach((point, i) => {
      if (!point.value) return;
      const height = Math.max(1.5, y(0) - y(point.value));
      svg.append(element("rect", {
        class: i === points.length - 1 ? "spark-now" : "spark-bar",
        x: (i * step + step * 0.1).toFixed(2), width: (step * 0.8).toFixed(2), y: (y(0) - height).toFixed(2), height: height.toFixed(2),
      }));
    });
    return svg;
  }
  let path = "";
  let pen = false;
  points.forEach((point, i) => {
    if (point.value === null) {
      pen = false;
      return;
    }
    const x = (i + 0.5) * step;
    const alone = !pen && (points[i + 1]?.value ?? null) === null;
    path += alone ? `M${(x - step * 0.3).toFixed(1)} ${y(point.value).toFixed(1)}h${(step * 0.6).toFixed(1)}`
      : `${pen ? "L" : "M"}${x.toFixed(1)} ${y(point.value).toFixed(1)}`;
    pen = true;
  });
  svg.append(element("path", { class: "spark-line", d: path }));
  return svg;
}
