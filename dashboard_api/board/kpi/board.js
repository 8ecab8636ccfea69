/**
 * What is on this board, and when is it drawn?
 *
 * It asks the site what there is, listens to the live feed, and draws at most five times a second, and once a second
 * for the ages.
 */

import { inOrder } from "../shared/areas.js";
import { THEMES, applyTheme, choice, keep } from "../shared/choice.js";
import { formatAge, formatTime } from "../shared/format.js";
import { EVENTS_SHOWN, Model, POINTS } from "./model.js";
import { LANGUAGE_NAMES, LANGUAGES, nameIn, textsOf } from "./texts.js";
import { make, setText, showEvents, showSources, showTiles } from "./view.js";
import { Session } from "../shared/session.js";
import { Travel, modeOf } from "../shared/travel.js";

const DRAW_EVERY_MS = 200;
const RETRY_LOAD_MS = 3000;
const RELOAD_AFTER_MS = 4000;

/** @template {HTMLElement} [T=HTMLElement] @param {string} id */
const at = (id) => /** @type {T} */ (/** @type {unknown} */ (document.getElementById(id)));

/** @param {string} path */
async function ask(path) {
  const answer = await fetch(new URL(path, document.baseURI), { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function load() {
  for (;;) {
    try {
      const site = await ask("v1/site");
      return await Promise.all([
        site, ask(`v1/kpis${modeOf().drill ? "?exercise=true" : ""}`), ask(`v1/areas?list=${encodeURIComponent(site.area_list)}`), ask("v1/me"),
      ]);
    } catch (error) {
      const language = choice("language", "vi", Object.keys(LANGUAGES));
      setText(at("connection-text"), textsOf(language).failed(error instanceof Error ? error.message : String(error)));
      document.body.dataset.connection = "stale";
      await new Promise((resolve) => setTimeout(resolve, RETRY_LOAD_MS));
    }
  }
}

/** Buttons of which one is on. @param {HTMLElement} root @param {string} name @param {[string, string][]} options @param {string} chosen @param {(value: string) => void} choose */
function radios(root, name, options, chosen, choose) {
  root.querySelectorAll("label").forEach((label) => label.remove());
  for (const [value, text] of options) {
    const label = make("label");
    const input = /** @type {HTMLInputElement} */ (make("input"));
    input.type = "radio";
    input.name = name;
    input.value = value;
    input.checked = value === chosen;
    input.addEventListener("change", () => choose(value));
    label.append(input, make("span", "", text));
    root.append(label);
  }
}

async function start() {
  applyTheme(choice("theme", "auto", THEMES));
  const first = textsOf(choice("language", "vi", Object.keys(LANGUAGES)));
  setText(at("connection-text"), first.connecting);
  const [site, kpis, areas, me] = await load();
  const languages = site.languages.filter((/** @type {string} */ one) => one in LANGUAGES);
  const spoken = languages.length > 0 ? languages : ["en"];
  const ids = areas.items.map((/** @type {{id: string}} */ area) => area.id);
  const chosen = {
    language: choice("language", spoken[0], spoken),
    theme: choice("theme", "auto", THEMES),
    area: choice("area", areas.root, ids),
    tier: /** @type {"minute" | "hour" | "day"} */ (choice("tier", "hour", Object.keys(POINTS))),
  };
  const scene = {
    language: chosen.language,
    zone: site.zone,
    tier: chosen.tier,
    kpis: kpis.items,
    areas: new Map(areas.items.map((/** @type {{list: string, code: string}} */ area) => [`${area.list}/${area.code}`, area])),
    notLive: "",
    isIn: !me.asked || me.id !== null,
  };
  const travel = new Travel(site, at("travel"), () => scene.language);
  const model = new Model();
  model.isPast = travel.isPast;
  let due = false;
  let drawnAtMs = 0;

  const connection = travel.connect(
    () => ({
      kpis: kpis.items.map((/** @type {{id: string}} */ kpi) => kpi.id),
      areas: [chosen.area],
      tier: chosen.tier,
      points: POINTS[chosen.tier],
      events: EVENTS_SHOWN,
      sources: true,
    }),
    (message) => {
      // Indicators and areas may have changed as well, and the server takes a moment to take them up.
      if (message.op === "snapshot" && message.reason === "reload") setTimeout(() => location.reload(), RELOAD_AFTER_MS);
      model.apply(message, Date.now());
      drawSoon();
    },
  );

  function drawSoon() {
    if (due) return;
    due = true;
    setTimeout(() => requestAnimationFrame(draw), Math.max(0, drawnAtMs + DRAW_EVERY_MS - Date.now()));
  }

  function draw() {
    due = false;
    const nowMs = Date.now();
    drawnAtMs = nowMs;
    showConnection(nowMs);
    showTiles(at("tiles"), model, scene, nowMs);
    showSources(at("sources"), model, scene, nowMs);
    showEvents(at("events"), model, scene, nowMs);
    const t = textsOf(scene.language);
    const clock = new Intl.DateTimeFormat(t.locale, { timeZone: site.zone, dateStyle: "full", timeStyle: "medium" });
    setText(at("clock"), clock.format(model.now(nowMs)));
  }

  /** @param {number} nowMs */
  function showConnection(nowMs) {
    const t = textsOf(scene.language);
    const state = connection.state;
    const time = (/** @type {number} */ ms) => formatTime(ms, model.now(nowMs), t.locale, site.zone, true);
    const heardMs = model.now(connection.heardAtMs ?? nowMs);
    const awayMs = connection.database?.state === "away"
      ? Date.parse(connection.database.since)
      : model.now(nowMs) - connection.feed.lag_s * 1000;
    const stoppedMs = state === "stopped" ? Date.parse(connection.streams.since) : 0;
    const why = state === "stopped" ? t.whyStopped(connection.streams.reason ?? "", connection.streams.detail ?? "") : "";
    const words = {
      connecting: t.connecting,
      live: t.live,
      held: t.held(formatAge(connection.feed.lag_s, t.locale)),
      stale: t.stale(time(heardMs), formatAge((model.now(nowMs) - heardMs) / 1000, t.locale)),
      away: t.away(time(awayMs)),
      stopped: t.stopped(why),
    }[state];
    document.body.dataset.connection = state;
    const sinceMs = state === "away" ? awayMs : state === "stopped" ? stoppedMs : heardMs;
    const isLive = state !== "stale" && state !== "away" && state !== "stopped";
    scene.notLive = isLive ? "" : t.asOf(time(sinceMs), formatAge((model.now(nowMs) - sinceMs) / 1000, t.locale));
    // A screen reader is told of a change of state, not of every second of an age.
    const live = at("connection");
    if (live.dataset.state !== state) live.dataset.state = state;
    live.setAttribute("aria-live", state === "stale" && at("connection-text").dataset.said === state ? "off" : "polite");
    at("connection-text").dataset.said = state;
    setText(at("connection-text"), connection.isOpen || state !== "live" ? words : t.reconnecting(time(heardMs)));
    const banner = at("banner");
    banner.hidden = !model.loaded || isLive;
    if (state === "away") setText(banner, t.bannerAway(time(awayMs)));
    else if (state === "stopped") setText(banner, t.bannerStopped(time(stoppedMs)));
    else if (state === "stale") setText(banner, t.bannerStale(time(heardMs)));
  }

  // Without a sign-in that holds, the board goes on with what is public.
  const session = new Session(me, showWho);

  function showWho() {
    scene.isIn = session.isIn;
    session.show(at("who"), at("who-name"), at("who-link"), textsOf(scene.language));
  }

  function showControls() {
    const t = textsOf(scene.language);
    document.documentElement.lang = scene.language;
    const name = nameIn(site.names, scene.language, site.id);
    setText(at("site-name"), name);
    document.title = name;
    document.querySelectorAll("[data-text]").forEach((node) => {
      const key = /** @type {HTMLElement} */ (node).dataset.text ?? "";
      setText(node, String(/** @type {Record<string, unknown>} */ (t)[key]));
    });
    setText(at("zone"), t.siteTime(site.zone));
    showWho();
    const select = /** @type {HTMLSelectElement} */ (at("area"));
    /** @type {{id: string, parent: string | null, names: Record<string, string>, code: string}[]} */
    const listed = areas.items;
    select.replaceChildren(...inOrder(listed).map(({ area, depth }) => {
      const indent = "\u2003".repeat(depth);
      return new Option(indent + nameIn(area.names, scene.language, area.code), area.id, false, area.id === chosen.area);
    }));
    const theme = /** @type {HTMLSelectElement} */ (at("theme"));
    theme.replaceChildren(...THEMES.map((one) => new Option(t[one], one, false, one === chosen.theme)));
    const tiers = /** @type {("minute" | "hour" | "day")[]} */ (Object.keys(POINTS));
    radios(at("tier"), "tier", tiers.map((tier) => [tier, t[tier]]), chosen.tier, (tier) => {
      chosen.tier = scene.tier = /** @type {"minute" | "hour" | "day"} */ (tier);
      keep("tier", tier);
      changeView();
    });
    radios(at("language"), "language", spoken.map((/** @type {string} */ one) => [one, LANGUAGE_NAMES[one]]), scene.language, (one) => {
      chosen.language = scene.language = one;
      keep("language", one);
      travel.draw();
      showControls();
      draw();
    });
  }

  function changeView() {
    model.loaded = false;
    model.series = new Map();
    connection.subscribe(true);
    draw();
  }

  at("area").addEventListener("change", (event) => {
    chosen.area = /** @type {HTMLSelectElement} */ (event.target).value;
    keep("area", chosen.area);
    changeView();
  });
  at("theme").addEventListener("change", (event) => {
    chosen.theme = /** @type {HTMLSelectElement} */ (event.target).value;
    keep("theme", chosen.theme);
    applyTheme(chosen.theme);
  });
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  showControls();
  draw();
  setInterval(drawSoon, 1000);
}

start();
