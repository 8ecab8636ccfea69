/**
 * What does a screen show that nobody sits at?
 *
 * The address says it: `?show=map,cases,kpis,alerts,units,sources`, `&area=` (several are shown in turn), `&kpi=`, and
 * `&rotate=` seconds for a page of what does not fit. The key of the screen stands behind `#` the first time, and is a
 * cookie from then on. The screen gives no command and has nothing to press.
 */

import { Model } from "../kpi/model.js";
import { Work } from "../operator/work.js";
import { ApiError, get } from "../shared/api.js";
import { Connection } from "../shared/connection.js";
import { at, make, setText } from "../shared/dom.js";
import { language, locale, nameOf } from "../shared/texts.js";
import { absolute, Freshness } from "../shared/time.js";
import { lookAfter, reload } from "./heal.js";
import { isMap, TILES } from "./tiles.js";
import { t } from "./texts.js";

const SHOWN = ["map", "cases", "kpis", "alerts"];
const TILES_MAX = 6;
/** Of more than these the centre would have to be asked on another connection. */
const KPIS_MAX = 200;
const ROTATE_S = 20, ROTATE_MIN_S = 5;
const DRAW_EVERY_MS = 1000;
const RETRY_MS = 3000;
const LOOK_AT_KEY_MS = 20_000;
/** The cookie is made anew now and then, for browsers forget it after a year. */
const RENEW_KEY_MS = 12 * 60 * 60 * 1000;
const RELOAD_AFTER_MS = 4000;
const HAD_KEY = "ioc.wall.had";

const asked = new URLSearchParams(location.search);
const listed = (/** @type {string} */ name) => (asked.get(name) ?? "").split(",").map((one) => one.trim()).filter(Boolean);
const wanted = asked.has("show") ? listed("show") : SHOWN;
const rotateS = asked.has("rotate") ? Number(asked.get("rotate")) || 0 : ROTATE_S;
const turnMs = rotateS <= 0 ? Infinity : Math.max(ROTATE_MIN_S, rotateS) * 1000;

const work = new Work();
const model = new Model();
const freshness = new Freshness();

/** @type {any} */
let site;
/** @type {Map<string, any>} */
let areas = new Map();
/** @type {any[]} */
let kpis = [];
/** @type {ReturnType<typeof TILES[string]>[]} */
let tiles = [];
/** @type {Connection | null} */
let connection = null;
let renewedAtMs = 0;
/** Which area of the address is shown. */
let place = 0;
/** What was said to be wrong, in whichever language. @type {(() => [string, string]) | null} */
let state = null;

/** @returns {Promise<"in" | "none" | "revoked" | "away">} */
async function claim() {
  const key = location.hash.slice(1);
  try {
    const answer = await fetch(new URL("signin/display", document.baseURI), {
      method: "POST", headers: { "IOC-Request": "1", "Content-Type": "text/plain" }, body: key, cache: "no-store",
    });
    if (answer.ok) {
      // The key is the cookie's by now, and does not stay where somebody reads it.
      if (key) history.replaceState(null, "", location.pathname + location.search);
      remember("yes");
      renewedAtMs = Date.now();
      return "in";
    }
    if (answer.status !== 401) return "away";
    const { reason } = await answer.json();
    // Somebody who is signed in may look at it, too.
    if (!key && (await get("/v1/me")).id !== null) return "in";
    return reason === "unknown_display" || remembered() ? "revoked" : "none";
  } catch {
    return "away";
  }
}

/** @param {string} word */
function remember(word) {
  try {
    localStorage.setItem(HAD_KEY, word);
  } catch { /* then a screen whose key was taken away is taken for a new one */ }
}

function remembered() {
  try {
    return localStorage.getItem(HAD_KEY) === "yes";
  } catch {
    return false;
  }
}

/** Shows one sentence instead of everything, or everything again. @param {(() => [string, string]) | null} said @param {string} [name] */
function say(said, name = "shown") {
  state = said;
  document.body.dataset.state = name;
  const root = at("state");
  root.hidden = said === null;
  at("tiles").hidden = said !== null;
  if (said === null) return root.replaceChildren();
  const [title, why] = said();
  root.replaceChildren(make("h2", { text: title }), make("p", { class: "quiet", text: why }));
}

/** Nothing of what was seen stays on the screen, nor behind it. */
function forget() {
  work.cases.clear();
  work.units.clear();
  work.loaded = false;
  for (const tile of tiles) tile.root.remove();
  tiles = [];
}

/** Asks whether the key still holds. Returns whether it does. */
async function look() {
  const found = await claim();
  if (found === "none" || found === "revoked") {
    forget();
    say(() => (found === "none" ? [t().noKey, t().noKeyWhy] : [t().revoked, t().revokedWhy]), found);
  }
  return found;
}

async function start() {
  document.documentElement.lang = language();
  setText(at("connection-text"), t().connecting);
  void lookAfter();
  setInterval(draw, DRAW_EVERY_MS);
  const known = wanted.filter((name) => name in TILES).slice(0, TILES_MAX);
  for (;;) {
    const found = await look();
    if (found === "in" && (await load())) break;
    if (found === "away" || found === "in") say(() => [t().unreachable, t().unreachableWhy], "away");
    await new Promise((done) => setTimeout(done, RETRY_MS));
  }
  if (known.length === 0) return say(() => [t().nothing, t().nothingWhy(Object.keys(TILES).join(", "))], "nothing");
  say(null);
  tiles = known.map((name) => TILES[name](name, site));
  at("tiles").dataset.count = String(tiles.length);
  at("tiles").dataset.map = known[0] === "map" ? "first" : "";
  at("tiles").replaceChildren(...tiles.map((tile) => tile.root));
  connection = new Connection(wish, heard);
  draw();
  void showGround();
  setInterval(() => void watch(), LOOK_AT_KEY_MS);
  if (listed("area").length > 1 && turnMs !== Infinity) setInterval(nextArea, turnMs);
}

async function load() {
  try {
    site = await get("/v1/site");
    const [found, catalogue] = await Promise.all([get(`/v1/areas?list=${encodeURIComponent(site.area_list)}`), get("/v1/kpis")]);
    areas = new Map(found.items.map((/** @type {any} */ one) => [one.id, one]));
    const ids = listed("kpi");
    kpis = (ids.length > 0 ? ids.flatMap((id) => catalogue.items.filter((/** @type {any} */ one) => one.id === id)) : catalogue.items).slice(0, KPIS_MAX);
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return false;
  }
}

/** The area that is shown now; undefined for everywhere. */
function area() {
  const known = listed("area").filter((id) => areas.has(id));
  return known.length === 0 ? undefined : known[place % known.length];
}

function nextArea() {
  place += 1;
  work.loaded = false;
  connection?.subscribe(true);
  void showGround();
}

async function showGround() {
  const shown = area();
  for (const tile of tiles.filter(isMap)) {
    if (!(await tile.ground(shown)) && shown === area()) setTimeout(() => void showGround(), RETRY_MS);
  }
}

function wish() {
  const shown = area();
  const has = (/** @type {string} */ name) => wanted.includes(name);
  return {
    kpis: has("kpis") ? kpis.map((kpi) => kpi.id) : [], tier: "day", points: 2, events: 0, sources: true,
    ...(shown === undefined ? {} : { areas: [shown] }),
    ...(has("map") || has("cases") || has("alerts") ? { cases: { open: true, ...(shown === undefined ? {} : { area: shown }) } } : {}),
    units: has("units"),
  };
}

/** @param {any} message */
function heard(message) {
  freshness.heard(message.time);
  // The site pack has changed, and with it what things are called.
  if (message.op === "snapshot" && message.reason === "reload") setTimeout(() => void reload(), RELOAD_AFTER_MS);
  if (message.op === "error" && message.reason === "not_signed_in") void watch(true);
  work.apply(message);
  model.apply(message, Date.now());
}

/** Whether the key was taken away, or given back. @param {boolean} [isRefused] whether the centre has said so already */
async function watch(isRefused = false) {
  const isLost = document.body.dataset.state === "revoked" || document.body.dataset.state === "none";
  const isDue = Date.now() - renewedAtMs > RENEW_KEY_MS;
  if (!isLost && !isDue && !isRefused && connection?.state === "live" && work.loaded) return;
  const found = await look();
  if (found === "in" && isLost) void reload();
}

function draw() {
  const nowMs = freshness.now();
  setText(at("clock"), new Intl.DateTimeFormat(locale(), { timeZone: site?.zone, weekday: "short", day: "2-digit", month: "2-digit", hour: "2-digit", minute: "2-digit" }).format(nowMs));
  if (state !== null) at("banner").hidden = true;
  if (!connection || state !== null) return;
  showConnection(nowMs, connection);
  const name = nameOf(site.names, site.id);
  const shown = area();
  document.title = name;
  setText(at("site-name"), name);
  setText(at("area-name"), shown === undefined ? "" : ` · ${areaName(shown)}`);
  // Nothing is said to be empty before it is known.
  at("tiles").setAttribute("aria-busy", String(!model.loaded));
  if (!model.loaded) return;
  const turn = turnMs === Infinity ? 0 : Math.floor(Date.now() / turnMs);
  for (const tile of tiles) tile.draw({ work, model, kpis, nowMs, turn, zone: site.zone, area: areaName, site, hasChosen: asked.has("kpi") });
}

const areaName = (/** @type {string} */ id) => nameOf(areas.get(id)?.names, id);

/** @param {number} nowMs @param {Connection} live */
function showConnection(nowMs, live) {
  const now = live.state === "live" && live.way === "poll" ? "polling" : live.state;
  const moment = (/** @type {number | string} */ when) => absolute(when, nowMs, site.zone);
  const heardMs = freshness.now(freshness.heardAtMs ?? Date.now());
  const words = {
    connecting: t().connecting, live: t().live, polling: t().polling, held: t().held, stale: t().stale(moment(heardMs)),
    away: t().away(moment(live.database?.since ?? heardMs)), stopped: t().stopped(moment(live.streams.since || heardMs)),
  }[now];
  document.body.dataset.connection = now;
  const isOld = ["stale", "away", "stopped"].includes(now) || (now === "connecting" && model.loaded);
  document.body.dataset.fresh = isOld ? "no" : "yes";
  setText(at("connection-text"), words);
  at("banner").hidden = !isOld || !model.loaded;
  setText(at("banner"), t().banner(moment(now === "stopped" ? live.streams.since || heardMs : heardMs)));
}

void start();
