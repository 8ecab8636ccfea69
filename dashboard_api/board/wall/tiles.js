/**
 * What is in each part of the screen?
 *
 * A part is drawn anew from what is known each time. What does not fit into it comes page by page, for nobody scrolls.
 */

import { headline } from "../kpi/model.js";
import { make, setText } from "../shared/dom.js";
import { formatTime, formatUnit, formatValue } from "../shared/format.js";
import { CaseMap, pointOf } from "../shared/map.js";
import { locale, nameOf, word } from "../shared/texts.js";
import { duration, remaining } from "../shared/time.js";
import { t } from "./texts.js";

const KPIS_SHOWN = 12;
const SOON_MS = 30 * 60_000;
const SEVERITIES = ["critical", "major", "minor", "info"];
const SIGNS = /** @type {Record<string, string>} */ ({ critical: "!!", major: "!", minor: "", info: "i" });

/**
 * @typedef {{work: import("../operator/work.js").Work, model: import("../kpi/model.js").Model, kpis: any[], hasChosen: boolean, nowMs: number, turn: number,
 *   zone: string, area: (id: string) => string, site: any}} Scene `turn` counts the pages that have been turned
 */

/** A part with a title. */
class Tile {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
    this.title = make("h2");
    this.about = make("span", { class: "about quiet" });
    this.body = make("div", { class: "body" });
    this.root = make("section", { class: "tile live", "data-tile": name }, make("header", { class: "tile-head" }, this.title, this.about), this.body);
  }

  /** @param {Scene} scene */
  draw(scene) {
    setText(this.title, /** @type {Record<string, any>} */ (t())[this.name]);
    this.fill(scene);
  }

  /** @param {Scene} _ */
  fill(_) {}

  /** Shows as many as there is room for, and each turn the next ones. @param {HTMLElement[]} rows @param {Scene} scene @param {string} about @param {Node[]} [before] */
  pages(rows, scene, about, before = []) {
    if (rows.length === 0) {
      const none = /** @type {Record<string, string>} */ (t().none)[this.name];
      this.body.replaceChildren(...before, make("p", { class: "none", text: none }));
      return setText(this.about, about);
    }
    // All of them first, to see how many there is room for.
    const list = make("ol", { class: "rows" }, ...rows);
    this.body.replaceChildren(...before, list);
    const bottom = this.body.getBoundingClientRect().bottom;
    const fits = Math.max(1, rows.filter((row) => row.getBoundingClientRect().bottom <= bottom + 1).length);
    const pages = Math.ceil(rows.length / fits);
    const page = scene.turn % pages;
    rows.forEach((row, n) => { row.hidden = Math.floor(n / fits) !== page; });
    setText(this.about, [about, pages > 1 ? t().page(page + 1, pages) : ""].filter(Boolean).join(" · "));
  }
}

class Cases extends Tile {
  /** @override @param {Scene} scene */
  fill(scene) {
    const items = chosen(scene);
    this.pages(items.map((item) => caseRow(item, scene)), scene, counted(items) + (scene.work.hasMore ? " +" : ""));
  }
}

class Alerts extends Tile {
  /** @override @param {Scene} scene */
  fill(scene) {
    const items = chosen(scene).filter((item) => item.kind === "alert" || (["critical", "major"].includes(item.severity) && item.acknowledged_by === undefined));
    items.sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) || Date.parse(b.opened_at) - Date.parse(a.opened_at));
    this.root.dataset.alarm = items.some((item) => item.acknowledged_by === undefined) ? "yes" : "no";
    this.pages(items.map((item) => caseRow(item, scene, true)), scene, counted(items));
  }
}

class Units extends Tile {
  /** @override @param {Scene} scene */
  fill(scene) {
    const all = [...scene.work.units.values()];
    const rank = (/** @type {any} */ unit) => (unit.on_duty ? ["available", "busy", "off"].indexOf(unit.status) : 3);
    all.sort((a, b) => rank(a) - rank(b));
    const counts = ["available", "busy", "off"].map((status) => make("div", { class: "count", "data-status": status },
      make("strong", { text: number(all.filter((unit) => unit.status === status && (unit.on_duty || status !== "available")).length) }), make("span", { text: word("unit", status) })));
    const rows = all.map((unit) => make("li", { class: "row-unit", "data-status": unit.on_duty ? unit.status : "off" },
      make("span", { class: "sign", "aria-hidden": "true" }), make("span", { class: "name", text: nameOf(unit.names, unit.id) }),
      make("span", { class: "what", text: unit.on_duty ? word("unit", unit.status) : t().off_duty })));
    this.pages(rows, scene, "", all.length > 0 ? [make("div", { class: "counts" }, ...counts)] : []);
  }
}

class Sources extends Tile {
  /** @override @param {Scene} scene */
  fill(scene) {
    const all = [...scene.model.sources.values()].map((one) => ({ one, ageMs: one.received_at ? scene.nowMs - Date.parse(one.received_at) : Infinity }));
    const isSilent = (/** @type {typeof all[0]} */ { one, ageMs }) => ageMs > one.silent_after_s * 1000;
    all.sort((a, b) => Number(isSilent(b)) - Number(isSilent(a)));
    const rows = all.map((each) => make("li", { class: "row-unit", "data-status": isSilent(each) ? "silent" : "available" },
      make("span", { class: "sign", "aria-hidden": "true" }), make("span", { class: "name", text: nameOf(each.one.names, each.one.id) }),
      make("span", { class: "what", text: !isSilent(each) ? t().heard : Number.isFinite(each.ageMs) ? t().silent(duration(each.ageMs / 1000)) : t().never })));
    this.pages(rows, scene, `${all.filter((each) => !isSilent(each)).length}/${all.length}`);
  }
}

class Kpis extends Tile {
  /** @override @param {Scene} scene */
  fill(scene) {
    const known = scene.kpis.map((kpi) => ({ kpi, value: headline(scene.model.points(kpi.id, "day", scene.nowMs, kpi.measure))?.value ?? null }));
    // What the address names is shown in any case; of all others those that there is something to say of.
    const shown = scene.hasChosen ? known : known.filter(({ value }) => value !== null).slice(0, KPIS_SHOWN);
    const cards = shown.map(({ kpi, value }) => {
      const last = scene.model.series.get(kpi.id)?.lastMinute ?? null;
      const ageMs = last === null ? null : scene.nowMs - last * 1000;
      const isOld = ageMs !== null && ageMs > kpi.freshness_s * 1000;
      return make("li", { class: "kpi", "data-kpi": kpi.id, "data-old": isOld ? "yes" : "no" },
        make("span", { class: "kpi-name", text: nameOf(kpi.names, kpi.id) }),
        make("span", { class: "kpi-value" }, make("strong", { text: value === null ? t().noValue : formatValue(value, kpi, locale()) }), value !== null && make("span", { class: "unit quiet", text: ` ${formatUnit(value, kpi)}` })),
        make("span", { class: "kpi-at quiet", text: ageMs === null || last === null ? "" : isOld ? t().old(duration(ageMs / 1000)) : t().at(formatTime(last * 1000, scene.nowMs, locale(), scene.zone)) }));
    });
    this.pages(cards, scene, "");
  }
}

class WallMap extends Tile {
  /** @param {string} name @param {any} site */
  constructor(name, site) {
    super(name);
    this.frame = make("div", { class: "wall-map" });
    this.body.append(this.frame);
    /** Made when it is on the page. @type {CaseMap | null} */
    this.map = null;
    this.site = site;
  }

  /** @override @param {Scene} scene */
  fill(scene) {
    this.map ??= new CaseMap(this.frame, { tiles: this.site.map, isStill: true });
    const items = chosen(scene);
    this.map.draw(items.flatMap((item) => {
      const point = pointOf(item.place);
      return point === null ? [] : [{ id: item.id, ...point, severity: item.severity, label: `${nameOf(item.names, item.category)} · ${word("severity", item.severity)}` }];
    }));
    setText(this.about, counted(items));
  }

  /** @param {string | undefined} area */
  async ground(area) {
    return this.map === null ? false : this.map.loadGround(area);
  }
}

/** Which parts there are. @type {Record<string, (name: string, site: any) => Tile>} */
export const TILES = {
  map: (name, site) => new WallMap(name, site),
  cases: (name) => new Cases(name),
  alerts: (name) => new Alerts(name),
  kpis: (name) => new Kpis(name),
  units: (name) => new Units(name),
  sources: (name) => new Sources(name),
};

/** @param {Tile} tile @returns {tile is WallMap} */
export const isMap = (tile) => tile instanceof WallMap;

/** @param {Scene} scene */
const chosen = (scene) => scene.work.list({ words: "", state: "", severity: "", agency: "", area: "", mine: false }, null);

/** How many there are, and how many of the worst. @param {import("../operator/work.js").Item[]} items */
function counted(items) {
  const worst = items.filter((item) => item.severity === "critical").length;
  return [number(items.length), worst > 0 ? `${number(worst)} ${word("severity", "critical").toLocaleLowerCase(locale())}` : ""].filter(Boolean).join(" · ");
}

/** @param {import("../operator/work.js").Item} item @param {Scene} scene @param {boolean} [isAlert] */
function caseRow(item, scene, isAlert = false) {
  const dueMs = item.due_at ? Date.parse(item.due_at) : null;
  const due = dueMs === null ? "none" : dueMs < scene.nowMs ? "over" : dueMs < scene.nowMs + SOON_MS ? "soon" : "later";
  const when = isAlert ? t().since(duration((scene.nowMs - Date.parse(item.opened_at)) / 1000)) : dueMs === null ? t().noClock : remaining((dueMs - scene.nowMs) / 1000);
  return make("li", { class: "row-case", "data-id": item.id, "data-severity": item.severity, "data-due": isAlert ? "none" : due },
    make("span", { class: "map-mark still", "data-severity": item.severity, title: word("severity", item.severity) }, make("span", { class: "map-form", text: SIGNS[item.severity] })),
    make("span", { class: "name", text: `${item.exercise ? `${t().exercise} · ` : ""}${nameOf(item.names, item.category)}` }),
    make("span", { class: "when", text: when }),
    make("span", { class: "where quiet", text: [scene.area(item.area), word("state", item.state), isAlert && item.acknowledged_by === undefined ? t().unseen : ""].filter(Boolean).join(" · ") }));
}

/** @param {number} n */
const number = (n) => new Intl.NumberFormat(locale()).format(n);
