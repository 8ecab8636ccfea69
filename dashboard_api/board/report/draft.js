/**
 * What has somebody written that is not sent yet, and which reports does this browser remember?
 *
 * The whole draft lasts as long as the tab. Beyond that, so that a phone which closes its browser loses nothing, only
 * what is no secret is kept for a day: no contact, and nothing at all of a complaint about an official. A report's
 * secret is remembered when somebody asks for it.
 */

import { newId } from "../shared/api.js";

const DRAFT = "ioc.report.draft";
const KEPT = "ioc.report.kept";
const DRAFT_MAX_MS = 24 * 3600 * 1000;
/** The oldest is forgotten when there are more. */
const KEPT_MAX = 50;

/**
 * `key` makes a report that is sent again the same report; `sending` is set from the first attempt until it came in.
 * @typedef {{key: string, at: number, text: string, category: string | null, accused: string, place: string | null,
 *   area: string | null, contact: Record<string, string>, language: string | null, sending: boolean}} Draft
 */
/** @typedef {{secret: string, reference: string, category: string | null, at: string}} Kept */

/** @returns {Draft} */
export function emptyDraft() {
  return {
    key: newId(), at: Date.now(), text: "", category: null, accused: "", place: null, area: null, contact: {},
    language: null, sending: false,
  };
}

/** What was begun in this tab, or within a day in this browser. @returns {Draft | null} */
export function loadDraft() {
  const found = read(() => sessionStorage, DRAFT) ?? read(() => localStorage, DRAFT);
  if (typeof found?.key !== "string" || typeof found.text !== "string" || !(Date.now() - found.at < DRAFT_MAX_MS)) return null;
  return { ...emptyDraft(), ...found };
}

/** @param {Draft} draft @param {boolean} isCareful it is a complaint about an official */
export function saveDraft(draft, isCareful) {
  draft.at = Date.now();
  write(() => sessionStorage, DRAFT, draft);
  // With a contact it is not sent by itself in another tab: the contact is missing there.
  const hasContact = Object.keys(draft.contact).length > 0;
  write(() => localStorage, DRAFT, isCareful ? null : { ...draft, contact: {}, sending: draft.sending && !hasContact });
}

export function dropDraft() {
  write(() => sessionStorage, DRAFT, null);
  write(() => localStorage, DRAFT, null);
}

/** @returns {Kept[]} the newest first */
export function keptReports() {
  const found = read(() => localStorage, KEPT);
  return Array.isArray(found) ? found.filter((one) => typeof one?.secret === "string") : [];
}

/** @param {Kept} report */
export function keepReport(report) {
  const others = keptReports().filter((one) => one.secret !== report.secret);
  write(() => localStorage, KEPT, [report, ...others].slice(0, KEPT_MAX));
}

/** @param {string} secret */
export function forgetReport(secret) {
  const others = keptReports().filter((one) => one.secret !== secret);
  write(() => localStorage, KEPT, others.length === 0 ? null : others);
}

/** @param {() => Storage} storage @param {string} name @returns {any} */
function read(storage, name) {
  try {
    return JSON.parse(storage().getItem(name) ?? "null");
  } catch {
    return null;
  }
}

/** @param {() => Storage} storage @param {string} name @param {unknown} value */
function write(storage, name, value) {
  try {
    if (value === null) storage().removeItem(name);
    else storage().setItem(name, JSON.stringify(value));
  } catch { /* without storage it lasts as long as the page */ }
}
