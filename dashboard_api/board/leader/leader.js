/**
 * How does an area stand against its targets, why, and what is behind it?
 *
 * Everything shown follows from the address. The figures are read anew every half minute, as one answer of one moment;
 * when the link is lost the page says so within five seconds, and reads again when it is back.
 */

import { ApiError, get } from "../shared/api.js";
import { at, make, say, setText } from "../shared/dom.js";
import { formatTime } from "../shared/format.js";
import { watchLink } from "../shared/pulse.js";
import { Session } from "../shared/session.js";
import { language, languageSwitch, locale, nameOf, onLanguage, themeSwitch, translate } from "../shared/texts.js";
import { absolute } from "../shared/time.js";
import { Travel, modeOf } from "../shared/travel.js";
import { drawAreas, ENDS, folded } from "./areas.js";
import { drawCards, drawLights, drawTiles } from "./cards.js";
import { Depth, readDepth, spanOf } from "./depth.js";
import { hasGoal, kindOf, worseFirst } from "./reasons.js";
import { drawReport } from "./report.js";
import { LENGTHS, addressOf, calendarPeriod, dayOf, lengthOf, periodName, periodWith, readState } from "./state.js";
import { texts } from "./texts.js";

const READ_EVERY_MS = 30_000;
const AGAIN_MS = 3000;
/** While the past goes by it is read anew so often. */
const PLAYED_EVERY_MS = 5000;
/** Areas of one's own that have a link; the others are found by the table. */
const MINE_MAX = 12;

/** @typedef {import("./reasons.js").Overview} Overview */
/** @typedef {import("./reasons.js").Kpi} Kpi */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./areas.js").Row} Row */
/** @typedef {import("./reasons.js").Area} Area */

/** @type {{names: Record<string, string>, zone: string, area_list: string} | null} */
let site = null;
/** @type {Session | null} */
let session = null;
/** @type {Map<string, Kpi>} */
let kpis = new Map();
/** @type {Overview | null} */
let overview = null;
/** @type {Awaited<ReturnType<typeof readDepth>> | null} */
let depthRead = null;
/** What the table of areas shows, and of which indicator. @type {{kpi: string, rows: Row[], worst: Row[] | null, total: number, query: string} | null} */
let table = null;
/** What went wrong with the newest reading. @type {ApiError | null} */
let failure = null;
/** @type {number | null} */
let staleSinceMs = null;
/** @type {string | null} */
let stoppedSince = null;
/** The server's clock less ours. */
let offsetMs = 0;
/** Areas that are not on the page otherwise, by id; null until they are needed. @type {Map<string, Area> | null} */
let allAreas = null;
/** @type {Travel | null} */
let travel = null;
const mode = modeOf();
let state = readMode(location.search);
let readAtMs = 0;
let areaPage = 0;
let reading = new AbortController();
let timer = 0;
/** Only the newest question's answer is shown. */
let asked = 0;

const depth = new Depth(at("depth"));

const nowMs = () => Date.now() + offsetMs;

/** What the address says; drills' indicators have names of their own. @param {string} search @returns {State} */
function readMode(search) {
  const found = readState(search);
  const named = (/** @type {string} */ kpi) => (kpi === "" ? "" : `${mode.drill ? "drill:" : ""}${kpi.replace(/^drill:/, "")}`);
  return { ...found, kpi: named(found.kpi), chosen: named(found.chosen) };
}

/** @param {Partial<State>} changes */
const link = (changes) => addressOf({ ...state, ...changes });

/** Goes to another view, as a link does. @param {Partial<State>} changes */
function go(changes) {
  const before = state;
  state = { ...state, ...changes };
  history.pushState(null, "", addressOf(state));
  moved(before);
}

/** What has to be read and drawn after the address has changed. @param {State} before */
function moved(before) {
  const isElsewhere = before.area !== state.area || before.period !== state.period;
  if (isElsewhere) [overview, table, areaPage] = [null, null, 0];
  if (isElsewhere || before.kpi !== state.kpi) depthRead = null;
  if (["chosen", "scope", "sort", "map", "kpi"].some((name) => /** @type {any} */ (before)[name] !== /** @type {any} */ (state)[name])) areaPage = 0;
  failure = null;
  draw();
  if (isElsewhere || before.kpi !== state.kpi) {
    // Whoever reads with the ears is told where the page is now.
    const target = state.kpi ? document.getElementById("depth-title") : isElsewhere ? at("area-name") : null;
    if (target) target.focus({ preventScroll: true });
    else if (before.kpi) /** @type {HTMLElement | null} */ (document.querySelector(`[data-kpi="${CSS.escape(before.kpi)}"] .card-link`))?.focus({ preventScroll: true });
    scrollTo({ top: 0, behavior: "instant" });
  }
  void read();
}

/** The indicator whose areas are listed. */
function chosenKpi() {
  if (state.kpi) return state.kpi;
  if (state.chosen && kpis.has(state.chosen)) return state.chosen;
  const items = overview?.items ?? [];
  return [...items].sort(worseFirst)[0]?.kpi ?? "";
}

/** Where the person who has signed in works. */
const myAreas = () => (session?.me.asked && session.me.id !== null ? session.me.areas : []);

/** Reads what the page shows, all of it anew. */
async function read() {
  clearTimeout(timer);
  reading.abort();
  reading = new AbortController();
  const { signal } = reading;
  const number = (asked += 1);
  let again = READ_EVERY_MS;
  readAtMs = Date.now();
  try {
    // Which month it is the centre knows best.
    const query = new URLSearchParams(state.area ? { area: state.area } : {});
    if (state.period !== "month") query.set("period", calendarPeriod(state.period, nowMs(), overview?.zone ?? site?.zone ?? "UTC"));
    if (mode.drill) query.set("exercise", "true");
    if (travel?.isPast) query.set("as_of", travel.asOf);
    const found = /** @type {Overview} */ (await get(`/v1/overview?${query}`, { signal }));
    if (number !== asked) return;
    offsetMs = Date.parse(found.as_of) - Date.now();
    overview = found;
    const item = found.items.find((one) => one.kpi === state.kpi);
    if (state.kpi && !item) throw new ApiError(404, { detail: texts().unknown });
    // All of the page is of one moment.
    /** @type {Record<string, string>} */
    const when = travel?.isPast ? { as_of: found.as_of } : {};
    const [inDepth, areas] = await Promise.all([item ? readDepth(found, item, state, signal, when) : null, readAreas(signal, when), travel?.isPast ? null : readStopped(signal)]);
    if (number !== asked) return;
    [depthRead, table, failure] = [inDepth, areas, null];
    if (staleSinceMs !== null) staleSinceMs = null;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return;
    if (!(error instanceof ApiError)) throw error;
    if (number !== asked) return;
    failure = error;
    again = AGAIN_MS;
    if (travel?.isPast && error.status === 422) travel.refused(error.message);
    if (overview !== null && isAway(error)) staleSinceMs ??= Date.parse(overview.as_of) - offsetMs;
  }
  draw();
  // What was known at a moment stays so.
  if (!travel?.isPast || (failure !== null && isAway(failure))) timer = setTimeout(readWhenSeen, again);
}

function readWhenSeen() {
  if (document.visibilityState === "visible") void read();
  else document.addEventListener("visibilitychange", () => void read(), { once: true });
}

/** Whether it may be well again by itself. @param {ApiError} error */
const isAway = (error) => error.status === 0 || error.status >= 500;

/** Whether somebody counts, as a whole centre says it or the dashboard alone. @param {AbortSignal} signal */
async function readStopped(signal) {
  const answer = await fetch(new URL("readyz", document.baseURI), { signal, cache: "no-store" });
  const told = await answer.json().catch(() => ({}));
  const streams = (told.dependencies ?? told).streams;
  stoppedSince = streams?.state === "away" ? streams.since : null;
}

/** The areas on the list that the table shows. @param {Overview} found */
function listed(found) {
  const map = found.maps.find((one) => one.list === state.map);
  if (map && map.areas.length > 1) return { areas: map.areas.map((one) => one.id).join(","), area: found.area };
  if (map) return { areas: "children", area: map.areas[0].id };
  return { areas: state.scope === "leaves" && found.below.some((one) => one.has_below) ? "leaves" : "children", area: found.area };
}

/** @param {AbortSignal} signal @param {Record<string, string>} when */
async function readAreas(signal, when) {
  const found = /** @type {Overview} */ (overview);
  const kpi = chosenKpi();
  const item = found.items.find((one) => one.kpi === kpi);
  if (!item) return null;
  const of = listed(found);
  const query = new URLSearchParams({ ...of, ...spanOf(found, item), ...when });
  const path = `/v1/kpis/${encodeURIComponent(kpi)}/table?`;
  if (of.areas !== "leaves") {
    const all = await get(`${path}${query}`, { signal });
    return { kpi, rows: all.rows, worst: null, total: all.total, query: String(query) };
  }
  // Thousands of areas: both ends are what anybody asks for.
  query.set("limit", String(ENDS));
  const isLower = kpis.get(kpi)?.direction === "lower";
  const [best, worst] = await Promise.all([
    get(`${path}${query}&order=rank`, { signal }), get(`${path}${query}&order=${isLower ? "-value" : "value"}`, { signal }),
  ]);
  query.delete("limit");
  return { kpi, rows: best.rows, worst: worst.rows, total: best.total, query: String(query) };
}

// ── What is shown ──

function draw() {
  const said = texts();
  setText(at("site-name"), nameOf(site?.names, ""));
  drawLink();
  drawFailure();
  const isThere = overview !== null;
  at("loading").hidden = isThere || failure !== null;
  at("board").hidden = !isThere || state.kpi !== "";
  at("areas-part").hidden = !isThere || (overview?.below.length === 0 && overview?.maps.length === 0);
  at("depth").hidden = true;
  at("print").textContent = said.report;
  at("print").hidden = !isThere;
  at("export").hidden = !isThere || mode.asOf !== null;
  at("past").hidden = !isThere || mode.asOf === null;
  setText(at("past"), said.aboutPast);
  drawPeriod();
  if (overview === null) {
    say(at("as-of"), "");
    return;
  }
  const found = overview;
  const name = nameOf(found.names, found.area);
  document.title = [state.kpi ? nameOf(kpis.get(state.kpi)?.names, state.kpi) : name, periodName(found.period, locale()), said.title].join(" · ");
  setText(at("area-name"), name);
  const told = mode.asOf === null ? said.asOf : said.asOfPast;
  say(at("as-of"), told(formatTime(Date.parse(found.as_of), mode.asOf === null ? nowMs() : Date.now(), locale(), found.zone, true)));
  setText(at("footer"), said.times(found.zone));
  drawPath(found);
  const scene = { overview: found, kpis, kind: kindOf(found.below), nowMs: nowMs(), notLive: travel?.says.textContent ?? "", link };
  const item = found.items.find((one) => one.kpi === state.kpi);
  if (item) {
    at("depth").hidden = false;
    depth.draw({
      ...scene, item, kpi: /** @type {Kpi} */ (kpis.get(item.kpi)), state, isIn: session?.isIn ?? false, isPast: mode.asOf !== null, course: depthRead?.course ?? null, courseRefused: depthRead?.courseRefused ?? "",
      step: depthRead?.step ?? item.trend_step, whole: depthRead?.whole ?? null, split: depthRead?.split ?? null, areaName, go,
    });
  } else if (!state.kpi) {
    drawBoard(scene);
  }
  drawAreasPart(found);
  drawExports(found);
  drawReport(at("report"), scene, nameOf(site?.names, ""), session?.me.name ?? "");
}

/** @param {import("./cards.js").Scene} scene */
function drawBoard(scene) {
  const said = texts();
  drawTiles(at("tiles"), scene, state.show);
  const inside = scene.overview.items.filter((item) => state.show === "" || item.pillar === state.show || item.group === state.show);
  drawLights(at("lights"), scene, inside, state.light);
  at("order").setAttribute("role", "group");
  at("order").setAttribute("aria-label", said.order);
  at("order").replaceChildren(.../** @type {const} */ ([["worst", said.worstFirst], ["pillar", said.byPillar]]).map(([order, word]) =>
    make("a", { class: "button", href: link({ order }), "aria-current": state.order === order ? "true" : undefined }, word)));
  const find = /** @type {HTMLInputElement} */ (at("find"));
  find.placeholder = said.findPlace;
  const words = folded(find.value.trim());
  const items = inside.filter((item) =>
    (state.light === "" || (hasGoal(item) && item.own.status === state.light)) && (words === "" || folded([...Object.values(item.names), item.kpi].join(" ")).includes(words)));
  say(at("none"), scene.overview.items.length === 0 ? said.noKpis : items.length === 0 ? said.noneFound : "");
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.closest?.("[data-kpi]")?.getAttribute("data-kpi");
  drawCards(at("cards"), scene, items, state.order, state.show !== "" || words !== "");
  if (focused) /** @type {HTMLElement | null} */ (at("cards").querySelector(`[data-kpi="${CSS.escape(focused)}"] .card-link`))?.focus({ preventScroll: true });
}

/** @param {Overview} found */
function drawPath(found) {
  const said = texts();
  const links = found.path.map((area, number) => {
    const isLast = number === found.path.length - 1;
    return make("li", {}, make("a", { href: link({ area: area.id, map: "" }), "aria-current": isLast ? "page" : undefined, "data-area": area.id }, nameOf(area.names, area.code)));
  });
  // Whoever works in an area works in those of earlier maps that lie in it, too; these are found by its own.
  const own = myAreas().filter((id) => id !== found.area && listOf(id) === site?.area_list).slice(0, MINE_MAX);
  const mine = own.length > 0
    ? make("p", { class: "small row" }, `${said.yourAreas}:`, ...own.map((id) => make("a", { href: link({ area: id, map: "" }) }, areaName(id))))
    : null;
  at("path").replaceChildren(...[make("ol", {}, ...links), mine].filter((part) => part !== null));
  at("maps").hidden = found.maps.length === 0;
  at("maps").replaceChildren(...found.maps.flatMap((map) => [
    make("span", { class: "quiet" }, said.onOtherMap(mapName(map))), " ",
    ...map.areas.slice(0, 12).flatMap((area) => [make("a", { href: link({ area: area.id, map: "" }), "data-area": area.id }, nameOf(area.names, area.code)), area.whole ? "  " : ` (${said.partOf})  `]),
    map.areas.length > 12 ? `… (${map.areas.length})` : "",
  ]));
}

/** When a map was in force. @param {import("./reasons.js").OtherMap} map */
function mapName(map) {
  const said = texts();
  const day = (/** @type {string} */ date) => new Intl.DateTimeFormat(locale(), { timeZone: "UTC", day: "2-digit", month: "2-digit", year: "numeric" }).format(Date.parse(date));
  const span = [map.valid_from && said.since(day(map.valid_from)), map.valid_to && said.until(day(map.valid_to))].filter(Boolean).join(" ");
  return span || map.list;
}

function drawPeriod() {
  const said = texts();
  const zone = overview?.zone ?? site?.zone ?? "UTC";
  const period = overview?.period ?? calendarPeriod(state.period, nowMs(), zone);
  const length = /** @type {HTMLSelectElement} */ (at("length"));
  length.replaceChildren(...LENGTHS.map((one) => new Option(said.lengths[one], one, false, one === lengthOf(period))));
  setText(at("period-name"), periodName(period, locale()));
  const isAhead = overview !== null && !overview.running && Date.parse(overview.from) > nowMs();
  setText(at("so-far"), overview?.running ? said.soFar : isAhead ? said.notBegun : "");
  for (const [id, word, sign] of /** @type {const} */ ([["earlier", said.earlier, "‹"], ["later", said.later, "›"]])) {
    at(id).textContent = sign;
    at(id).setAttribute("aria-label", word);
    at(id).title = word;
  }
  at("present").hidden = overview?.running ?? LENGTHS.some((one) => one === state.period);
}

/** @param {Overview} found */
function drawAreasPart(found) {
  const said = texts();
  const kpi = chosenKpi();
  const about = kpis.get(kpi);
  setText(at("areas-title"), said.belowOf(nameOf(found.names, found.area)));
  const chosen = /** @type {HTMLSelectElement} */ (at("chosen"));
  at("chosen-part").hidden = state.kpi !== "";
  if (document.activeElement !== chosen) {
    const items = [...found.items].sort(worseFirst);
    chosen.replaceChildren(...items.map((item) => new Option(nameOf(item.names, item.kpi), item.kpi, false, item.kpi === kpi)));
  }
  const scope = /** @type {HTMLSelectElement} */ (at("scope"));
  if (document.activeElement !== scope) {
    const options = [["children", said.direct], ...(found.below.some((one) => one.has_below) ? [["leaves", said.leaves]] : []), ...found.maps.map((map) => [`map:${map.list}`, said.otherMap(mapName(map))])];
    scope.replaceChildren(...options.map(([value, text]) => new Option(text, value, false, value === (state.map ? `map:${state.map}` : state.scope))));
  }
  at("scope-part").hidden = scope.options.length < 2;
  if (table === null || table.kpi !== kpi || !about) {
    at("areas").replaceChildren(make("p", { class: "quiet", role: "status" }, failure === null ? said.loading : ""));
    return;
  }
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const held = at("areas").contains(focused) ? focused?.closest("[data-area], [data-sort], [data-turn]") : null;
  drawAreas(at("areas"), {
    ...table, zone: found.zone, sort: state.sort, words: /** @type {HTMLInputElement} */ (at("find-area")).value, page: areaPage, kpi: about, link,
    lights: new Map(found.below.map((one) => [one.id, one])),
    turn: (page) => {
      areaPage = page;
      drawAreasPart(found);
    },
    pick: (id) => link({ area: id, map: "", cases: "" }),
  });
  for (const name of ["area", "sort", "turn"]) {
    const value = held?.getAttribute(`data-${name}`);
    if (value) /** @type {HTMLElement | null} */ (at("areas").querySelector(`tr[data-area="${CSS.escape(value)}"] a, a[data-sort="${CSS.escape(value)}"], button[data-turn="${CSS.escape(value)}"]`))?.focus({ preventScroll: true });
  }
}

/** Links to files of the same questions. @param {Overview} found */
function drawExports(found) {
  const said = texts();
  const item = found.items.find((one) => one.kpi === state.kpi);
  const area = new URLSearchParams({ area: found.area, period: found.period, ...(mode.drill ? { exercise: "true" } : {}) });
  /** @type {[string, string][]} */
  const files = [[said.exportAll, `v1/overview?${area}`]];
  if (table) files.push([`${said.exportAreas}: ${nameOf(kpis.get(table.kpi)?.names, table.kpi)}`, `v1/kpis/${encodeURIComponent(table.kpi)}/table?${table.query}`]);
  if (item) {
    const query = new URLSearchParams({ area: found.area, ...spanOf(found, item) });
    const step = depthRead?.step ?? item.trend_step;
    const first = depthRead?.course?.[0]?.start ?? found.from;
    files.push([said.exportTrend, `v1/kpis/${encodeURIComponent(item.kpi)}/table?${new URLSearchParams({ area: found.area, areas: "self", step, from: first, to: found.running ? found.as_of : found.to, order: "code" })}`]);
    if (session?.isIn) files.push([said.exportEvents, `v1/kpis/${encodeURIComponent(item.kpi)}/events?${query}`]);
  }
  at("export-links").replaceChildren(...files.map(([name, path]) => make("div", { class: "file" }, make("span", {}, name), make("span", { class: "row" },
    ...["csv", "xlsx", "parquet"].map((form) => make("a", { class: "button", href: `${path}&format=${form}`, download: "", "aria-label": `${name}: ${form.toUpperCase()}` }, form === "parquet" ? "Parquet" : form.toUpperCase()))))));
}

function drawLink() {
  const said = texts();
  const zone = overview?.zone ?? site?.zone ?? "UTC";
  const isStale = staleSinceMs !== null;
  document.body.dataset.fresh = isStale || stoppedSince !== null ? "no" : "yes";
  const since = staleSinceMs !== null ? said.stale(absolute(staleSinceMs, Date.now(), zone)) : stoppedSince !== null ? said.stopped(absolute(stoppedSince, nowMs(), zone)) : "";
  say(at("stale"), since);
}

function drawFailure() {
  const said = texts();
  const message = at("message");
  const isShown = failure !== null && !(isAway(failure) && overview !== null);
  message.hidden = !isShown;
  if (!isShown || failure === null) return;
  message.classList.toggle("bad", isAway(failure));
  message.classList.toggle("warn", !isAway(failure));
  const words = isAway(failure) || (mode.asOf !== null && failure.status === 422) ? said.failed(failure.message) : failure.status === 401 ? said.signInFirst : failure.status === 403 ? said.notForYou : said.unknown;
  /** @type {Node[]} */
  const parts = [make("p", {}, words)];
  if (!isAway(failure)) parts.push(make("p", {}, make("a", { href: failure.signIn ?? link({ area: "", kpi: "", period: "month" }) }, failure.signIn ? said.signIn : said.toStart)));
  message.replaceChildren(...parts);
}

/** An area, as far as it is known here; the rest is read when it is first needed. @param {string} id */
function areaOf(id) {
  const near = [...(overview?.path ?? []), ...(overview?.below ?? []), ...(overview?.maps.flatMap((map) => map.areas) ?? [])].find((area) => area.id === id);
  if (near) return near;
  if (allAreas === null) {
    allAreas = new Map();
    get("/v1/areas").then((found) => {
      allAreas = new Map(found.items.map((/** @type {Area} */ area) => [area.id, area]));
      draw();
    }, () => { allAreas = null; });
  }
  return allAreas.get(id);
}

/** What an area is called. @param {string} id */
function areaName(id) {
  const area = areaOf(id);
  return area ? nameOf(area.names, area.code) : id;
}

/** On which map an area is. @param {string} id */
const listOf = (id) => areaOf(id)?.list;

// ── What people do ──

/** Whether an address leads to the past, a drill or the present from another of them: then the page is loaded anew. @param {string} search */
function isOfAnotherTime(search) {
  const there = modeOf(search);
  return (there.asOf === null) !== (mode.asOf === null) || there.drill !== mode.drill;
}

/** Links within the page go without loading it anew. @param {MouseEvent} event */
function follow(event) {
  const target = /** @type {Element | null} */ (event.target)?.closest?.("a[href]");
  if (!(target instanceof HTMLAnchorElement) || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const address = new URL(target.href);
  if (address.origin !== location.origin || !address.pathname.endsWith("/leader") || isOfAnotherTime(address.search) || target.hasAttribute("download") || target.id === "skip") return;
  event.preventDefault();
  const before = state;
  state = readMode(address.search);
  history.pushState(null, "", addressOf(state));
  moved(before);
}

/** Takes out of the address what somebody has just chosen otherwise; the browser keeps the choice. @param {string} name */
function forget(name) {
  const said = new URLSearchParams(location.search);
  if (!said.has(name)) return;
  said.delete(name);
  history.replaceState(null, "", said.size > 0 ? `leader?${said}` : "leader");
}

/** @param {string} id */
const select = (id) => /** @type {HTMLSelectElement} */ (at(id));

async function load() {
  for (;;) {
    try {
      const [told, me, catalogue] = await Promise.all([get("/v1/site"), get("/v1/me"), get(`/v1/kpis${mode.drill ? "?exercise=true" : ""}`)]);
      site = told;
      travel = new Travel(told, at("travel"));
      kpis = new Map(catalogue.items.map((/** @type {Kpi & {id: string}} */ kpi) => [kpi.id, kpi]));
      session = new Session(me, drawWho);
      break;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      failure = error;
      draw();
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }
  failure = null;
  // The figures are asked for; where the past is by now a replay says, of nothing else.
  if (travel?.isPast) travel.connect(() => ({ kpis: [] }), () => {
    if (travel && travel.mode.speed > 0 && Date.now() - readAtMs > PLAYED_EVERY_MS) void read();
  });
  // Whoever answers for an area begins there.
  if (!state.area && myAreas().length > 0) state = { ...state, area: myAreas()[0] };
  drawWho();
  draw();
  await read();
}

function drawWho() {
  const said = texts();
  session?.show(at("who"), at("who-name"), /** @type {HTMLAnchorElement} */ (at("who-link")), said);
}

languageSwitch(at("language"));
themeSwitch(select("theme"));
translate();
draw();
onLanguage(() => {
  forget("language");
  drawWho();
  draw();
});
at("skip").addEventListener("click", (event) => {
  event.preventDefault();
  at("main").focus();
});
document.addEventListener("click", follow);
addEventListener("popstate", () => {
  if (isOfAnotherTime(location.search)) return location.reload();
  const before = state;
  state = readMode(location.search);
  if (!state.area && myAreas().length > 0) state = { ...state, area: myAreas()[0] };
  moved(before);
});
at("period").addEventListener("submit", (event) => event.preventDefault());
select("length").addEventListener("change", () => {
  const length = /** @type {import("./state.js").Length} */ (select("length").value);
  const zone = overview?.zone ?? site?.zone ?? "UTC";
  // From a period that is over one comes to the longer one that it lies in, or to the shorter one that it ended with.
  const endMs = overview && !overview.running ? Date.parse(overview.to) - 1 : nowMs();
  const period = periodWith(dayOf(endMs, zone), length);
  go({ period: period === calendarPeriod(length, nowMs(), zone) ? length : period });
});
for (const [id, name] of /** @type {const} */ ([["earlier", "previous"], ["later", "next"]])) {
  at(id).addEventListener("click", () => {
    if (overview === null) return;
    const period = overview[name], length = lengthOf(period);
    go({ period: period === calendarPeriod(length, nowMs(), overview.zone) ? length : period });
    at(id).focus();
  });
}
at("present").addEventListener("click", () => go({ period: lengthOf(state.period) }));
at("print").addEventListener("click", () => print());
at("find").addEventListener("input", () => draw());
at("find-area").addEventListener("input", () => {
  areaPage = 0;
  if (overview) drawAreasPart(overview);
});
select("chosen").addEventListener("change", () => go({ chosen: select("chosen").value }));
select("scope").addEventListener("change", () => {
  const value = select("scope").value;
  select("scope").blur();
  go(value.startsWith("map:") ? { map: value.slice(4), scope: "children" } : { map: "", scope: /** @type {"children" | "leaves"} */ (value) });
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = /** @type {HTMLDetailsElement} */ (at("export"));
  if (menu.open) {
    menu.open = false;
    /** @type {HTMLElement | null} */ (menu.querySelector("summary"))?.focus();
  } else if (state.kpi && !(event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement)) {
    go({ kpi: "", width: "", by: "", cases: "", map: "" });
  }
});
document.addEventListener("click", (event) => {
  const menu = /** @type {HTMLDetailsElement} */ (at("export"));
  if (menu.open && event.target instanceof Node && !menu.contains(event.target)) menu.open = false;
});
// The chart is painted in the colours of the theme.
select("theme").addEventListener("change", () => {
  forget("theme");
  draw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
let resized = 0;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(draw, 150);
});
watchLink((isFresh, heardAtMs) => {
  staleSinceMs = isFresh ? null : overview === null ? heardAtMs : Date.parse(overview.as_of) - offsetMs;
  drawLink();
  if (isFresh) void read();
});
document.documentElement.lang = language();
await load();
