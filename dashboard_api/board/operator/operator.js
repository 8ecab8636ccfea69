/**
 * What does the operator's page do, and when is it drawn?
 *
 * It listens to the live feed, draws at most five times a second and once a second for the clocks, and turns keys and
 * clicks into commands.
 */

import { inOrder } from "../shared/areas.js";
import { choice, keep } from "../shared/choice.js";
import { ApiError, get, signInLink } from "../shared/api.js";
import { at, make, setText } from "../shared/dom.js";
import { CaseMap, pointOf } from "../shared/map.js";
import { Session } from "../shared/session.js";
import { language, languageSwitch, locale, nameOf, onLanguage, themeSwitch, titleOf, translate, word } from "../shared/texts.js";
import { absolute, duration, Freshness } from "../shared/time.js";
import { Travel } from "../shared/travel.js";
import { Desk } from "./actions.js";
import { Alarm } from "./alarm.js";
import { KEYS, showCase } from "./case.js";
import { List } from "./list.js";
import { t } from "./texts.js";
import { SEVERITIES, Work } from "./work.js";

const DRAW_EVERY_MS = 200;
const RETRY_LOAD_MS = 3000;
/** Where the filters would leave no room for the list, they are folded. */
const NARROW = "(max-width: 60rem)";
const OUTCOME_SHOWN_MS = 9000;
const RELOAD_AFTER_MS = 4000;
/** What no message tells of an open case, as what is usual by now, is read again now and then. */
const LOOK_EVERY_MS = 60_000;
const GLANCE_KEY = "glance.operator";
const ROLES = ["operator", "dispatcher", "leader"];
const STATES = ["new", "triaged", "assigned", "accepted", "en_route", "on_scene", "waiting_citizen", "waiting_agency", "reopened", "resolved"];
/** The filters that the centre itself applies. */
const NARROWING = /** @type {const} */ (["state", "severity", "agency", "area"]);

const work = new Work();
const alarm = new Alarm();
const freshness = new Freshness();
const filters = /** @type {import("./work.js").Filters} */ ({ words: "", state: "", severity: "", agency: "", area: "", mine: false });
/** What is open. @type {import("./case.js").Opened & {id: string | null, asked: number, allLines: boolean}} */
const opened = { id: null, detail: null, lines: [], revealed: null, error: null, asked: 0, allLines: false };
/** What was there when somebody looked away, and what is marked since. @type {{glance: import("./work.js").Glance | null, fresh: Set<string>, changed: Set<string>}} */
const looked = { glance: null, fresh: new Set(), changed: new Set() };

/** @type {any} */
let site;
/** @type {any[]} */
let areas = [];
/** @type {Session} */
let session;
/** Of the present, of the past, or of drills. @type {Travel} */
let travel;
/** @type {ReturnType<Travel["connect"]>} */
let connection;
/** @type {List} */
let list;
/** @type {Desk} */
let desk;
/** @type {CaseMap} */
let map;
let due = false;
let drawnAtMs = 0;
let caseDrawn = "";
/** @type {number | undefined} */
let outcomeTimer;

async function load() {
  for (;;) {
    try {
      const known = await get("/v1/site");
      const [listed, me] = await Promise.all([get(`/v1/areas?list=${encodeURIComponent(known.area_list)}`), get("/v1/me")]);
      return { known, listed, me };
    } catch (error) {
      setText(at("connection-text"), t().failed(error instanceof Error ? error.message : String(error)));
      document.body.dataset.connection = "stale";
      await new Promise((done) => setTimeout(done, RETRY_LOAD_MS));
    }
  }
}

/** A state that is not the work list. @param {string} title @param {string} why @param {string | null} link */
function showState(title, why, link) {
  at("page").hidden = true;
  const root = at("state-page");
  root.hidden = false;
  root.replaceChildren(make("h2", { text: title }), make("p", { class: "quiet", text: why }),
    ...(link ? [make("a", { class: "button main", href: link, text: t().signIn })] : []));
}

function showSignIn() {
  showState(t().needSignIn, t().needSignInWhy, signInLink());
}

async function start() {
  languageSwitch(at("language"));
  themeSwitch(at("theme"));
  translate();
  setText(at("connection-text"), t().connecting);
  const { known, listed, me } = await load();
  site = known;
  areas = listed.items;
  session = new Session(me, showWho);
  if (!session.isIn || (me.asked && !ROLES.some((role) => me.roles.includes(role)))) return startWithout();
  readFilters();
  list = new List(at("list"), (id) => void open(id));
  desk = new Desk(at("form"), {
    site, areas, cases: () => [...work.cases.values()], said, reload: async (id) => { await look(id); return opened.id === id ? opened.detail : null; },
    applied, unit: unitName, agency: agencyName, step: stepName, signIn: showSignIn,
  });
  at("page").hidden = false;
  // What lies in one place comes one after the other.
  map = new CaseMap(at("map"), { pick: (ids) => void open(ids[(ids.indexOf(opened.id ?? "") + 1) % ids.length]), tiles: site.map });
  void map.loadLayers();
  showGround();
  /** @type {HTMLDetailsElement} */ (at("narrow")).open = !matchMedia(NARROW).matches;
  at("open-case").hidden = !me.roles.includes("operator") && !me.roles.includes("dispatcher") && me.asked;
  travel = new Travel(site, at("travel"));
  if (travel.isPast) at("open-case").hidden = at("sound").hidden = true;
  connection = travel.connect(wish, heard);
  // What happened since somebody looked away is told of what is live.
  looked.glance = travel.isPast || travel.isDrill ? null : keptGlance();
  wire();
  showControls();
  onLanguage(() => { showControls(); caseDrawn = ""; draw(); });
  draw();
  setInterval(drawSoon, 1000);
  setInterval(() => { if (opened.id !== null && !document.hidden) void look(opened.id); }, LOOK_EVERY_MS);
  const wanted = location.hash.slice(1);
  if (wanted) void open(decodeURIComponent(wanted), false);
}

function startWithout() {
  const draw = () => {
    showWho();
    setText(at("site-name"), nameOf(site.names, site.id));
    setText(at("connection-text"), "");
    if (!session.isIn) showSignIn();
    else showState(t().noRole, t().noRoleWhy, null);
  };
  onLanguage(draw);
  draw();
  at("sound").hidden = at("help").hidden = true;
}

// What is asked for, and what is heard

function wish() {
  const cases = {
    ...(filters.state ? { state: [filters.state] } : { open: true }),
    ...(filters.severity ? { severity: [filters.severity] } : {}),
    ...(filters.agency ? { agency: filters.agency } : {}),
    ...(filters.area ? { area: filters.area } : {}),
  };
  return { kpis: [], points: 1, events: 0, sources: true, cases, units: true, commands: true };
}

/** @param {any} message */
function heard(message) {
  freshness.heard(message.time);
  if (message.op === "snapshot" && message.reason === "reload") setTimeout(() => location.reload(), RELOAD_AFTER_MS);
  const first = !work.loaded;
  work.apply(message);
  // A note changes the timeline and not the case: it comes again in the version that is known.
  const same = opened.detail && message.cases?.some((/** @type {any} */ item) => item.id === opened.id && item.version === opened.detail.version);
  if (message.op === "change" && same && opened.id !== null) void look(opened.id);
  if (message.op === "snapshot" || message.op === "change") afterNews(first);
  drawSoon();
}

/** @param {boolean} first whether it is the first list */
function afterNews(first) {
  if (!work.loaded) return;
  // What comes in late, after a sleep or a lost connection, happened while nobody looked, too.
  if (looked.glance && !document.hidden) compare();
  if (travel.isPast) return afterPast();
  const fresh = alarm.tell(work.unseen());
  if (fresh.length > 0 && !first) said(t().severeNew(titleOf(fresh[0])), "warn");
  if (opened.id === null) return;
  const known = work.cases.get(opened.id);
  if (known && opened.detail && known.version > opened.detail.version) void look(opened.id);
  else if (!known && opened.detail && opened.detail.open && opened.asked < Date.now() - 1000) void look(opened.id);
}

/** In the past nothing sounds and nothing waits for anybody; an open case goes on with it. */
function afterPast() {
  const known = opened.id === null ? undefined : work.cases.get(opened.id);
  if (known && opened.id !== null && known.version !== opened.detail?.version) void look(opened.id);
}

// What is different since somebody looked away

function keptGlance() {
  try {
    return JSON.parse(choice(GLANCE_KEY, "null"));
  } catch {
    return null;
  }
}

function lookAway() {
  if (!work.loaded || travel.isPast || travel.isDrill) return;
  // Who looks away twice before looking at what is new has not seen it.
  looked.glance ??= work.glance(Date.now());
  keep(GLANCE_KEY, JSON.stringify(looked.glance));
}

function compare() {
  const glance = looked.glance;
  if (!glance || !work.loaded) return;
  const { fresh, changed, gone } = work.since(glance);
  looked.fresh = fresh;
  looked.changed = changed;
  const strip = at("away");
  strip.hidden = fresh.size + changed.size + gone.length === 0;
  if (strip.hidden) return connection.state === "live" ? forget() : undefined;
  strip.replaceChildren(t().whileAway(duration((Date.now() - glance.atMs) / 1000), fresh.size, changed.size, gone.length), " ",
    make("button", { type: "button", onclick: forget, text: t().seen }));
}

function forget() {
  looked.glance = null;
  looked.fresh = new Set();
  looked.changed = new Set();
  at("away").hidden = true;
  keep(GLANCE_KEY, "null");
  drawSoon();
}

// One case

/** @param {string} id @param {boolean} [remember] whether the browser's way back leads here */
async function open(id, remember = true) {
  if (opened.id !== id) Object.assign(opened, { id, detail: null, lines: [], revealed: null, error: null, allLines: false });
  if (remember) history.pushState(null, "", `#${encodeURIComponent(id)}`);
  list.cursor = work.cases.has(id) ? id : list.cursor;
  looked.fresh.delete(id);
  looked.changed.delete(id);
  caseDrawn = "";
  draw();
  at("case").scrollIntoView({ block: "nearest" });
  at("case").focus({ preventScroll: true });
  await look(id);
}

function close(remember = true) {
  Object.assign(opened, { id: null, detail: null, lines: [], revealed: null, error: null });
  if (remember) history.pushState(null, "", location.pathname + location.search);
  caseDrawn = "";
  draw();
  list.focus();
}

/** Reads the case as it is now. @param {string} id */
async function look(id) {
  const asked = (opened.asked = Date.now());
  try {
    const path = `/v1/${travel.isPast ? "past/" : ""}cases/${encodeURIComponent(id)}`;
    const when = travel.isPast ? `as_of=${encodeURIComponent(travel.asOf)}` : "";
    const [detail, timeline] = await Promise.all([get(`${path}${when && `?${when}`}`), get(`${path}/timeline?limit=500${when && `&${when}`}`)]);
    if (opened.id !== id || (!travel.isPast && opened.detail && opened.detail.version > detail.version)) return;
    // A drill is acted on where everything is one, and what is real nowhere else than where it is.
    if ((detail.exercise ?? false) !== travel.isDrill) detail.actions = [];
    const isSame = opened.detail?.version === detail.version && opened.lines.length === timeline.items.length;
    opened.detail = detail;
    opened.lines = timeline.items;
    opened.error = null;
    if (isSame) return;
  } catch (error) {
    if (opened.id !== id || asked !== opened.asked) return;
    if (error instanceof ApiError && error.signIn) showSignIn();
    // What was read stays on the screen while the centre is away; what is gone goes.
    if (error instanceof ApiError && error.status === 404) Object.assign(opened, { detail: null, lines: [], error });
  }
  caseDrawn = "";
  draw();
}

/** @param {string | null} id @param {string} action @param {any} outcome */
async function applied(id, action, outcome) {
  if (id === null) return;
  if (action === "open") {
    if (outcome.state === "applied") await open(id);
    return;
  }
  if (opened.id !== id) return;
  await look(id);
  if (action === "reveal" && outcome.state === "applied") {
    opened.revealed = await get(`/v1/cases/${encodeURIComponent(id)}/revealed?showing=${encodeURIComponent(outcome.id)}`).catch(() => null);
    caseDrawn = "";
    draw();
  }
}

/** What came of something, where everybody sees and hears it. @param {string} text @param {"good" | "bad" | "warn"} kind @param {boolean} [stale] */
function said(text, kind, stale = false) {
  const id = opened.id;
  at("outcome").replaceChildren(make("p", { class: `notice ${kind}` }, text,
    stale && id !== null && make("button", { type: "button", onclick: () => { at("outcome").replaceChildren(); void look(id); }, text: t().reload })));
  clearTimeout(outcomeTimer);
  if (kind !== "bad") outcomeTimer = window.setTimeout(() => at("outcome").replaceChildren(), OUTCOME_SHOWN_MS);
}

// Drawing

function drawSoon() {
  if (due) return;
  due = true;
  setTimeout(() => requestAnimationFrame(draw), Math.max(0, drawnAtMs + DRAW_EVERY_MS - Date.now()));
}

function draw() {
  due = false;
  drawnAtMs = Date.now();
  const nowMs = freshness.now();
  showConnection(nowMs);
  const items = work.list(filters, session.me.agency);
  const scene = { nowMs, zone: site.zone, opened: opened.id, fresh: looked.fresh, changed: looked.changed, area: areaName, agency: agencyName, language: language() };
  list.draw(items, scene);
  setText(at("count"), work.loaded ? t().shown(items.length) : t().loading);
  at("empty").hidden = !work.loaded || items.length > 0;
  setText(at("empty"), filters.words !== "" || narrowed() > 0 ? t().emptyFiltered : t().emptyAll);
  at("more").hidden = !work.hasMore;
  setText(at("filtered"), t().filtersOn(narrowed()));
  at("clear").hidden = filters.words === "" && narrowed() === 0;
  at("list").setAttribute("aria-busy", String(!work.loaded));
  if (work.loaded) map.draw(items.flatMap(markOf), new Set(opened.id === null ? [] : [opened.id]));
  document.body.dataset.view = opened.id === null ? "list" : "case";
  showOpened(nowMs);
  showAlarm();
  showAlerts();
  showSources(nowMs);
  setText(at("clock"), new Intl.DateTimeFormat(locale(), { timeZone: site.zone, dateStyle: "short", timeStyle: "medium" }).format(nowMs));
}

/** @param {import("./work.js").Item} item @returns {import("../shared/map.js").Mark[]} */
function markOf(item) {
  const point = pointOf(item.place);
  return point === null ? [] : [{ id: item.id, ...point, severity: item.severity, label: `${titleOf(item)} · ${word("severity", item.severity)} · ${word("state", item.state)}` }];
}

/** The areas under the marks: those in the area that is chosen, tried again until they are there. */
async function showGround() {
  const parent = filters.area;
  if (!(await map.loadGround(parent)) && parent === filters.area) setTimeout(showGround, RETRY_LOAD_MS);
}

/** Redrawn when something of it is different, and for its clocks each quarter of a minute; never under the fingers. @param {number} nowMs */
function showOpened(nowMs) {
  const root = at("case");
  root.hidden = opened.id === null;
  if (opened.id === null) return;
  const signature = [opened.id, opened.detail?.version, opened.lines.length, opened.allLines, language(), Math.floor(nowMs / 15_000), opened.error !== null].join(" ");
  if (signature === caseDrawn) return;
  caseDrawn = signature;
  const focused = document.activeElement;
  const key = focused && root.contains(focused) && focused !== root ? selectorOf(/** @type {HTMLElement} */ (focused)) : null;
  showCase(root, opened, {
    nowMs, zone: site.zone, area: areaName, agency: agencyName, unit: unitName, step: stepName, allLines: opened.allLines,
    act: (one, preset) => void desk.act(opened.detail, one, preset), open: (id) => void open(id), close: () => close(),
    title: (id) => work.cases.get(id)?.title || work.cases.get(id)?.excerpt || id, showAll: () => { opened.allLines = true; caseDrawn = ""; draw(); },
  });
  if (key) (/** @type {HTMLElement | null} */ (root.querySelector(key)) ?? root).focus();
}

/** How to find the same element again after a redraw. @param {HTMLElement} node */
function selectorOf(node) {
  if (node.id) return `#${CSS.escape(node.id)}`;
  const { action, choice: which, do: does } = node.dataset;
  if (action) return `[data-action="${CSS.escape(action)}"]${which ? `[data-choice="${CSS.escape(which)}"]` : ""}`;
  return does ? `[data-do="${CSS.escape(does)}"]` : "#back";
}

/** @param {number} nowMs */
function showConnection(nowMs) {
  const state = connection.way === "poll" && connection.state === "live" ? "polling" : connection.state;
  const moment = (/** @type {number | string} */ when) => absolute(when, nowMs, site.zone);
  const heardMs = freshness.now(freshness.heardAtMs ?? Date.now());
  const words = {
    connecting: t().connecting,
    live: t().live,
    polling: t().polling,
    held: t().held,
    stale: t().stale(moment(heardMs)),
    away: t().away(moment(connection.database?.since ?? heardMs)),
    stopped: t().stopped(moment(connection.streams.since || heardMs)),
  }[state];
  document.body.dataset.connection = state;
  document.body.dataset.fresh = ["stale", "away"].includes(state) || (state === "connecting" && work.loaded) ? "no" : "yes";
  setText(at("connection-text"), words);
  const banner = at("banner");
  banner.hidden = !work.loaded || !["stale", "away", "stopped"].includes(state);
  if (!banner.hidden) setText(banner, state === "stopped" ? t().bannerStopped(moment(connection.streams.since || heardMs)) : t().bannerStale(moment(heardMs)));
}

function showAlarm() {
  const unseen = work.unseen();
  const root = at("alarm");
  const signature = [unseen.length, unseen[0]?.id, language()].join(" ");
  if (root.dataset.drawn === signature) return;
  root.dataset.drawn = signature;
  root.hidden = unseen.length === 0 || travel.isPast;
  document.title = `${unseen.length > 0 ? `(${unseen.length}) ` : ""}${t().title} · ${nameOf(site.names, site.id)}`;
  if (root.hidden) return root.replaceChildren();
  const first = unseen[0];
  root.replaceChildren(make("strong", { text: t().unacknowledged(unseen.length) }), make("span", { class: "alarm-title", text: titleOf(first) }),
    make("button", { type: "button", id: "alarm-show", onclick: () => void open(first.id), text: t().show }),
    make("button", { type: "button", class: "main", id: "alarm-acknowledge", onclick: () => void desk.act(first, { action: "acknowledge" }), text: t().acknowledge }));
}

/** How many alerts are open, and the first of them. */
function showAlerts() {
  const alerts = [...work.cases.values()].filter((item) => item.kind === "alert" && item.open);
  const root = /** @type {HTMLButtonElement} */ (at("alerts"));
  root.disabled = alerts.length === 0;
  root.dataset.count = String(alerts.length);
  root.dataset.first = alerts[0]?.id ?? "";
  setText(root, work.loaded ? t().alerts(alerts.length, alerts.length === 1 ? titleOf(alerts[0]) : "") : t().loading);
}

/** @param {number} nowMs */
function showSources(nowMs) {
  const all = [...work.sources.values()];
  if (all.length === 0) return setText(at("sources"), "");
  const silent = all.filter((one) => !one.received_at || nowMs - Date.parse(one.received_at) > one.silent_after_s * 1000);
  const names = silent.slice(0, 4).map((one) => nameOf(one.names, one.id)).join(", ") + (silent.length > 4 ? " …" : "");
  setText(at("sources"), [t().sources(all.length - silent.length, all.length), silent.length > 0 ? t().silent(names) : ""].filter(Boolean).join(" · "));
  at("sources").dataset.silent = String(silent.length);
}

function showWho() {
  session.show(at("who"), at("who-name"), at("who-link"), { signIn: t().signIn, signOut: t().signOut });
}

function showControls() {
  showWho();
  setText(at("site-name"), nameOf(site.names, site.id));
  options("state", [["", t().anyState], ...STATES.map((one) => pair("state", one))], filters.state);
  options("severity", [["", t().any], ...SEVERITIES.map((one) => pair("severity", one))], filters.severity);
  options("agency", [["", t().any], ...site.agencies.map((/** @type {any} */ one) => [one.id, nameOf(one.names, one.id)])], filters.agency);
  options("area", [["", t().any], ...inOrder(areas).map(({ area, depth }) => /** @type {[string, string]} */ ([area.id, "\u2003".repeat(depth) + nameOf(area.names, area.code)]))], filters.area);
  at("mine-label").hidden = session.me.agency === null;
  setText(at("sound"), alarm.isOn ? t().soundOn : t().soundOff);
  at("sound").setAttribute("aria-pressed", String(alarm.isOn));
  if (looked.glance) compare();
}

/** @param {"state" | "severity"} group @param {string} one @returns {[string, string]} */
const pair = (group, one) => [one, word(group, one)];

/** @param {string} id @param {[string, string][]} listed @param {string} chosen */
function options(id, listed, chosen) {
  at(id).replaceChildren(...listed.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

const areaName = (/** @type {string} */ id) => { const area = areas.find((one) => one.id === id); return area ? nameOf(area.names, area.code) : id; };
const agencyName = (/** @type {string} */ id) => nameOf(site.agencies.find((/** @type {any} */ one) => one.id === id)?.names, id);
const unitName = (/** @type {string} */ id) => nameOf(work.units.get(id)?.names, id);
const stepName = (/** @type {string} */ category, /** @type {string} */ id) => {
  const known = site.categories.find((/** @type {any} */ one) => one.id === category);
  return nameOf(known?.steps.find((/** @type {any} */ one) => one.id === id)?.names, id);
};

// Keys and clicks

/** How many filters beside the words are in use. */
function narrowed() {
  return NARROWING.filter((name) => filters[name] !== "").length + Number(filters.mine);
}

/** What was chosen last, where it is still there. */
function readFilters() {
  filters.state = choice("operator.state", "", ["", ...STATES]);
  filters.severity = choice("operator.severity", "", ["", ...SEVERITIES]);
  filters.agency = choice("operator.agency", "", ["", ...site.agencies.map((/** @type {any} */ one) => one.id)]);
  filters.area = choice("operator.area", "", ["", ...areas.map((one) => one.id)]);
  filters.mine = session.me.agency !== null && choice("operator.mine", "no", ["yes", "no"]) === "yes";
  /** @type {HTMLInputElement} */ (at("mine")).checked = filters.mine;
}

/** Another wish is another list: what was marked as new does not hold for it. */
function changeFilters() {
  for (const name of NARROWING) {
    filters[name] = /** @type {HTMLSelectElement} */ (at(name)).value;
    keep(`operator.${name}`, filters[name]);
  }
  forget();
  void showGround();
  work.loaded = false;
  work.cases.clear();
  connection.subscribe(true);
  draw();
}

function wire() {
  for (const name of NARROWING) at(name).addEventListener("change", changeFilters);
  at("words").addEventListener("input", () => { filters.words = /** @type {HTMLInputElement} */ (at("words")).value; drawSoon(); });
  at("mine").addEventListener("change", () => {
    filters.mine = /** @type {HTMLInputElement} */ (at("mine")).checked;
    keep("operator.mine", filters.mine ? "yes" : "no");
    drawSoon();
  });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", () => {
    filters.words = "";
    filters.mine = false;
    keep("operator.mine", "no");
    setTimeout(() => {
      for (const name of NARROWING) /** @type {HTMLSelectElement} */ (at(name)).value = "";
      changeFilters();
    });
  });
  at("open-case").addEventListener("click", newCase);
  at("alerts").addEventListener("click", () => { if (at("alerts").dataset.first) void open(at("alerts").dataset.first ?? ""); });
  at("sound").addEventListener("click", async () => {
    await alarm.turn();
    showControls();
  });
  at("help").addEventListener("click", showHelp);
  document.addEventListener("click", (event) => { if (!at("settings").contains(/** @type {Node} */ (event.target))) foldSettings(); });
  addEventListener("popstate", () => {
    const id = decodeURIComponent(location.hash.slice(1));
    if (id) void open(id, false);
    else if (opened.id !== null) close(false);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) lookAway();
    else compare();
  });
  addEventListener("pagehide", lookAway);
  document.addEventListener("keydown", onKey);
}

function foldSettings() {
  /** @type {HTMLDetailsElement} */ (at("settings")).open = false;
}

function newCase() {
  desk.open(filters.area || areas[0]?.id);
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const target = /** @type {HTMLElement} */ (event.target);
  const isWriting = target.matches("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape") {
    if (isWriting) return target.blur();
    if (/** @type {HTMLDetailsElement} */ (at("settings")).open) return foldSettings();
    if (opened.id !== null) close();
    return;
  }
  if (isWriting) return;
  if (list.root.contains(target) && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    return list.move(event.key === "ArrowDown" ? 1 : -1);
  }
  if (choice("keys", "on", ["on", "off"]) === "off") return;
  const action = Object.entries(KEYS).find(([, key]) => key === event.key)?.[0];
  const known = { j: () => list.move(1), k: () => list.move(-1), "?": showHelp, "/": () => at("words").focus(), o: () => { if (!at("open-case").hidden) newCase(); } }[event.key];
  if (!known && !action) return;
  event.preventDefault();
  if (known) return known();
  void byKey(/** @type {string} */ (action));
}

/** Does what the key says to the case that is open, or that the list is at; if the centre allows it. @param {string} action */
async function byKey(action) {
  const id = opened.id ?? list.cursor;
  if (id === null) return;
  if (opened.id !== id) await open(id);
  const one = opened.detail?.actions?.find((/** @type {any} */ listed) => listed.action === action);
  if (opened.id === id && opened.detail && !one) return said(t().refused(word("action", action), word("refusal", "impossible")), "warn");
  if (one) void desk.act(opened.detail, one);
}

function showHelp() {
  foldSettings();
  const dialog = /** @type {HTMLDialogElement} */ (at("help-dialog"));
  const on = make("input", { type: "checkbox" });
  on.checked = choice("keys", "on", ["on", "off"]) === "on";
  on.addEventListener("change", () => {
    keep("keys", on.checked ? "on" : "off");
    if (!on.checked) said(t().keysOff, "warn");
  });
  dialog.replaceChildren(make("h2", { id: "help-title", text: t().help }),
    make("dl", { class: "keys" }, ...Object.entries(t().keys).map(([key, text]) => make("div", {}, make("dt", {}, make("kbd", { text: key })), make("dd", { text })))),
    make("label", { class: "check" }, on, make("span", { text: t().shortcuts })),
    make("div", { class: "row end" }, make("button", { type: "button", class: "main", onclick: () => dialog.close(), text: t().close })));
  dialog.showModal();
}

void start();
