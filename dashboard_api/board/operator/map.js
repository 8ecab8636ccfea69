/**
 * Where are the cases?
 *
 * An own drawing from coordinates that are there anyway: nothing comes from outside. Cases that would cover each other
 * are one mark with their number; a click on it goes closer.
 */

import { nameOf, titleOf } from "../shared/texts.js";
import { t } from "./texts.js";
import { SEVERITIES } from "./work.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640, HEIGHT = 400;
/** Marks of one cell are one. */
const CELL = 44;
const LINES = 8;
/** The least that is shown, so that a single place is not shown in centimetres. In degrees. */
const SPAN_MIN = 0.004;
const AREAS_NAMED_MAX = 40;

/** @typedef {{west: number, east: number, south: number, north: number}} Box */
/** @typedef {{lat: number, lon: number}} Point */

/** @param {string | undefined} place @returns {Point | null} */
export function pointOf(place) {
  const found = place?.match(/^geo:(-?[\d.]+),(-?[\d.]+)/);
  return found ? { lat: Number(found[1]), lon: Number(found[2]) } : null;
}

export class PlaceMap {
  /** @param {SVGSVGElement} root @param {(id: string) => void} open @param {() => void} moved */
  constructor(root, open, moved) {
    this.root = root;
    this.open = open;
    this.moved = moved;
    /** What is shown; null for all. @type {Box | null} */
    this.box = null;
    this.drawn = "";
    root.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  }

  whole() {
    this.box = null;
    this.moved();
  }

  /** @param {import("./work.js").Item[]} items @param {any[]} areas @param {string | null} opened @param {string} language */
  draw(items, areas, opened, language) {
    const placed = items.map((item) => ({ item, point: pointOf(item.place) })).filter((one) => one.point !== null);
    const named = areas.filter((area) => area.point).map((area) => ({ area, point: { lat: area.point[0], lon: area.point[1] } }));
    const signature = JSON.stringify([placed.map(({ item, point }) => [item.id, point, item.severity, item.title]), this.box, opened, language]);
    if (signature === this.drawn) return;
    this.drawn = signature;
    const hadFocus = this.root.contains(document.activeElement) ? document.activeElement?.getAttribute("data-key") : null;
    const box = this.box ?? around([...placed.map((one) => /** @type {Point} */ (one.point)), ...(placed.length === 0 ? named.map((one) => one.point) : [])]);
    this.root.replaceChildren();
    if (!box) return this.root.append(text(WIDTH / 2, HEIGHT / 2, t().noPlaces, "map-none"));
    const x = (/** @type {number} */ lon) => ((lon - box.west) / (box.east - box.west)) * WIDTH;
    const y = (/** @type {number} */ lat) => HEIGHT - ((lat - box.south) / (box.north - box.south)) * HEIGHT;
    const inside = (/** @type {Point} */ p) => p.lon >= box.west && p.lon <= box.east && p.lat >= box.south && p.lat <= box.north;
    this.root.append(...grid());
    const seen = named.filter((one) => inside(one.point)).slice(0, AREAS_NAMED_MAX);
    for (const { area, point } of seen) {
      this.root.append(svg("circle", { cx: x(point.lon), cy: y(point.lat), r: 3, class: "map-area" }),
        text(x(point.lon), y(point.lat) - 7, nameOf(area.names, area.code), "map-area-name"));
    }
    /** @type {Map<string, typeof placed>} */
    const cells = new Map();
    for (const one of placed) {
      const point = /** @type {Point} */ (one.point);
      if (!inside(point)) continue;
      const key = `${Math.floor(x(point.lon) / CELL)} ${Math.floor(y(point.lat) / CELL)}`;
      cells.set(key, [...(cells.get(key) ?? []), one]);
    }
    for (const cell of cells.values()) {
      const points = cell.map((one) => /** @type {Point} */ (one.point));
      const lon = mean(points.map((p) => p.lon)), lat = mean(points.map((p) => p.lat));
      const worst = SEVERITIES.find((severity) => cell.some((one) => one.item.severity === severity)) ?? "info";
      const one = cell.length === 1 ? cell[0].item : null;
      const key = one?.id ?? cell.map(({ item }) => item.id).sort()[0];
      const mark = svg("g", {
        class: "map-mark", tabindex: 0, role: "button", "data-key": key, "data-severity": worst, "data-open": String(cell.some(({ item }) => item.id === opened)),
        transform: `translate(${x(lon).toFixed(1)} ${y(lat).toFixed(1)})`, "aria-label": one ? titleOf(one) : t().cluster(cell.length),
      });
      mark.append(svg("circle", { r: one ? 9 : 15 }));
      if (!one) mark.append(text(0, 5, String(cell.length), "map-count"));
      const go = () => {
        if (one) return this.open(one.id);
        const closer = around(points);
        // Marks that no closer look tells apart open the first of them.
        if (!closer || closer.east - closer.west >= (box.east - box.west) * 0.9) return this.open(key);
        this.box = closer;
        this.moved();
      };
      mark.addEventListener("click", go);
      mark.addEventListener("keydown", (event) => {
        if (/** @type {KeyboardEvent} */ (event).key !== "Enter" && /** @type {KeyboardEvent} */ (event).key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        go();
      });
      this.root.append(mark);
      if (key === hadFocus) mark.focus();
    }
  }
}

/** The box around points with some room, in the drawing's proportions. @param {Point[]} points @returns {Box | null} */
function around(points) {
  if (points.length === 0) return null;
  const lats = points.map((p) => p.lat), lons = points.map((p) => p.lon);
  const lat = (Math.min(...lats) + Math.max(...lats)) / 2, lon = (Math.min(...lons) + Math.max(...lons)) / 2;
  // A degree of longitude is shorter the further north.
  const squeeze = Math.max(0.2, Math.cos((lat * Math.PI) / 180));
  const high = Math.max(SPAN_MIN, (Math.max(...lats) - Math.min(...lats)) * 1.3, ((Math.max(...lons) - Math.min(...lons)) * 1.3 * squeeze * HEIGHT) / WIDTH);
  const wide = (high * WIDTH) / HEIGHT / squeeze;
  return { south: lat - high / 2, north: lat + high / 2, west: lon - wide / 2, east: lon + wide / 2 };
}

function grid() {
  const lines = [];
  for (let n = 1; n < LINES; n += 1) {
    lines.push(svg("line", { x1: (WIDTH / LINES) * n, x2: (WIDTH / LINES) * n, y1: 0, y2: HEIGHT, class: "map-line" }));
    lines.push(svg("line", { y1: (HEIGHT / LINES) * n, y2: (HEIGHT / LINES) * n, x1: 0, x2: WIDTH, class: "map-line" }));
  }
  return lines;
}

/** @param {number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** @param {string} name @param {Record<string, string | number>} about */
function svg(name, about) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(about)) node.setAttribute(key, String(value));
  return node;
}

/** @param {number} x @param {number} y @param {string} words @param {string} name */
function text(x, y, words, name) {
  const node = svg("text", { x, y, class: name, "text-anchor": "middle" });
  node.textContent = words;
  return node;
}
