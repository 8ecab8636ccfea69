/** Where on a plain map does each point lie, and how is it drawn? Nothing is loaded for it: no tiles, no library. */

const SVG = "http://www.w3.org/2000/svg";
/** The width of a map that is not on a screen. */
const WIDTH = 640;
const HEIGHT_SHARE = 0.75;
const MARGIN = 30;
/** The smallest piece of ground that is shown: one point alone has surroundings, too. */
const SPAN_MIN_M = 2000;
const METRES_PER_DEGREE = 111_195;
/** Points nearer to each other than this are one with a number. */
const NEAR_PX = 18;
/** Lengths that a scale can have, in metres. */
const SCALES_M = [200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000];
const SCALE_MAX_PX = 120;
const LABELS_MAX = 12;

/** @typedef {{lat: number, lon: number}} Place */
/** @typedef {(place: Place) => {x: number, y: number}} Projection */

/**
 * A plane that holds all places: degrees of longitude shortened as they are in the middle of it.
 * @param {Place[]} places at least one @param {number} width @param {number} height in pixels @returns {{project: Projection, metresPerPixel: number}}
 */
export function projection(places, width, height) {
  const [south, north] = [Math.min(...places.map((p) => p.lat)), Math.max(...places.map((p) => p.lat))];
  const [west, east] = [Math.min(...places.map((p) => p.lon)), Math.max(...places.map((p) => p.lon))];
  const middle = { lat: (south + north) / 2, lon: (west + east) / 2 };
  const shortened = Math.max(Math.cos((middle.lat * Math.PI) / 180), 0.01);
  const across = Math.max((east - west) * shortened * METRES_PER_DEGREE, SPAN_MIN_M);
  const up = Math.max((north - south) * METRES_PER_DEGREE, SPAN_MIN_M);
  const metresPerPixel = Math.max(across / (width - 2 * MARGIN), up / (height - 2 * MARGIN));
  const project = (/** @type {Place} */ place) => ({
    x: width / 2 + ((place.lon - middle.lon) * shortened * METRES_PER_DEGREE) / metresPerPixel,
    y: height / 2 - ((place.lat - middle.lat) * METRES_PER_DEGREE) / metresPerPixel,
  });
  return { project, metresPerPixel };
}

/**
 * Points that are too near to be told apart, together.
 * @template {Place} T @param {T[]} items @param {Projection} project
 * @returns {{x: number, y: number, items: T[]}[]}
 */
export function clusters(items, project) {
  /** @type {{x: number, y: number, items: T[]}[]} */
  const found = [];
  /** By squares of the map, so that each point is held against its neighbours alone. @type {Map<string, typeof found>} */
  const squares = new Map();
  for (const item of items) {
    const at = project(item);
    const [column, row] = [Math.floor(at.x / NEAR_PX), Math.floor(at.y / NEAR_PX)];
    let near;
    for (let dx = -1; dx <= 1 && !near; dx += 1) {
      for (let dy = -1; dy <= 1 && !near; dy += 1) {
        near = squares.get(`${column + dx},${row + dy}`)?.find((one) => Math.hypot(one.x - at.x, one.y - at.y) < NEAR_PX);
      }
    }
    if (near) near.items.push(item);
    else {
      const one = { ...at, items: [item] };
      found.push(one);
      squares.set(`${column},${row}`, [...(squares.get(`${column},${row}`) ?? []), one]);
    }
  }
  return found;
}

/**
 * Draws the points, names of places among them, and a scale.
 * @template {Place & {id: string, rounded: boolean, isOpen: boolean}} T
 * @param {SVGSVGElement} svg @param {T[]} items at least one @param {(Place & {name: string})[]} places
 * @param {{kilometres: (n: string) => string, metres: (n: string) => string}} words @param {(picked: T[]) => void} pick
 */
export function drawMap(svg, items, places, words, pick) {
  // As wide as it is seen, so that points and names have the same size on every screen.
  const width = svg.clientWidth || WIDTH;
  const height = width * HEIGHT_SHARE;
  const { project, metresPerPixel } = projection(items, width, height);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const names = places
    .map((one) => ({ ...project(one), name: one.name }))
    .filter(({ x, y }) => x > MARGIN && x < width - MARGIN && y > MARGIN && y < height - MARGIN)
    .slice(0, LABELS_MAX)
    .map(({ x, y, name }) => part("text", { class: "place", x, y: y - 14 }, name));
  const points = clusters(items, project).map((one) => {
    const kind = [
      "point",
      one.items.some((item) => item.isOpen) ? "" : "closed",
      one.items.every((item) => item.rounded) ? "rounded" : "",
    ].filter(Boolean).join(" ");
    const radius = Math.min(8 + 2.5 * Math.log2(one.items.length), 22);
    const node = part("g", { class: kind, "data-ids": one.items.map((item) => item.id).join(" ") },
      part("circle", { cx: one.x, cy: one.y, r: radius }));
    if (one.items.length > 1) node.append(part("text", { x: one.x, y: one.y }, String(one.items.length)));
    node.addEventListener("click", () => pick(one.items));
    return node;
  });
  svg.replaceChildren(...points, ...names, ...scale(metresPerPixel, height, words));
}

/** @param {number} metresPerPixel @param {number} height @param {{kilometres: (n: string) => string, metres: (n: string) => string}} words */
function scale(metresPerPixel, height, words) {
  const length = SCALES_M.filter((one) => one / metresPerPixel <= SCALE_MAX_PX).at(-1) ?? SCALES_M[0];
  const y = height - 14;
  const said = length >= 1000 ? words.kilometres(String(length / 1000)) : words.metres(String(length));
  return [
    part("line", { class: "scale", x1: 14, x2: 14 + length / metresPerPixel, y1: y, y2: y }),
    part("text", { class: "scale-text", x: 14, y: y - 6 }, said),
  ];
}

/** @param {string} name @param {Record<string, string | number>} attributes @param {...(Node | string)} children */
function part(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, typeof value === "number" ? value.toFixed(1) : value);
  node.append(...children);
  return node;
}
