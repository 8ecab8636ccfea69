/** How do all indicators stand? Pillars and groups in short, then a card for each indicator. */

import { make } from "../shared/dom.js";
import { locale, nameOf } from "../shared/texts.js";
import { formatUnit, formatValue } from "../shared/format.js";
import { light, shape, tally } from "./light.js";
import { STATUSES, belowText, changeText, hasGoal, howKnown, known, newsText, partsText, reasonText, targetText, thanText, worseFirst } from "./reasons.js";
import { spark } from "./spark.js";
import { texts } from "./texts.js";

const PILLARS = ["government", "economy", "society"];
export const GROUPS = ["openness", "progress", "digitisation", "online", "satisfaction"];

/** @typedef {import("./reasons.js").Item} Item */
/** @typedef {import("./reasons.js").Kpi} Kpi */
/**
 * @typedef {{overview: import("./reasons.js").Overview, kpis: Map<string, Kpi>, kind: string, nowMs: number, notLive: string,
 *   link: (changes: Partial<import("./state.js").State>) => string}} Scene
 */

/** What a pillar or group is called. @param {string} word */
export function placeName(word) {
  const said = texts();
  return /** @type {Record<string, string>} */ ({ ...said.pillar, ...said.group })[word] ?? (word === "" ? said.noPillar : word);
}

/** @param {Item[]} items */
export function countLights(items) {
  const counts = { bad: 0, warning: 0, good: 0, none: 0 };
  for (const item of items) if (hasGoal(item)) counts[item.own.status] += 1;
  return counts;
}

/** A tile for each pillar and each group of the public services. @param {HTMLElement} root @param {Scene} scene @param {string} chosen */
export function drawTiles(root, scene, chosen) {
  const said = texts();
  const { items } = scene.overview;
  const pillars = [...PILLARS, ...new Set(items.map((item) => item.pillar ?? "").filter((word) => word && !PILLARS.includes(word)))];
  const places = [
    ...pillars.map((word) => ({ word, inside: items.filter((item) => item.pillar === word), isGroup: false })),
    ...GROUPS.map((word) => ({ word, inside: items.filter((item) => item.group === word), isGroup: true })),
  ].filter(({ inside }) => inside.length > 0);
  const tiles = places.map(({ word, inside, isGroup }) => {
    const judged = inside.filter(hasGoal);
    const worst = [...judged].sort(worseFirst)[0];
    const isOn = chosen === word;
    const status = worst === undefined ? "none" : worst.own.status;
    const link = make("a", {
      class: `tile panel${isGroup ? " group" : ""}`, href: scene.link({ show: isOn ? "" : word, kpi: "" }), "data-show": word,
      "data-status": status, "aria-current": isOn ? "true" : undefined,
    }, make("strong", {}, placeName(word)));
    if (isGroup) link.prepend(make("span", { class: "small quiet" }, said.services));
    if (worst === undefined) {
      link.append(make("span", { class: "small quiet" }, said.noTargets(inside.length)));
      const shownFirst = inside.find((item) => item.own.value !== null);
      const kpi = shownFirst && scene.kpis.get(shownFirst.kpi);
      if (shownFirst && kpi) link.append(make("span", { class: "small" }, `${nameOf(shownFirst.names, shownFirst.kpi)}: ${known(shownFirst.own, kpi)}`));
    } else {
      const kpi = /** @type {Kpi} */ (scene.kpis.get(worst.kpi));
      link.append(tally(countLights(judged), said.light), make("span", { class: "small" }, `${nameOf(worst.names, worst.kpi)}: ${reasonText(worst.own, kpi)}`));
    }
    return link;
  });
  const groups = tiles.filter((tile) => tile.classList.contains("group"));
  root.replaceChildren(...[tiles.filter((tile) => !groups.includes(tile)), groups].filter((some) => some.length > 0).map((some) => make("div", { class: "tile-row" }, ...some)));
}

/** The lights as filters. @param {HTMLElement} root @param {Scene} scene @param {Item[]} items @param {string} chosen */
export function drawLights(root, scene, items, chosen) {
  const said = texts();
  const counts = countLights(items);
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", said.lightsLabel);
  root.replaceChildren(...STATUSES.map((status) => make(
    "a", { class: "button light-filter", href: scene.link({ light: chosen === status ? "" : status, kpi: "" }), "data-light": status, "aria-current": chosen === status ? "true" : undefined },
    shape(status), make("strong", {}, String(counts[status])), said.light[status],
  )));
}

/** The cards: by need, or by pillar and group. @param {HTMLElement} root @param {Scene} scene @param {Item[]} items @param {"worst" | "pillar"} order @param {boolean} isNarrowed */
export function drawCards(root, scene, items, order, isNarrowed) {
  const said = texts();
  const wasOpen = /** @type {HTMLDetailsElement | null} */ (root.querySelector("details.others"))?.open ?? false;
  if (order === "worst") {
    const judged = items.filter(hasGoal).sort(worseFirst);
    const others = items.filter((item) => !hasGoal(item));
    const grid = make("div", { class: "cards" }, ...judged.map((item) => card(item, scene)));
    /** @type {Node[]} */
    const parts = judged.length > 0 ? [grid] : [];
    if (others.length > 0) {
      const details = make("details", { class: "others" }, make("summary", {}, said.withoutTarget(others.length)));
      const fill = () => { if (details.open && details.children.length === 1) details.append(make("div", { class: "cards" }, ...others.map((item) => card(item, scene)))); };
      details.addEventListener("toggle", fill);
      details.open = wasOpen || judged.length === 0 || isNarrowed;
      fill();
      parts.push(details);
    }
    root.replaceChildren(...parts);
    return;
  }
  /** @type {Node[]} */
  const parts = [];
  const pillars = [...PILLARS, ...new Set(items.map((item) => item.pillar ?? "").filter((word) => !PILLARS.includes(word)))];
  for (const pillar of pillars) {
    const inside = items.filter((item) => (item.pillar ?? "") === pillar);
    if (inside.length === 0) continue;
    const section = make("section", { class: "pillar" }, make("h3", {}, placeName(pillar), " ", tally(countLights(inside), said.light)));
    const groups = [...GROUPS, ...new Set(inside.map((item) => item.group ?? "").filter((word) => word && !GROUPS.includes(word))), ""];
    for (const group of groups) {
      const some = inside.filter((item) => (item.group ?? "") === group).sort(worseFirst);
      if (some.length === 0) continue;
      const hasGroups = inside.some((item) => item.group);
      if (hasGroups) section.append(make("h4", {}, group === "" ? said.otherIndicators : `${GROUPS.includes(group) ? `${said.services}: ` : ""}${placeName(group)}`));
      section.append(make("div", { class: "cards" }, ...some.map((item) => card(item, scene))));
    }
    parts.push(section);
  }
  root.replaceChildren(...parts);
}

/** The number, large. @param {Item} item @param {Kpi} kpi */
export function bigValue(item, kpi) {
  const { own } = item;
  if (own.exact === false || own.value === null) return make("p", { class: "big words" }, known(own, kpi));
  return make("p", { class: "big" }, make("strong", {}, formatValue(own.value, kpi, locale())), " ", make("span", { class: "unit" }, formatUnit(own.value, kpi)));
}

/** @param {Item} item @param {Scene} scene */
function card(item, scene) {
  const kpi = /** @type {Kpi} */ (scene.kpis.get(item.kpi));
  const { own } = item;
  const name = nameOf(item.names, item.kpi);
  const goal = targetText(own, kpi);
  const change = changeText(item.change, kpi, thanText(item, scene.overview.running));
  const facts = [howKnown(own, scene.overview.zone), partsText(own, kpi), own.corrected_at && own.first ? texts().firstWas(known(own.first, kpi)) : ""].filter(Boolean).join(" · ");
  return make(
    "article", { class: "card panel", "data-kpi": item.kpi, "data-status": own.status },
    make("div", { class: "card-head" }, light(own), goal && make("span", { class: "small quiet" }, goal)),
    make("h3", {}, make("a", { href: scene.link({ kpi: item.kpi }), class: "card-link" }, name)),
    bigValue(item, kpi),
    hasGoal(item) && make("p", { class: "reason" }, [own.status === "none" || own.exact === false || own.target !== undefined || kpi.thresholds ? reasonText(own, kpi) : "", belowText(item, scene.kind)].filter(Boolean).join("; ")),
    spark(item.trend, own.target, texts().sparkAbout(name, item.trend.filter((value) => value !== null).length, item.trend.length)),
    change && make("p", { class: "small", "data-better": item.change.better === undefined || item.change.better === null ? "" : String(item.change.better) }, change),
    facts && make("p", { class: "small quiet" }, facts),
    make("p", { class: "small quiet news", "data-freshness": item.freshness }, newsText(item, scene.nowMs, scene.overview.zone)),
  );
}
