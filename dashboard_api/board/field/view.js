/**
 * How do the cases, the steps and what waits look?
 *
 * Functions from what is known to elements. What stays the same is left alone, so that neither the focus nor a screen
 * reader's place is lost. What people wrote is only ever set as text.
 */

import { pointOf, progress, underWay } from "./assigned.js";
import { texts } from "./texts.js";
import { make } from "../shared/dom.js";
import { nameOf, titleOf, word } from "../shared/texts.js";
import { absolute, duration, relative } from "../shared/time.js";

/** @typedef {import("./outbox.js").Item} Item */
/** @typedef {import("./assigned.js").Assigned} Assigned */
/** @typedef {{nowMs: number, zone: string, items: Item[], person: string, chosen: string | null}} Scene */

const NOTES_SHOWN = 30;

/** Shows these, and touches nothing that is as it was. @param {Element} root @param {Element[]} nodes */
export function show(root, nodes) {
  const focused = root.contains(document.activeElement) ? document.activeElement?.id : "";
  nodes.forEach((node, n) => {
    const old = root.children[n];
    if (!old) root.append(node);
    else if (!old.isEqualNode(node)) old.replaceWith(node);
  });
  while (root.children.length > nodes.length) root.lastElementChild?.remove();
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/** @param {Assigned} one @param {Scene} scene */
export function card(one, scene) {
  const { item, offer } = one;
  const under = offer ? underWay(scene.items, item.id, offer.number) : [];
  const at = offer ? progress(offer, under) : null;
  const last = at?.taken.at(-1);
  const isNew = !!at && !at.taken.some(({ step }) => step === "seen");
  const link = make(
    "a",
    { class: "card live", id: `card-${item.id}`, href: `#${item.id}`, "data-case": item.id, ...(scene.chosen === item.id ? { "aria-current": "true" } : {}) },
    make("span", { class: "row" }, isNew ? make("strong", { class: "new" }, texts().isNew) : null, ...badges(item)),
    make("span", { class: "card-title" }, titleOf(item)),
    make("span", { class: "row small quiet" }, ...dueNodes(one, scene)),
    last ? make("span", { class: "row small" }, make("strong", {}, word("step", last.step)), last.waits ? waitsNode() : "") : null,
  );
  return make("li", {}, link);
}

/** @param {any} item */
function badges(item) {
  return [
    make("span", { class: "badge", "data-severity": item.severity }, word("severity", item.severity)),
    make("span", { class: "badge" }, nameOf(item.names, item.category)),
    ...(item.exercise ? [make("span", { class: "badge", "data-exercise": "" }, texts().exercise)] : []),
  ];
}

/** @param {Assigned} one @param {Scene} scene */
function dueNodes({ item, offer }, scene) {
  const t = texts();
  const nodes = [];
  const awaited = offer?.awaits === "accepted" && offer.due_at && !underWay(scene.items, item.id, offer.number).some(({ do: { step } }) => step === "accepted" || step === "declined");
  if (awaited && offer?.due_at) {
    const leftS = (Date.parse(offer.due_at) - scene.nowMs) / 1000;
    nodes.push(make("span", leftS < 0 ? { class: "late" } : {}, leftS < 0 ? t.answerLate(duration(-leftS)) : t.answerBy(duration(leftS))));
  }
  if (item.due_at) {
    const leftS = (Date.parse(item.due_at) - scene.nowMs) / 1000;
    const exact = absolute(item.due_at, scene.nowMs, scene.zone);
    nodes.push(make("span", leftS < 0 ? { class: "late" } : {}, leftS < 0 ? t.overdue(duration(-leftS)) : t.due(`${exact} (${duration(leftS)})`)));
  }
  return nodes;
}

const waitsNode = () => make("span", { class: "badge waits" }, texts().waits);

/** The whole case. @param {Assigned} one @param {Scene} scene */
export function detail(one, scene) {
  const t = texts();
  const { item, offer } = one;
  const at = offer ? progress(offer, underWay(scene.items, item.id, offer.number)) : null;
  const notes = scene.items.filter((waiting) => waiting.do.action === "note" && "case" in waiting.about && waiting.about.case === item.id && waiting.state !== "rejected");
  return [
    make("a", { class: "button back", href: "#", id: "back" }, "‹ ", t.back),
    make(
      "header",
      { class: "stack" },
      make("div", { class: "row" }, ...badges(item)),
      make("h2", { id: "case-title", tabindex: "-1" }, titleOf(item)),
      make("p", { class: "row small quiet" }, ...dueNodes(one, scene)),
    ),
    place(item),
    make(
      "section",
      { class: "panel", "aria-labelledby": "steps-title" },
      make("h3", { id: "steps-title" }, t.steps),
      at
        ? make("ol", { class: "lines" }, ...at.taken.map((step) => make(
            "li",
            { class: "line" },
            make("strong", {}, word("step", step.step)),
            make("time", { datetime: step.time }, absolute(step.time, scene.nowMs, scene.zone)),
            step.waits ? waitsNode() : null,
          )))
        : make("p", { class: "quiet" }, t.stepsWait),
    ),
    signals(item, scene),
    make(
      "section",
      { class: "panel stack", "aria-labelledby": "notes-title" },
      make("h3", { id: "notes-title" }, t.notes),
      make(
        "ol",
        { class: "lines" },
        ...one.timeline.slice(-NOTES_SHOWN).map((entry) => make(
          "li",
          {},
          make("span", { class: "row small quiet" }, entryName(entry), make("time", { datetime: entry.at }, absolute(entry.at, scene.nowMs, scene.zone))),
          entry.text ? make("p", { class: "words" }, entry.text) : null,
        )),
        ...notes.map((waiting) => make(
          "li",
          {},
          make("span", { class: "row small quiet" }, word("action", "note"), make("time", { datetime: waiting.time }, absolute(waiting.time, scene.nowMs, scene.zone)), waitsNode()),
          make("p", { class: "words" }, waiting.do.text ?? ""),
        )),
      ),
      make("p", {}, make("button", { type: "button", id: "add-note", "data-do": "note" }, t.addNote)),
    ),
    actions(at),
  ];
}

/** @param {any} entry */
function entryName(entry) {
  const step = /^unit_(.+)$/.exec(entry.action);
  return make("span", {}, step ? word("step", step[1]) : word("action", entry.action));
}

/** @param {any} item */
function place(item) {
  const t = texts();
  const point = pointOf(item.place);
  const at = point?.map((part) => part.toFixed(5));
  return make(
    "section",
    { class: "panel stack", "aria-labelledby": "where-title" },
    make("h3", { id: "where-title" }, t.where),
    make("p", { class: "quiet small" }, at ? t.coordinates(at[0], at[1]) : t.noPlace(item.area)),
    at
      ? make(
          "p",
          { class: "row" },
          make("a", { class: "button", id: "way", href: `geo:${at[0]},${at[1]}?q=${at[0]},${at[1]}` }, t.navigate),
          make("a", {
            class: "button", id: "map", target: "_blank", rel: "noreferrer noopener",
            href: `https://www.openstreetmap.org/?mlat=${at[0]}&mlon=${at[1]}#map=17/${at[0]}/${at[1]}`,
          }, t.map),
        )
      : null,
  );
}

/** @param {any} item @param {Scene} scene */
function signals(item, scene) {
  const t = texts();
  const told = (item.signals ?? []).filter((/** @type {any} */ signal) => signal.text || (signal.title && signal.title !== item.title));
  return make(
    "section",
    { class: "panel", "aria-labelledby": "told-title", ...(told.length ? {} : { hidden: "" }) },
    make("h3", { id: "told-title" }, t.toldBy),
    make("ul", { class: "lines" }, ...told.map((/** @type {any} */ signal) => make(
      "li",
      {},
      signal.title ? make("p", { class: "words" }, signal.title) : null,
      signal.text ? make("p", { class: "words" }, signal.text) : null,
      make("p", { class: "small quiet" }, t.signal(relative(signal.at, scene.nowMs))),
    ))),
  );
}

/** The bar under the thumb. @param {ReturnType<typeof progress> | null} at */
function actions(at) {
  const t = texts();
  const names = { accepted: t.accepted, en_route: t.en_route, on_scene: t.on_scene, done: t.done };
  if (!at) return make("div", { class: "thumb", hidden: "" });
  if (!at.next) return make("p", { class: "thumb quiet" }, t.over);
  const next = /** @type {keyof typeof names} */ (at.next);
  return make(
    "div",
    { class: "thumb" },
    at.mayDecline ? make("button", { type: "button", class: "bad", id: "step-declined", "data-do": "declined" }, t.declined) : null,
    make("button", { type: "button", class: "main", id: "step-next", "data-do": next }, names[next]),
  );
}

/** What an item in the outbox is, in words. @param {Item} item */
export function itemName(item) {
  if (item.do.action === "offer") return word("step", item.do.step ?? "");
  if (item.do.action === "availability") return word("unit", item.do.status);
  return word("action", item.do.action);
}

/** Why the centre refused, in words. @param {Item} item */
export function whyRefused(item) {
  const known = word("refusal", item.reason ?? "");
  const detail = known === item.reason || !known ? [item.detail, item.fix].filter(Boolean).join(". ") : item.detail;
  return [known === item.reason ? "" : known, detail].filter(Boolean).join(" ");
}

/** @param {Item} item @param {Scene} scene */
export function waitingLine(item, scene) {
  const t = texts();
  const state = item.state === "rejected" ? t.outboxRejected : item.person !== scene.person ? t.someoneElses(item.person) : t[item.state];
  return make(
    "li",
    { class: "line", "data-state": item.state, "data-item": item.id },
    make("span", { class: "grow" }, make("strong", {}, itemName(item)), " ", make("span", { class: "words" }, item.title)),
    make("time", { datetime: item.time }, absolute(item.time, scene.nowMs, scene.zone)),
    make("span", { class: "small whole" }, state),
    item.state === "rejected" ? make("p", { class: "small whole words" }, whyRefused(item)) : null,
    item.state === "rejected"
      ? make("button", { type: "button", id: `noted-${item.id}`, "data-do": "noted", "data-id": item.id }, t.noted)
      : null,
  );
}

/** A state in which there is nothing else to show. @param {string} title @param {string} text @param {Node} [more] */
export function statePage(title, text, more) {
  return make("div", { class: "notice warn stack" }, make("h2", {}, title), make("p", {}, text), more ?? null);
}
