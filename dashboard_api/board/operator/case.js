/** How does one case look, with all that is known of it? */

import { isWebAddress, make } from "../shared/dom.js";
import { locale, nameOf, titleOf, word } from "../shared/texts.js";
import { absolute, remaining, timeNode } from "../shared/time.js";
import { reasonText, t } from "./texts.js";

/** Lines of the timeline that are shown at first. */
const LINES_FIRST = 12;

/** What an action's key is. */
export const KEYS = /** @type {Record<string, string>} */ ({
  triage: "t", assign: "a", accept: "c", dispatch: "d", merge: "m", answer: "r", acknowledge: "e", note: "n", wait: "w", resolve: "v",
});

/**
 * @typedef {{detail: any, lines: any[], revealed: any | null, error: Error | null}} Opened
 * @typedef {{nowMs: number, zone: string, area: (id: string) => string, agency: (id: string) => string,
 *   unit: (id: string) => string, step: (category: string, id: string) => string, act: (action: any, preset?: Record<string, any>) => void,
 *   open: (id: string) => void, close: () => void, title: (id: string) => string, allLines: boolean, showAll: () => void}} Scene
 */

/** @param {HTMLElement} root @param {Opened} opened @param {Scene} scene */
export function showCase(root, opened, scene) {
  const { detail } = opened;
  const back = make("button", { type: "button", class: "back", id: "back", onclick: scene.close }, `← ${t().back}`);
  if (!detail) {
    root.replaceChildren(back, make("h2", { id: "case-title", text: t().case }),
      make("p", { class: opened.error ? "notice bad" : "quiet", text: opened.error ? t().caseGone : t().loading }));
    return;
  }
  root.dataset.id = detail.id;
  root.dataset.version = String(detail.version);
  root.dataset.exercise = detail.exercise ? "yes" : "no";
  root.replaceChildren(
    back,
    make("header", { class: "case-head" },
      make("h2", { id: "case-title", text: titleOf(detail) }),
      make("p", { class: "row" },
        make("span", { class: "badge", "data-severity": detail.severity, text: word("severity", detail.severity) }),
        make("strong", { id: "case-state", text: word("state", detail.state) }),
        make("span", { class: "quiet", text: word("kind", detail.kind) }),
        detail.exercise && make("span", { class: "badge", "data-exercise": "", text: t().exercise }),
        make("code", { class: "quiet small", text: detail.id }))),
    actions(detail, scene),
    facts(opened, scene),
    ...section(t().clocks, "clocks", (detail.clocks ?? []).map((/** @type {any} */ clock) => clockNode(clock, scene))),
    ...section(t().proposals, "proposals", (detail.proposals ?? []).map((/** @type {any} */ one) => proposalNode(detail, one, scene))),
    ...section(t().offers, "offers", (detail.offers ?? []).map((/** @type {any} */ offer) => offerNode(offer, scene))),
    ...section(t().evidence, "evidence", (detail.evidence ?? []).map((/** @type {any} */ one) => evidenceNode(one, scene))),
    ...section(t().members, "members", (detail.signals ?? []).map((/** @type {any} */ one) => memberNode(one, scene))),
    ...timeline(opened.lines, scene),
  );
}

/** @param {string} title @param {string} name @param {Node[]} items */
function section(title, name, items) {
  if (items.length === 0) return [];
  return [make("section", { class: `part ${name}`, "aria-labelledby": `${name}-title` },
    make("h3", { id: `${name}-title`, text: title }), make("ul", {}, ...items))];
}

/** Only what the centre lists as allowed. @param {any} detail @param {Scene} scene */
function actions(detail, scene) {
  const listed = (detail.actions ?? []).filter((/** @type {any} */ one) => offered(detail, one));
  const buttons = listed.map((/** @type {any} */ one) => {
    const needs = (one.needs ?? []).map((/** @type {string} */ need) => /** @type {any} */ (t())[`need_${need}`] ?? need).join(", ");
    const key = one.choice && one.action !== "wait" ? undefined : KEYS[one.action];
    const isFirst = key !== undefined && listed.find((/** @type {any} */ other) => other.action === one.action) === one;
    return make("button", {
      type: "button", "data-action": one.action, "data-choice": one.choice, class: one.action === "acknowledge" && !detail.acknowledged_by ? "main" : "",
      title: needs ? t().needs(needs) : undefined, "aria-keyshortcuts": isFirst ? key : undefined, onclick: () => scene.act(one),
    }, make("span", { text: actionName(one, detail, scene) }), isFirst && make("kbd", { text: key }));
  });
  return make("section", { class: "part actions", "aria-labelledby": "actions-title" },
    make("h3", { id: "actions-title", text: t().actions }),
    buttons.length > 0 ? make("div", { class: "row" }, ...buttons) : make("p", { class: "quiet", text: t().noActions }));
}

/** Whether there is anything that the action could be about. @param {any} detail @param {any} one */
function offered(detail, one) {
  if (one.action === "dismiss") return (detail.proposals ?? []).length > 0;
  if (one.action === "unmerge") return (detail.absorbed ?? []).length > 0;
  if (one.action === "split") return (detail.signals ?? []).length > 1;
  if (one.action === "withdraw_offer") return (detail.units ?? []).length > 0;
  if (one.action === "acknowledge") return !detail.acknowledged_by;
  return true;
}

/** @param {any} one @param {any} detail @param {{step: (category: string, id: string) => string}} scene */
export function actionName(one, detail, scene) {
  if (one.action === "wait") return word("state", `waiting_${one.choice}`);
  if (one.action === "offer") return `${t().unit}: ${word("step", one.choice)}`;
  if (one.action === "law_step") return `${word("action", "law_step")}: ${scene.step(detail.category, one.choice)}`;
  return word("action", one.action);
}

/** @param {Opened} opened @param {Scene} scene */
function facts({ detail, revealed }, scene) {
  const list = make("dl", { class: "part facts" });
  const add = (/** @type {string} */ name, /** @type {string | Node | null | undefined} */ value) => {
    if (value) list.append(make("div", {}, make("dt", { text: name }), make("dd", {}, value)));
  };
  add(t().category, nameOf(detail.names, detail.category));
  add(t().area, scene.area(detail.area));
  add(t().owner, detail.agency ? scene.agency(detail.agency) : t().nobody);
  add(t().opened, timeNode(detail.opened_at, scene.nowMs, scene.zone));
  add(t().place, detail.place?.replace(/^geo:/, "").split(";")[0]);
  add(t().accused, detail.accused_agency && scene.agency(detail.accused_agency));
  add(t().plate, detail.plate);
  add(t().result, detail.result);
  add(t().reason, detail.reason);
  add(t().acknowledgedBy, detail.acknowledged_by);
  add(t().mergedInto, detail.merged_into && caseLink(detail.merged_into, scene));
  if ((detail.absorbed ?? []).length > 0) add(t().absorbed, make("span", { class: "row" }, ...detail.absorbed.map((/** @type {string} */ id) => caseLink(id, scene))));
  if (revealed) add(t().revealed, shown(revealed));
  return list;
}

/** What one look has shown, as labelled lines: each signal by itself. @param {any} revealed */
function shown(revealed) {
  if (revealed.items.length === 0) return make("p", { class: "quiet", text: t().revealedNothing });
  return make("ul", { class: "revealed" }, ...revealed.items.map((/** @type {any} */ one) => {
    const lines = make("dl", {});
    const add = (/** @type {string} */ name, /** @type {string | undefined} */ value) => {
      if (value) lines.append(make("div", {}, make("dt", { text: name }), make("dd", { text: value })));
    };
    const contact = one.contact ?? {};
    add(t().plate, one.plate);
    add(t().revealedWho, one.who);
    add(t().revealedPhone, contact.phone);
    add(t().revealedEmail, contact.email);
    add("Zalo", contact.zalo);
    add(t().revealedAddress, contact.address);
    add(t().revealedLanguage, contact.language);
    add(t().revealedTitle, one.title);
    add(t().revealedWords, one.words);
    if (one.erased) lines.append(make("p", { class: "quiet", text: t().revealedErased }));
    if (one.missing_key) lines.append(make("p", { class: "quiet", text: t().revealedNoKey }));
    if (lines.childElementCount === 0) lines.append(make("p", { class: "quiet", text: t().revealedAnonymous }));
    return make("li", {}, lines);
  }));
}

/** @param {string} id @param {Scene} scene */
function caseLink(id, scene) {
  return make("button", { type: "button", class: "plain", onclick: () => scene.open(id), text: scene.title(id) });
}

/** @param {any} clock @param {Scene} scene */
function clockNode(clock, scene) {
  const overdue = clock.state === "running" && clock.due_at && Date.parse(clock.due_at) < scene.nowMs;
  const state = clock.state === "running" ? (overdue ? "over" : "running") : clock.state;
  const words = clock.state === "stopped"
    ? [t().stoppedClock, clock.breached_at ? t().breached : ""]
    : clock.state === "paused" || !clock.due_at
      ? [t().pausedLeft(remaining(clock.remaining_s))]
      : [remaining((Date.parse(clock.due_at) - scene.nowMs) / 1000), `${t().due} ${absolute(clock.due_at, scene.nowMs, scene.zone)}`];
  if (clock.late_chance !== undefined && clock.state !== "stopped") {
    words.push(t().lateChance(new Intl.NumberFormat(locale(), { style: "percent", maximumFractionDigits: 0 }).format(clock.late_chance)));
  }
  const share = Math.min(1, Math.max(0, clock.worked_s / (clock.allowed_s || 1)));
  const bar = make("progress", { max: "1", value: String(share), "aria-hidden": "true" });
  return make("li", { class: "clock", "data-clock": clock.name, "data-state": state },
    make("strong", { text: word("clock", clock.name) }), make("span", { class: "clock-words", text: words.filter(Boolean).join(" · ") }), bar);
}

/** @param {any} detail @param {any} proposal @param {Scene} scene */
function proposalNode(detail, proposal, scene) {
  const other = proposal.case === detail.id ? proposal.other : proposal.case;
  const may = new Set((detail.actions ?? []).map((/** @type {any} */ one) => one.action));
  const score = new Intl.NumberFormat(locale(), { style: "percent", maximumFractionDigits: 0 }).format(proposal.score);
  return make("li", { "data-other": other },
    make("p", {}, make("strong", { text: `${score} ` }), caseLink(other, scene)),
    make("p", { class: "quiet small", text: proposal.reasons.map(reasonText).join(" · ") }),
    make("p", { class: "row" },
      may.has("merge") && make("button", { type: "button", class: "main", "data-do": "merge", onclick: () => scene.act({ action: "merge" }, { other }), text: t().confirmSame }),
      may.has("dismiss") && make("button", { type: "button", "data-do": "dismiss", onclick: () => scene.act({ action: "dismiss" }, { other }), text: t().notSame })));
}

/** @param {any} offer @param {Scene} scene */
function offerNode(offer, scene) {
  const steps = Object.entries(offer.at).sort((a, b) => Date.parse(a[1]) - Date.parse(b[1]));
  return make("li", {}, make("strong", { text: `${offer.number}. ${scene.unit(offer.unit)} ` }),
    make("span", { text: word("step", offer.step) }),
    make("p", { class: "quiet small", text: steps.map(([step, at]) => `${word("step", step)} ${absolute(at, scene.nowMs, scene.zone)}`).join(" · ") }),
    offer.reason && make("p", { class: "small", text: offer.reason }));
}

/** Whether something is kept by the centre itself. @param {string} ref */
const isOwn = (ref) => /^\/?v1\/[\w./~-]+$/.test(ref) && !ref.includes("..");

/** @param {any} one @param {Scene} scene */
function evidenceNode(one, scene) {
  const name = one.note || one.ref.split("/").at(-1) || one.ref;
  const own = isOwn(one.ref);
  const address = own ? one.ref.replace(/^\//, "") : one.ref;
  const shown = own || isWebAddress(one.ref)
    ? make("a", { href: address, rel: "noopener noreferrer", target: "_blank", text: name })
    : make("code", { text: one.ref });
  // A picture elsewhere is a link: nothing is loaded from there unless somebody asks for it.
  const picture = own && one.kind === "photo" && make("img", { src: address, alt: one.note || t().photo, class: "photo", loading: "lazy" });
  return make("li", {}, picture, shown, make("span", { class: "quiet small", text: ` ${[one.kind, one.by].filter(Boolean).join(" · ")} ` }), one.at && timeNode(one.at, scene.nowMs, scene.zone));
}

/** @param {any} one @param {Scene} scene */
function memberNode(one, scene) {
  const said = one.erased ? t().erased : one.text;
  return make("li", {}, (one.title || !said) && make("p", { text: one.title || one.id }),
    said && make("p", { class: one.erased ? "quiet" : "said", text: said }),
    make("p", { class: "quiet small" }, [one.source, one.channel].filter(Boolean).join(" · "), " · ", timeNode(one.at, scene.nowMs, scene.zone)));
}

/** @param {any[]} lines @param {Scene} scene */
function timeline(lines, scene) {
  if (lines.length === 0) return [];
  const newest = [...lines].reverse();
  const shown = scene.allLines ? newest : newest.slice(0, LINES_FIRST);
  const list = make("ol", { class: "lines" }, ...shown.map((line) => {
    const about = Object.entries(line.detail ?? {}).map(([key, value]) => `${key}: ${value}`).join(" · ");
    return make("li", { "data-line": String(line.number) },
      make("p", {}, make("strong", { text: word("action", line.action) }), " ",
        make("span", { class: "quiet small", text: [line.actor, absolute(line.at, scene.nowMs, scene.zone)].filter(Boolean).join(" · ") }),
        line.public && make("span", { class: "badge", text: t().publicLine })),
      line.text && make("p", { class: "said", text: line.text }), line.erased && make("p", { class: "quiet", text: t().erased }),
      about && make("p", { class: "quiet small", text: about }));
  }));
  return [make("section", { class: "part timeline", "aria-labelledby": "timeline-title" },
    make("h3", { id: "timeline-title", text: t().timeline }), list,
    shown.length < newest.length && make("button", { type: "button", class: "plain", onclick: scene.showAll, text: `${t().earlier} (${newest.length})` }))];
}
