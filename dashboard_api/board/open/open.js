/** Which cases are published, where are they, and how do they stand? A table, and a map that says the same. */

import { inOrder } from "../shared/areas.js";
import { ApiError, get } from "../shared/api.js";
import { at, make, say } from "../shared/dom.js";
import { CaseMap } from "../shared/map.js";
import { watchLink } from "../shared/pulse.js";
import { languageSwitch, locale, nameOf, onLanguage, themeSwitch, translate } from "../shared/texts.js";
import { absolute } from "../shared/time.js";
import { texts } from "./texts.js";

const PAGE = 200;
const FILE = 1000;
const AGAIN_MS = 3000;
/** The centre lets answers be kept for a minute. */
const READ_EVERY_MS = 60_000;
const STATES = ["all", "open", "closed"];
const OVER = ["done", "closed", "refused"];

/**
 * @typedef {{id: string, category: string, names: Record<string, string>, area: string, stage: string, opened_on: string,
 *   closed_on: string | null, lat: number | null, lon: number | null, rounded: boolean}} Case
 */
/** @typedef {{id: string, parent: string | null, list: string, names: Record<string, string>, point: [number, number] | null}} Area */

/** @type {{names: Record<string, string>, zone: string, area_list: string, categories: {id: string, kind: string, names: Record<string, string>}[], map: import("../shared/map.js").Tiles | null} | null} */
let site = null;
/** @type {Area[]} */
let areas = [];
/** @type {Case[]} */
let cases = [];
/** @type {string | null} */
let next = null;
/** @type {"loading" | "failed" | "read"} */
let state = "loading";
/** @type {number | null} */
let staleSinceMs = null;
/** What is marked, by id. @type {Set<string>} */
let marked = new Set();
/** There once the site is known. @type {CaseMap | null} */
let map = null;
/** Only the newest question's answer is shown. */
let asked = 0;
let timer = 0;

const chosen = (() => {
  const given = new URLSearchParams(location.search);
  const state = given.get("state") ?? "";
  return { category: given.get("category") ?? "", area: given.get("area") ?? "", state: STATES.includes(state) ? state : "all" };
})();

/** The question that the filters ask. @param {Record<string, string>} more */
function query(more) {
  const asking = new URLSearchParams(more);
  if (chosen.category) asking.set("category", chosen.category);
  if (chosen.area) asking.set("area", chosen.area);
  if (chosen.state !== "all") asking.set("open", String(chosen.state === "open"));
  return asking.toString();
}

/** Reads the first page, or as many as were shown; or the page after. @param {boolean} [isMore] */
async function read(isMore = false) {
  clearTimeout(timer);
  const number = (asked += 1);
  let again = READ_EVERY_MS;
  try {
    const limit = String(Math.min(Math.max(PAGE, isMore ? PAGE : cases.length), FILE));
    /** @type {Record<string, string>} */
    const after = isMore && next !== null ? { after: next } : {};
    const page = await get(`/v1/public/cases?${query({ limit, ...after })}`);
    if (number !== asked) return;
    cases = isMore ? [...cases, ...page.items] : page.items;
    next = page.next ?? null;
    state = "read";
  } catch (error) {
    if (number !== asked) return;
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 422 && (chosen.area || chosen.category)) {
      // An address may name what the site no longer has.
      chosen.area = "";
      chosen.category = "";
      drawFilters();
      return read();
    }
    if (cases.length === 0) state = "failed";
    again = AGAIN_MS;
  }
  draw();
  timer = setTimeout(() => {
    // More pages than one are read anew only when they are asked for.
    if (document.visibilityState === "visible" && cases.length <= FILE) read();
  }, again);
}

function choose() {
  chosen.category = select("category").value;
  chosen.area = select("area").value;
  chosen.state = select("state").value;
  const kept = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(chosen)) {
    if (value === "" || value === "all") kept.delete(name);
    else kept.set(name, value);
  }
  history.replaceState(null, "", `open${kept.size > 0 ? `?${kept}` : ""}`);
  [cases, next, state, marked] = [[], null, "loading", new Set()];
  draw();
  read();
}

function drawFilters() {
  const said = texts();
  const categories = (site?.categories ?? []).filter((one) => one.kind !== "conduct" && one.kind !== "violation");
  fill("category", [["", said.all], ...categories.map((one) => pair(one.id, nameOf(one.names, one.id)))], chosen.category);
  // The root is everywhere.
  const below = inOrder(areas).filter(({ depth }) => depth > 0);
  const named = below.map(({ area, depth }) => pair(area.id, `${"\u2003".repeat(depth - 1)}${nameOf(area.names, area.id)}`));
  fill("area", [["", said.everywhere], ...named], chosen.area);
  fill("state", [["all", said.all], ["open", said.open], ["closed", said.closed]], chosen.state);
}

/** @param {string} id @param {[string, string][]} options @param {string} value */
function fill(id, options, value) {
  select(id).replaceChildren(...options.map(([key, text]) => new Option(text, key)));
  select(id).value = value;
  if (select(id).selectedIndex < 0 && value !== "") {
    select(id).append(new Option(value, value));
    select(id).value = value;
  }
}

function draw() {
  const said = texts();
  at("site-name").textContent = nameOf(site?.names, "");
  document.title = [said.title, nameOf(site?.names, "")].filter(Boolean).join(" · ");
  at("count").textContent = state === "read" ? said.count(cases.length, next !== null) : "";
  say(at("nothing"), state === "loading" ? said.loading : state === "failed" ? said.failed : cases.length === 0 ? said.none : "");
  at("table").hidden = cases.length === 0;
  at("more").hidden = next === null;
  for (const form of ["csv", "geojson"]) {
    /** @type {HTMLAnchorElement} */ (at(form)).href = `v1/public/cases.${form}?${query({ limit: String(FILE) })}`;
  }
  drawRows();
  drawPoints();
  drawLink();
}

function drawRows() {
  const said = texts();
  const named = new Map(areas.map((area) => [area.id, area]));
  const day = new Intl.DateTimeFormat(locale(), { timeZone: "UTC", day: "2-digit", month: "2-digit", year: "numeric" });
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.id;
  at("rows").replaceChildren(...cases.map((one) => {
    const name = nameOf(one.names, one.category);
    /** @type {Node | string} */
    let what = name;
    if (one.lat !== null && one.lon !== null) {
      what = make("button", { type: "button", class: "plain", "aria-label": said.onMap(name), "data-id": one.id }, name);
      what.addEventListener("click", () => mark([one.id], false));
    }
    const since = make("time", { datetime: one.opened_on }, day.format(Date.parse(one.opened_on)));
    const stages = /** @type {Record<string, string>} */ (said.stages);
    return make(
      "tr", { "data-id": one.id, class: marked.has(one.id) ? "on" : "" },
      make("td", {}, what), make("td", {}, nameOf(named.get(one.area)?.names, one.area)),
      make("td", {}, since), make("td", {}, stages[one.stage] ?? one.stage),
    );
  }));
  if (focused) /** @type {HTMLElement | null} */ (at("rows").querySelector(`button[data-id="${CSS.escape(focused)}"]`))?.focus();
}

function drawPoints() {
  const said = texts();
  const points = cases.filter((one) => one.lat !== null && one.lon !== null);
  at("map-part").hidden = points.length === 0;
  if (points.length === 0) return;
  at("map-about").textContent = said.mapAbout(points.length, points.filter((one) => one.rounded).length);
  showMarked();
}

/** Marks cases in both. @param {string[]} picked @param {boolean} fromMap */
function mark(picked, fromMap) {
  marked = new Set(picked);
  showMarked();
  const target = fromMap ? at("rows").querySelector("tr.on") : at("map-part");
  target?.scrollIntoView({ block: "nearest", behavior: "instant" });
}

function showMarked() {
  for (const row of at("rows").querySelectorAll("tr")) row.classList.toggle("on", marked.has(row.dataset.id ?? ""));
  const said = texts();
  const stages = /** @type {Record<string, string>} */ (said.stages);
  map?.draw(cases.flatMap((one) => (one.lat === null || one.lon === null ? [] : [{
    id: one.id, lat: one.lat, lon: one.lon, isRounded: one.rounded, isOver: OVER.includes(one.stage),
    label: [nameOf(one.names, one.category), stages[one.stage] ?? one.stage].join(" · "),
  }])), marked);
  say(at("picked"), marked.size === 0 ? "" : texts().picked(marked.size));
}

function drawLink() {
  const since = staleSinceMs === null ? "" : absolute(staleSinceMs, Date.now(), site?.zone ?? "UTC");
  document.body.dataset.fresh = staleSinceMs === null ? "yes" : "no";
  say(at("stale"), staleSinceMs === null ? "" : texts().stale(since));
}

/** @param {string} id @param {string} text @returns {[string, string]} */
const pair = (id, text) => [id, text];

/** @param {string} id */
const select = (id) => /** @type {HTMLSelectElement} */ (at(id));

async function load() {
  for (;;) {
    try {
      site = await get("/v1/site");
      break;
    } catch {
      state = "failed";
      draw();
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }
  drawFilters();
  map = new CaseMap(at("map"), { pick: (ids) => mark(ids, true), tiles: site?.map ?? null });
  map.explain(["over", "rounded"]);
  void map.loadLayers();
  void map.loadGround();
  // The list first: the areas of a whole country are many times its size, and only give names.
  await read();
  try {
    areas = (await get(`/v1/areas?list=${encodeURIComponent(site?.area_list ?? "")}`)).items;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
  drawFilters();
  draw();
}

languageSwitch(at("language"));
themeSwitch(select("theme"));
translate();
draw();
onLanguage(() => {
  drawFilters();
  draw();
});
at("skip").addEventListener("click", (event) => {
  event.preventDefault();
  at("main").focus();
});
at("filters").addEventListener("change", choose);
at("filters").addEventListener("submit", (event) => event.preventDefault());
at("more").addEventListener("click", () => read(true));
await load();
watchLink((isFresh, heardAtMs) => {
  staleSinceMs = isFresh ? null : heardAtMs;
  drawLink();
  if (isFresh) read();
});
