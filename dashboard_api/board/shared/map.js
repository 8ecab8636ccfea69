/**
 * Where are things? One map for all pages.
 *
 * The ground is the site's own: the boundaries of its areas, drawn on a canvas, and nothing is loaded from elsewhere
 * unless the site pack names an address of tiles. Marks that would cover each other are one with their number. Every
 * mark can be reached by keyboard, and says by its form what it says by its colour.
 *
 * The page loads `vendor/leaflet.js` and `vendor/supercluster.js` before its own module, and `vendor/leaflet.css`.
 */

import { ApiError, get } from "./api.js";
import { choice, keep } from "./choice.js";
import { make, setText } from "./dom.js";
import { language, locale, nameOf, onLanguage, word } from "./texts.js";

/** Marks nearer to each other than this are one; in units of the page's letters, as the marks are. */
const NEAR_REM = 2.3;
/** So close that what is still one lies in one place. */
const ZOOM_MAX = 18;
/** One place alone is shown with its surroundings. */
const ZOOM_ALONE = 14;
const PAD = 0.04;
/** Around the places, so that no mark lies at the edge, or under the buttons. */
const PAD_PX = 28;
const NEW_SHOWN_MS = 6000;
const LABEL_PX = 84, LABEL_HIGH_PX = 18;
const LABELS_MAX = 40;
const LAYERS_KEY = "map.layers";

/** The worst first. */
const SEVERITIES = ["critical", "major", "minor", "info"];
const SIGNS = /** @type {Record<string, string>} */ ({ critical: "!!", major: "!", minor: "", info: "i" });

/**
 * @typedef {{id: string, lat: number, lon: number, label: string, severity?: string, isOver?: boolean, isRounded?: boolean}} Mark
 *   `isOver`: it needs nobody any more; `isRounded`: its place is only about there
 * @typedef {{type: string, attribution?: string | null, features: any[]}} Ground as `GET /v1/boundaries` has it
 * @typedef {{tiles: string, attribution: string, zoom_max: number}} Tiles as `GET /v1/site` has it in `map`
 * @typedef {{pick?: (ids: string[]) => void, tiles?: Tiles | null, isStill?: boolean, hasLegend?: boolean}} Options
 *   `pick` is told which marks were chosen; `isStill`: a screen that nobody touches, without buttons
 */

const EN = {
  map: "Map",
  closer: "Closer",
  further: "Further away",
  whole: "Show everything",
  none: "Nothing here has a place.",
  cluster: (/** @type {string} */ n, /** @type {string} */ worst) => `${n} together${worst ? `, the worst: ${worst}` : ""}. Press to go closer.`,
  over: "Finished",
  open: "Not finished",
  rounded: "Only about there",
  several: "Several in one place",
  layers: "Layers",
  failed: "cannot be read now",
  ground: "Boundaries",
  tiles: "Map",
};

/** @type {typeof EN} */
const VI = {
  map: "Bản đồ",
  closer: "Phóng to",
  further: "Thu nhỏ",
  whole: "Xem toàn bộ",
  none: "Chưa có vị trí nào để hiện.",
  cluster: (n, worst) => `${n} mục ở gần nhau${worst ? `, nặng nhất: ${worst}` : ""}. Bấm để phóng to.`,
  over: "Đã xong",
  open: "Chưa xong",
  rounded: "Vị trí làm tròn",
  several: "Nhiều mục ở một chỗ",
  layers: "Lớp bản đồ",
  failed: "hiện không đọc được",
  ground: "Ranh giới",
  tiles: "Bản đồ nền",
};

// Not `dictionary`: a page's own texts are the first one, and this module may be read before them.
const t = () => (language() === "vi" ? VI : EN);

/** Whether nothing should move by itself. */
const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** A place as cases have it. @param {string | undefined | null} place @returns {{lat: number, lon: number} | null} */
export function pointOf(place) {
  const found = place?.match(/^geo:(-?[\d.]+),(-?[\d.]+)/);
  return found ? { lat: Number(found[1]), lon: Number(found[2]) } : null;
}

export class CaseMap {
  /** @param {HTMLElement} root an empty element that has a height @param {Options} [options] */
  constructor(root, { pick = () => {}, tiles = null, isStill = false, hasLegend = true } = {}) {
    const L = /** @type {any} */ (globalThis).L;
    this.L = L;
    this.root = root;
    this.pick = pick;
    this.tiles = tiles;
    this.isStill = isStill;
    /** @type {Mark[]} */
    this.marks = [];
    /** @type {Ground | null} */
    this.ground = null;
    /** @type {Set<string>} */
    this.selected = new Set();
    /** What is on the map by its key. @type {Map<string, {marker: any, node: HTMLElement, drawn: string, ids: string[]}>} */
    this.shown = new Map();
    /** @type {Set<string> | null} */
    this.known = null;
    this.hasMoved = false;
    this.signature = "";
    /** The area whose ground was asked for last. @type {string | undefined} */
    this.wanted = undefined;
    root.classList.add("map");
    const pane = make("div", { class: "map-pane" });
    this.view = pane;
    this.note = make("p", { class: "map-none quiet", hidden: true });
    this.credit = make("p", { class: "map-credit small" });
    this.tools = make("div", { class: "map-tools", hidden: isStill });
    this.legend = make("ul", { class: "map-legend small quiet", hidden: !hasLegend });
    this.overlays = make("div", { class: "map-overlays small", hidden: true });
    // Leaflet asks the page's style what the pane is like, so it has to be on the page.
    root.replaceChildren(make("div", { class: "map-frame" }, pane, this.note, this.credit, this.tools), this.legend, this.overlays);
    this.map = L.map(pane, {
      attributionControl: false, zoomControl: false, renderer: L.canvas({ padding: 0.3 }), zoomSnap: 0.5, maxZoom: ZOOM_MAX,
      zoomAnimation: !isCalm(), fadeAnimation: !isCalm(), markerZoomAnimation: !isCalm(), inertia: !isCalm(), scrollWheelZoom: false,
      keyboard: !isStill, dragging: !isStill, touchZoom: !isStill, doubleClickZoom: !isStill, boxZoom: !isStill, center: [0, 0], zoom: 2,
    });
    this.areas = L.layerGroup().addTo(this.map);
    this.names = L.layerGroup().addTo(this.map);
    this.layers = new Map();
    if (tiles) L.tileLayer(tiles.tiles, { maxNativeZoom: tiles.zoom_max, maxZoom: ZOOM_MAX, className: "map-tile" }).addTo(this.map);
    if (isStill) pane.tabIndex = -1;
    // A page is scrolled over the map; only who is in it turns the wheel for it.
    pane.addEventListener("focusin", () => { if (!isStill) this.map.scrollWheelZoom.enable(); });
    pane.addEventListener("focusout", (event) => { if (!pane.contains(/** @type {Node | null} */ (event.relatedTarget))) this.map.scrollWheelZoom.disable(); });
    pane.addEventListener("pointerdown", () => { this.hasMoved = true; });
    pane.addEventListener("keydown", (event) => { if (event.key.startsWith("Arrow") || "+-=".includes(event.key)) this.hasMoved = true; });
    this.map.on("zoomend moveend", () => { this.#place(); this.#name(); });
    this.#tools();
    this.#legend();
    new ResizeObserver(() => this.#resized()).observe(pane);
    const redrawn = () => { this.#drawGround(); this.#drawLayers(); };
    new MutationObserver(redrawn).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawn);
    onLanguage(() => { this.#tools(); this.#legend(); this.#overlays(); this.#drawLayers(); this.#name(); this.signature = ""; this.draw(this.marks, this.selected); });
    /** @type {Map<string, {about: any, features: any | null, group: any, isOn: boolean, hasFailed: boolean}>} */
    this.known_layers = new Map();
  }

  /** Shows these marks. What is new to the map stands out for a moment. @param {Mark[]} marks @param {Set<string>} [selected] */
  draw(marks, selected = new Set()) {
    const signature = JSON.stringify([marks, [...selected], language()]);
    if (signature === this.signature) return;
    this.signature = signature;
    this.marks = marks;
    this.selected = selected;
    this.index = new /** @type {any} */ (globalThis).Supercluster({
      radius: NEAR_REM * parseFloat(getComputedStyle(document.documentElement).fontSize), extent: 256, maxZoom: ZOOM_MAX - 1, minPoints: 2,
      map: (/** @type {any} */ one) => ({ rank: one.rank, over: one.over, rounded: one.rounded }),
      reduce: (/** @type {any} */ all, /** @type {any} */ one) => {
        all.rank = Math.min(all.rank, one.rank);
        all.over &&= one.over;
        all.rounded &&= one.rounded;
      },
    });
    this.index.load(marks.map((mark) => ({
      type: "Feature", geometry: { type: "Point", coordinates: [mark.lon, mark.lat] },
      properties: { mark, rank: mark.severity ? SEVERITIES.indexOf(mark.severity) : 9, over: mark.isOver === true, rounded: mark.isRounded === true },
    })));
    const fresh = this.known === null ? new Set() : new Set(marks.filter((mark) => !this.known?.has(mark.id)).map((mark) => mark.id));
    this.known = new Set(marks.map((mark) => mark.id));
    if (!this.hasMoved) this.#fit(false);
    this.#place(fresh);
    this.note.hidden = marks.length > 0 || (this.ground?.features.length ?? 0) > 0;
    setText(this.note, t().none);
  }

  /** Draws the areas under the marks. @param {Ground} ground */
  drawGround(ground) {
    this.ground = ground;
    this.#drawGround();
    if (!this.hasMoved) this.#fit(false);
    this.note.hidden = this.marks.length > 0 || ground.features.length > 0;
  }

  /** Reads the areas in one, the root when left out, and draws them. What cannot be read is not there. @param {string} [parent] */
  async loadGround(parent) {
    this.wanted = parent;
    try {
      const ground = await get(`/v1/boundaries${parent ? `?${new URLSearchParams({ parent })}` : ""}`);
      if (this.wanted === parent) this.drawGround(ground);
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return false;
    }
  }

  /** Offers the site's layers, as far as one may see them. A centre without such an address has none. */
  async loadLayers() {
    let listed;
    try {
      listed = (await get("/v1/layers")).items;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return;
    }
    const chosen = JSON.parse(choice(LAYERS_KEY, "{}"));
    for (const about of listed) {
      const isOn = chosen[about.id] ?? about.shown === true;
      this.known_layers.set(about.id, { about, features: null, group: this.L.layerGroup(), isOn, hasFailed: false });
    }
    this.#overlays();
    await Promise.all([...this.known_layers.values()].filter((one) => one.isOn).map((one) => this.#switch(one, true)));
  }

  /** Goes back to where everything is seen. */
  whole() {
    this.hasMoved = false;
    this.#fit(true);
  }

  /** Marks that stand alone, and those that are several, by their ids: what is on the map now. */
  get drawn() {
    return [...this.shown.values()].map((one) => one.ids);
  }

  #resized() {
    this.map.invalidateSize({ pan: false });
    if (!this.hasMoved) this.#fit(false);
    this.#place();
    this.#name();
  }

  /** @param {boolean} isAnimated */
  #fit(isAnimated) {
    const { L } = this;
    const places = this.marks.map((mark) => [mark.lat, mark.lon]);
    const bounds = places.length > 0 ? L.latLngBounds(places) : this.ground && this.ground.features.length > 0 ? L.geoJSON(this.ground).getBounds() : null;
    if (!bounds?.isValid() || this.view.clientWidth === 0) return;
    // On a small map the buttons have to lie over something.
    const [x, y] = [this.view.clientWidth, this.view.clientHeight].map((size) => Math.min(PAD_PX, size / 8));
    const side = x + this.tools.offsetWidth;
    this.map.fitBounds(bounds.pad(PAD), {
      animate: isAnimated && !isCalm(), maxZoom: ZOOM_ALONE,
      paddingTopLeft: [x, y], paddingBottomRight: [side * 3 < this.view.clientWidth ? side : x, y],
    });
  }

  /** Puts the marks where they are now. Those that stay keep their element, and so the focus. @param {Set<unknown>} [fresh] */
  #place(fresh = new Set()) {
    if (!this.index || this.view.clientWidth === 0) return;
    const bounds = this.map.getBounds().pad(0.2);
    const zoom = Math.max(0, Math.min(ZOOM_MAX, Math.floor(this.map.getZoom())));
    const box = [Math.max(-180, bounds.getWest()), Math.max(-85, bounds.getSouth()), Math.min(180, bounds.getEast()), Math.min(85, bounds.getNorth())];
    const seen = new Set();
    for (const one of this.index.getClusters(box, zoom)) {
      const about = one.properties;
      const marks = /** @type {Mark[]} */ (about.cluster ? this.index.getLeaves(about.cluster_id, Infinity).map((/** @type {any} */ leaf) => leaf.properties.mark) : [about.mark]);
      const ids = marks.map((mark) => mark.id).sort();
      const key = ids.length === 1 ? ids[0] : `${ids.length} ${ids[0]}`;
      seen.add(key);
      const severity = SEVERITIES[about.rank] ?? "";
      const [lon, lat] = one.geometry.coordinates;
      const label = marks.length === 1 ? marks[0].label : t().cluster(String(marks.length), severity && word("severity", severity));
      const drawn = JSON.stringify([marks.length, severity, about.over, about.rounded, label]);
      let known = this.shown.get(key);
      if (!known) this.shown.set(key, (known = this.#mark(key, lat, lon)));
      known.marker.setLatLng([lat, lon]);
      known.ids = ids;
      known.node.dataset.ids = ids.join(" ");
      if (known.drawn !== drawn) {
        known.drawn = drawn;
        this.#fill(known, marks, severity, about.over, about.rounded, label);
      }
      known.node.classList.toggle("on", ids.some((id) => this.selected.has(id)));
      if (ids.some((id) => fresh.has(id))) {
        known.node.classList.add("fresh");
        setTimeout(() => known?.node.classList.remove("fresh"), NEW_SHOWN_MS);
      }
    }
    for (const [key, { marker, node }] of this.shown) {
      if (seen.has(key)) continue;
      const hadFocus = node === document.activeElement;
      marker.remove();
      this.shown.delete(key);
      if (hadFocus) this.view.focus({ preventScroll: true });
    }
  }

  /** @param {string} key @param {number} lat @param {number} lon */
  #mark(key, lat, lon) {
    const { L } = this;
    const marker = L.marker([lat, lon], { icon: L.divIcon({ className: "map-mark", iconSize: null, html: make("span", { class: "map-form" }) }), keyboard: !this.isStill, interactive: !this.isStill, riseOnHover: true });
    marker.addTo(this.map);
    const node = /** @type {HTMLElement} */ (marker.getElement());
    if (this.isStill) node.setAttribute("role", "img");
    node.dataset.key = key;
    const go = () => this.#chosen(key);
    marker.on("click", go);
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      go();
    });
    return { marker, node, drawn: "", ids: /** @type {string[]} */ ([]) };
  }

  /** @param {{node: HTMLElement, marker: any}} known @param {Mark[]} marks @param {string} severity @param {boolean} isOver @param {boolean} isRounded @param {string} label */
  #fill({ node, marker }, marks, severity, isOver, isRounded, label) {
    node.dataset.severity = severity;
    node.dataset.count = String(marks.length);
    node.classList.toggle("several", marks.length > 1);
    node.classList.toggle("over", isOver);
    node.classList.toggle("rounded", isRounded);
    node.setAttribute("aria-label", label);
    node.title = label;
    const form = /** @type {HTMLElement} */ (node.querySelector(".map-form"));
    setText(form, marks.length > 1 ? new Intl.NumberFormat(locale()).format(marks.length) : SIGNS[severity] ?? "");
    marker.setZIndexOffset((SEVERITIES.length - Math.max(0, SEVERITIES.indexOf(severity))) * 1000);
  }

  /** @param {string} key */
  #chosen(key) {
    const known = this.shown.get(key);
    if (!known) return;
    this.hasMoved = true;
    if (known.ids.length === 1) return this.pick(known.ids);
    const { L } = this;
    const wanted = new Set(known.ids);
    const places = this.marks.filter((mark) => wanted.has(mark.id)).map((mark) => [mark.lat, mark.lon]);
    const bounds = L.latLngBounds(places);
    const isOnePlace = bounds.getSouthWest().distanceTo(bounds.getNorthEast()) < 3 || this.map.getZoom() >= ZOOM_MAX;
    // Marks that no closer look tells apart are chosen together.
    if (isOnePlace) return this.pick(known.ids);
    this.map.fitBounds(bounds.pad(0.4), { animate: !isCalm(), maxZoom: ZOOM_MAX });
  }

  #drawGround() {
    const { L } = this;
    this.areas.clearLayers();
    if (!this.ground) return this.#credit();
    const color = this.#colour("--quiet"), fill = this.#colour("--panel");
    L.geoJSON(this.ground, {
      interactive: false,
      style: () => ({ color, weight: 1, opacity: 0.75, fill: this.tiles === null, fillColor: fill, fillOpacity: 1 }),
      pointToLayer: (/** @type {any} */ _, /** @type {any} */ place) => L.circleMarker(place, { radius: 2.5, interactive: false, color, weight: 1, fillColor: color, fillOpacity: 1 }),
    }).addTo(this.areas);
    this.#name();
    this.#credit();
  }

  /** Names areas where there is room for it, the largest first. */
  #name() {
    const { L } = this;
    this.names.clearLayers();
    if (!this.ground || this.view.clientWidth === 0) return;
    const view = this.map.getBounds();
    /** @type {{x: number, y: number}[]} */
    const taken = [];
    const wide = (/** @type {any} */ bounds) => this.map.latLngToLayerPoint(bounds.getNorthEast()).x - this.map.latLngToLayerPoint(bounds.getSouthWest()).x;
    const grounds = this.ground.features.map((feature) => ({ feature, bounds: largest(L, feature.geometry) }));
    const sorted = grounds.map((one) => ({ ...one, px: one.feature.geometry.type === "Point" ? Infinity : wide(one.bounds) })).sort((a, b) => b.px - a.px);
    for (const { feature, bounds, px } of sorted) {
      if (taken.length >= LABELS_MAX) break;
      const place = bounds.getCenter();
      if (px < LABEL_PX * 0.55 || !view.contains(place)) continue;
      const at = this.map.latLngToLayerPoint(place);
      if (taken.some((other) => Math.abs(other.x - at.x) < LABEL_PX && Math.abs(other.y - at.y) < LABEL_HIGH_PX)) continue;
      taken.push(at);
      const name = short(nameOf(feature.properties.names, feature.properties.code));
      L.marker(place, { interactive: false, keyboard: false, zIndexOffset: -10_000, icon: L.divIcon({ className: `map-name${feature.geometry.type === "Point" ? " point" : ""}`, iconSize: null, html: make("span", { text: name }) }) }).addTo(this.names);
    }
  }

  #credit() {
    const said = [
      this.ground?.attribution && `${t().ground}: ${this.ground.attribution}`,
      this.tiles && `${t().tiles}: ${this.tiles.attribution}`,
    ].filter(Boolean).join(" · ");
    setText(this.credit, said);
    this.credit.hidden = said === "";
  }

  #tools() {
    const button = (/** @type {string} */ name, /** @type {string} */ sign, /** @type {string} */ label, /** @type {() => void} */ go) =>
      make("button", { type: "button", class: `map-${name}`, title: label, "aria-label": label, onclick: go, text: sign });
    const step = (/** @type {number} */ by) => () => { this.hasMoved = true; this.map.setZoom(this.map.getZoom() + by); };
    this.view.setAttribute("aria-label", t().map);
    this.view.setAttribute("role", "application");
    this.tools.replaceChildren(button("closer", "+", t().closer, step(1)), button("further", "−", t().further, step(-1)), button("whole", "⤢", t().whole, () => this.whole()));
    this.#credit();
  }

  /** Which forms mean what. @param {("severity" | "over" | "rounded")[]} [kinds] */
  #legend(kinds) {
    this.kinds = kinds ?? this.kinds ?? ["severity"];
    const entry = (/** @type {string} */ kind, /** @type {string} */ severity, /** @type {string} */ sign, /** @type {string} */ text) =>
      make("li", {}, make("span", { class: `map-mark still ${kind}`, "data-severity": severity, "aria-hidden": "true" }, make("span", { class: "map-form", text: sign })), make("span", { text }));
    this.legend.replaceChildren(
      ...(this.kinds.includes("severity") ? SEVERITIES.map((one) => entry("", one, SIGNS[one], word("severity", one))) : [entry("", "", "", t().open)]),
      ...(this.kinds.includes("over") ? [entry("over", "", "", t().over)] : []),
      ...(this.kinds.includes("rounded") ? [entry("rounded", "", "", t().rounded)] : []),
      ...(this.isStill ? [] : [entry("several", "", "3", t().several)]),
    );
  }

  /** Says which forms the legend explains. @param {("severity" | "over" | "rounded")[]} kinds */
  explain(kinds) {
    this.#legend(kinds);
  }

  // Layers of the site

  #overlays() {
    const all = [...this.known_layers.values()];
    this.overlays.hidden = this.isStill || all.length === 0;
    if (all.length === 0) return;
    const isOpen = /** @type {HTMLDetailsElement | null} */ (this.overlays.querySelector("details"))?.open ?? false;
    const details = make("details", {}, make("summary", { text: `${t().layers} (${all.filter((one) => one.isOn).length}/${all.length})` }),
      ...all.map((one) => {
        const box = make("input", { type: "checkbox", "data-layer": one.about.id });
        box.checked = one.isOn;
        box.addEventListener("change", () => void this.#switch(one, box.checked));
        const name = nameOf(one.about.names, one.about.id);
        return make("label", { class: "check" }, box, make("span", { text: one.hasFailed ? `${name}: ${t().failed}` : name }));
      }));
    details.open = isOpen;
    this.overlays.replaceChildren(details);
  }

  /** @param {any} one @param {boolean} isOn */
  async #switch(one, isOn) {
    one.isOn = isOn;
    keep(LAYERS_KEY, JSON.stringify(Object.fromEntries([...this.known_layers.values()].map((each) => [each.about.id, each.isOn]))));
    if (isOn && one.features === null) {
      try {
        one.features = await get(`/v1/layers/${encodeURIComponent(one.about.id)}`);
        one.hasFailed = false;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        Object.assign(one, { hasFailed: true, isOn: false });
      }
    }
    this.#overlays();
    this.#drawLayers();
  }

  #drawLayers() {
    const { L } = this;
    for (const { about, features, group, isOn } of this.known_layers?.values() ?? []) {
      group.clearLayers();
      if (!isOn || !features) { group.remove(); continue; }
      const colour = about.colour || this.#colour("--mark");
      L.geoJSON(features, {
        style: () => ({ color: colour, weight: 2, opacity: 0.9, fillColor: colour, fillOpacity: 0.15 }),
        pointToLayer: (/** @type {any} */ _, /** @type {any} */ place) => L.circleMarker(place, { radius: 6, color: this.#colour("--panel"), weight: 1.5, fillColor: colour, fillOpacity: 1 }),
        onEachFeature: (/** @type {any} */ feature, /** @type {any} */ layer) => layer.bindPopup(() => card(about, feature.properties ?? {}), { maxWidth: 280, autoPan: false }),
      }).addTo(group);
      group.addTo(this.map);
    }
  }

  /** @param {string} name */
  #colour(name) {
    return getComputedStyle(this.root).getPropertyValue(name).trim() || "#888888";
  }
}

/** What a layer says of one thing. Its texts go in as text. @param {any} about @param {Record<string, any>} properties */
function card(about, properties) {
  const title = about.title ? properties[about.title] : undefined;
  const picture = about.snapshot ? properties[about.snapshot] : undefined;
  const rest = Object.entries(properties).filter(([name, value]) => name !== about.title && name !== about.snapshot && ["string", "number"].includes(typeof value));
  // Only pictures of this origin: nothing is loaded from elsewhere.
  const image = typeof picture === "string" && /^\/?v1\//.test(picture) ? make("img", { src: picture.replace(/^\//, ""), alt: "", class: "map-picture" }) : null;
  return make("div", { class: "map-card" }, make("strong", { text: String(title ?? nameOf(about.names, about.id)) }), image,
    make("dl", {}, ...rest.slice(0, 12).map(([name, value]) => make("div", {}, make("dt", { text: name }), make("dd", { text: String(value) })))));
}

/** The bounds of the largest part of a ground. @param {any} L @param {any} geometry */
function largest(L, geometry) {
  if (geometry.type === "Point") return L.latLngBounds([[geometry.coordinates[1], geometry.coordinates[0]]]);
  const rings = geometry.type === "Polygon" ? [geometry.coordinates[0]] : geometry.coordinates.map((/** @type {any} */ part) => part[0]);
  const boxes = rings.map((/** @type {number[][]} */ ring) => L.latLngBounds(ring.map(([lon, lat]) => [lat, lon])));
  const size = (/** @type {any} */ box) => (box.getEast() - box.getWest()) * (box.getNorth() - box.getSouth());
  return boxes.reduce((/** @type {any} */ a, /** @type {any} */ b) => (size(b) > size(a) ? b : a));
}

/** A name without the word for what it is, as maps have it. @param {string} name */
function short(name) {
  return name.replace(/^(Thành phố|Tỉnh|Phường|Xã|Đặc khu)\s+/u, "").replace(/\s+(City|Province|Ward|Commune|Special Zone)$/u, "");
}
